"""What is said of a budget comes from its own file: badge, captions, report, README."""

import re
from pathlib import Path

import pandas as pd
import pytest

from workflow.config import catalog
from workflow.config.budgets import Budget
from workflow.config.parameters import Parameters
from workflow.render import draw
from workflow.render.draw import Badge
from workflow.report import page

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = Parameters(ROOT / "params")
SMALL = Budget.model_validate(
    {
        "title": "tiny",
        "disclaimer": {
            "badge": "only a try",
            "report": "Far too short",
            "exempt": ["ext_return_scale"],
        },
    }
)


def runs(*seeds: int, state: str = "finished") -> dict[str, pd.DataFrame]:
    return {"e.runs": pd.DataFrame({"seed": seeds, "state": state})}


@pytest.mark.parametrize(
    ("figure", "seeds", "expected"),
    [
        ("fig03", (), Badge("tiny budget")),  # needs no run
        ("fig05", (0, 1), Badge("tiny budget: only a try", warning=True)),
        ("ext_return_scale", (0,), Badge("tiny budget: 1 seed")),
        ("ext_return_scale", (0, 1, 1), Badge("tiny budget: 2 seeds")),
        ("ext_return_scale", (), Badge("tiny budget: only a try", warning=True)),
        ("aggregate_scores", (0, 1), Badge("tiny budget: only a try", warning=True)),
    ],
)
def test_the_badge_is_that_of_the_budgets_file(
    figure: str, seeds: tuple[int, ...], expected: Badge
) -> None:
    spec = catalog.figure(ROOT / "params", figure)
    assert draw.badge(spec, "tiny", SMALL, runs(*seeds)) == expected
    assert draw.badge(spec, "tiny", Budget(title="t"), runs(*seeds)) == Badge("tiny budget")


def test_tables_of_all_experiments_are_not_exempt() -> None:
    shown = {name: spec.disclaimer(SMALL) for name, spec in catalog.tables(ROOT / "params").items()}
    assert shown["compute"] == shown["task_scores"] == SMALL.disclaimer
    assert shown["return_scale_scores"] is None
    assert shown["table1"] is None


def test_the_report_says_what_the_budgets_file_says(tmp_path: Path) -> None:
    html = page.page("smoke", tmp_path, ROOT / "params")
    disclaimer = PARAMETERS.budget("smoke").disclaimer
    assert disclaimer is not None
    assert disclaimer.report in html
    assert PARAMETERS.budget("mini").disclaimer is None
    assert disclaimer.report not in page.page("mini", tmp_path, ROOT / "params")


def test_a_changed_disclaimer_changes_the_fingerprint_of_what_shows_it() -> None:
    figures = catalog.figures(ROOT / "params")
    for name, changes in (("fig05", True), ("fig03", False)):
        values = [figures[name].values(budget) for budget in (SMALL, Budget(title="t"))]
        assert (values[0] != values[1]) == changes


def test_the_readme_lists_the_budgets_by_their_files() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", (ROOT / "README.md").read_text(), re.M)
    budgets = {name: PARAMETERS.budget(name) for name in PARAMETERS.names("budgets")}
    described = {name: (own.purpose, own.takes) for name, own in budgets.items()}
    assert {name: (purpose, takes) for name, purpose, takes in rows} == described


def test_no_code_asks_for_a_budget_by_its_name() -> None:
    names = "|".join(PARAMETERS.names("budgets"))
    pattern = re.compile(rf"(==|!=|\bin|\bcase)\s*[(\[{{]?\s*[\"']({names})[\"']")
    assert pattern.search('if budget == "smoke":')
    for path in sorted((ROOT / "workflow").rglob("*.py")):
        if "bench" not in path.parts:  # a part of the measurements is called `paper` too
            assert not pattern.search(path.read_text()), path
