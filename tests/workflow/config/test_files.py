from pathlib import Path

import pytest

from amago2.errors import ConfigError
from workflow.config.files import parameter_files


def test_files_of_editors_and_archivers_are_left_alone(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "._a.yaml", ".a.yaml.swp", "a.yaml~", "a.yaml.orig", "notes"):
        (tmp_path / name).touch()
    (tmp_path / ".#a.yaml").symlink_to("me@host.1:2")
    assert [path.name for path in parameter_files(tmp_path)] == ["a.yaml", "b.yaml"]
    assert parameter_files(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "a (copy).yaml",
            r"a \(copy\)\.yaml'?: a parameter file is named by .* rename or remove it",
        ),
        ("a-b.yaml", "a-b"),
        ("a;ls.yaml", "a;ls"),
        ("a'b.yaml", "named by"),
        ("a\nb.yaml", r"a\\nb"),
        ("ä.yaml", "named by"),
        ("a.b.yaml", "named by"),
        (f"{'a' * 200}.yaml", "named by at most 50 letters"),
        ("a.yml", r"a\.yml: must end in \.yaml; rename or remove it"),
        ("a.YAML", r"a\.YAML: must end in \.yaml; rename or remove it"),
    ],
)
def test_a_name_that_is_none_is_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=sentence) as error:
        parameter_files(tmp_path)
    assert str(error.value).isprintable()
