from pathlib import Path

import pytest

from amago2.errors import ConfigError
from workflow.config import claims

CLAIM = """\
better:
  title: Better
  of: {experiment: e, benchmark: popgym}
  plus: [{variant: good}]
  minus: [{variant: bad}]
  holds: {above: 0}
  decided_at: [large]
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    for name in ("benchmarks/popgym", "variants/good", "variants/bad", "budgets/large"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_agents_share_what_they_have_in_common(params: Path) -> None:
    (params / "claims.yaml").write_text(CLAIM.replace("variant: bad", "variant: bad_clipped"))
    claim = claims.read(params)["better"]
    assert [agent.benchmark for agent in (*claim.plus, *claim.minus)] == ["popgym", "popgym"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("of: {experiment: e, benchmark: popgym}", "of: 3", "of is 3: must be a mapping"),
        ("plus: [{variant: good}]", "plus: [good]", "plus.0 is 'good': must be a mapping"),
        ("plus: [{variant: good}]", "plus: good", "plus is 'good': must be a list"),
        ("benchmark: popgym", "benchmark: popgm", "unknown benchmark popgm; did you mean popgym?"),
        ("variant: bad", "variant: bod", "unknown variant bod; did you mean bad?"),
        ("[large]", "[larg]", "unknown budget larg; did you mean large?"),
        ("above: 0", "above: true", "holds.above is true: must be a number"),
    ],
)
def test_a_mistake_is_one_sentence(params: Path, old: str, new: str, sentence: str) -> None:
    assert old in CLAIM
    (params / "claims.yaml").write_text(CLAIM.replace(old, new))
    with pytest.raises(ConfigError) as error:
        claims.read(params)
    assert sentence in str(error.value)
    assert str(error.value).startswith(f"{params / 'claims.yaml'}, better: ")
    assert "\n" not in str(error.value)


def test_a_claim_is_a_mapping_with_a_name(params: Path) -> None:
    for text in ("better: 3\n", "1: {}\n"):
        (params / "claims.yaml").write_text(text)
        with pytest.raises(ConfigError, match="must be a mapping with a name"):
            claims.read(params)
