from pathlib import Path

import pytest

from tests.workflow.fake_results import ROOT
from workflow.analysis.tidy import COLUMNS, to_csv
from workflow.dag.published import Published
from workflow.docs import results
from workflow.docs.marked_section import around

RUN = "return_scale/ind_actor_ind_critic/seed0-00000000"
CLAIM = {
    "claim": "c", "title": "A above B", "above": 20, "below": "", "published": "",
    "published_from": "", "seeds": 5, "value": 79.6, "low": 67.2, "high": 91.9,
    "verdict": "reproduced", "why": "whole interval", "control": 0,
}  # fmt: skip
OTHER = {**CLAIM, "title": "C above D", "verdict": "no verdict", "low": "", "high": ""}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Published results of an experiment of two runs."""
    monkeypatch.chdir(ROOT)
    made = tmp_path / "mini"
    (made / "tables" / "data").mkdir(parents=True)
    (made / "tables" / "scorecard.csv").write_text(to_csv(tuple(CLAIM), [CLAIM, OTHER]))
    rows = [
        {"experiment": "ext_return_scale", "benchmark": "return_scale", "variant": "v",
         "cell": "scaled", "seed": seed, "run": "a", "state": "finished", "cpu_s": 90.0,
         "cpu": "A processor"}
        for seed in (0, 1)
    ]  # fmt: skip
    compute = made / "tables" / "data" / "ext_return_scale.compute.csv"
    compute.write_text(to_csv(COLUMNS["compute"], rows))
    Published(experiments=["ext_return_scale"], runs={RUN: "0" * 64}).write(made)
    return made


def test_the_face_says_what_is_decided_and_what_it_took(folder: Path) -> None:
    text = results.face(folder)
    assert "figures/ext_return_scale.png)" in text.splitlines()[0]
    row = "| A above B | > 20 | 79.6 [67.2, 91.9] | 5 | reproduced |"
    assert row in text.splitlines()
    assert "C above D" not in text
    assert "The other 1 claims" in text
    assert "2 runs took 0.05 CPU hours together (A processor)" in " ".join(text.split())
    assert text.endswith(f"make reproduce BUDGET={folder.name} EXPERIMENT=ext_return_scale")


def test_costs_are_planned_for_all_and_measured_where_published(folder: Path) -> None:
    rows = {line.split(" | ")[0]: line for line in results.costs(folder).splitlines()}
    assert rows["| `ext_return_scale`"].endswith(" | 0.05 | 1.5 |")
    assert rows["| `ext_filter`"].endswith(" |  |  |")
    assert "| `popgym`" not in rows  # not of this budget
    assert float(rows["| all different runs"].split(" | ")[2]) > 1


def test_without_results_it_says_so(tmp_path: Path) -> None:
    assert results.face(tmp_path) == "Nothing is published yet."


def test_the_readme_has_what_is_published_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before, after = around(results.README, results.COMMAND)
    text = results.README.read_text().removeprefix(before).removesuffix(after)
    assert results.face(Path("results") / results.BUDGET) in text, f"`{results.COMMAND}`"
