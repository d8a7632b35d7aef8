"""What is published, into README.md and docs/experiments.md: `python -m workflow docs results`.

The claims that the published runs decide, with effect, interval, verdict and cost, as the scorecard
and the tidy tables have them: nothing is written by hand.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from workflow.analysis import frames, verdicts
from workflow.config.catalog import FLAGSHIP
from workflow.config.experiments import Selection, reproduce_command
from workflow.config.parameters import Parameters
from workflow.dag import published
from workflow.dag.plan import plan
from workflow.docs.marked_section import publish
from workflow.estimate.training_time import estimated_seconds
from workflow.render import verdict_texts

COMMAND = "python -m workflow docs results"
BUDGET = "mini"
PARAMS = Path("params")
README, EXPERIMENTS = Path("README.md"), Path("docs") / "experiments.md"
ALT = "Four tasks whose rewards differ by 1, 10, 100, 1000"
DECIDED = (verdicts.REPRODUCED, verdicts.NOT_REPRODUCED)


def write() -> None:
    """Write both pages' parts. Raises `ConfigError` if a page lacks the marks."""
    folder = Path("results") / BUDGET
    publish(README, COMMAND, face(folder))
    publish(EXPERIMENTS, COMMAND, costs(folder))


def face(folder: Path) -> str:
    """The flagship figure and what is decided, of the published `results/<budget>`."""
    listed = published.read(folder)
    if not listed.experiments:
        return "Nothing is published yet."
    figure = f"![{ALT}]({folder.as_posix()}/figures/{FLAGSHIP}.png)"
    command = reproduce_command(folder.name, listed.experiments, Parameters(PARAMS))
    return "\n\n".join([figure, _decided(folder), _cost(folder, listed), f"    {command}"])


def _decided(folder: Path) -> str:
    scorecard = frames.read_csv(folder / "tables" / "scorecard.csv", keep_default_na=True)
    found = verdict_texts.readable(scorecard)[scorecard.verdict.isin(DECIDED)]
    rows = [
        "| claim | holds if | effect, 95 % interval | seeds | verdict |",
        "|---|---|---|---:|---|",
    ]
    rows += [_row(row) for row in found.to_dict("records")]
    others = len(scorecard) - len(found)
    return (
        "\n".join(rows)
        + "\n\n"
        + _wrapped(
            "In percent of a perfect score; 95 % intervals over seeds (Welch's t). The other "
            f"{others} claims of the scorecard are not decided here."
        )
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def _row(row: Mapping[Any, Any]) -> str:
    verdict = row["verdict"].partition(" (")[0]
    cells = (row["claim"], row["must be"], row["ours"], str(row["seeds"]), verdict)
    return f"| {' | '.join(cells)} |"


def _taken(folder: Path, experiment: str) -> pd.DataFrame:
    path = folder / "tables" / "data" / f"{experiment}.compute.csv"
    rows = frames.read(f"{experiment}.compute", path)
    return rows[rows.state == "finished"]


def _cost(folder: Path, listed: published.Published) -> str:
    every = pd.concat([_taken(folder, name) for name in listed.experiments])
    taken = every.drop_duplicates(["benchmark", "variant", "seed", "run"])
    processors = ", ".join(sorted(set(taken.cpu.dropna())))
    return _wrapped(
        f"{len(taken)} runs took {taken.cpu_s.sum() / 3600:.2g} CPU hours together ({processors}). "
        f"All of it is in `results/{folder.name}` "
        f"([report](results/{folder.name}/report/index.html)); "
        "`dvc pull` fetches the best policies, with no account and no network. To repeat it:"
    )


def costs(folder: Path) -> str:
    """What each experiment of a budget is planned to take, and what the published ones took."""
    rows = [
        "| experiment | runs | planned CPU hours | measured CPU hours | CPU minutes a run |",
        "|---|---:|---:|---:|---:|",
    ]
    shown = published.read(folder).experiments
    with TemporaryDirectory() as nothing:  # as if no run were there, which would correct the plan
        dag = plan(Selection(budget=folder.name), results=Path(nothing))
    for matrix in dag.matrices:
        planned = [estimated_seconds(member.config) for member in matrix.members]
        cells = [f"`{matrix.name}`", str(len(planned)), f"{sum(planned) / 3600:.2f}", "", ""]
        if matrix.name in shown:
            seconds = _taken(folder, matrix.name).cpu_s
            cells[3:] = [f"{seconds.sum() / 3600:.2f}", f"{seconds.median() / 60:.1f}"]
        rows.append(f"| {' | '.join(cells)} |")
    hours = sum(estimated_seconds(run.config) for run in dag.runs.values()) / 3600
    rows.append(f"| all different runs | {len(dag.runs)} | {hours:.2f} |  |  |")
    return "\n".join(rows)
