"""One self-contained page: what is decided, figures with numbers and provenance, tables, runs.

Written to `results/<budget>/report/index.html`: no script, images inside, opens without a network.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from amago2.errors import ConfigError
from amago2.files import open_regular, write_atomically
from workflow.analysis import frames, verdicts
from workflow.config import catalog
from workflow.config.budgets import Budget
from workflow.config.catalog import FigureSpec, Spec, TableSpec
from workflow.config.experiments import reproduce_command
from workflow.config.parameters import Parameters
from workflow.render import verdict_texts
from workflow.report.provenance import TRAINING_VERSION, Grid, Runs, provenance

DECIDED = (verdicts.REPRODUCED, verdicts.NOT_REPRODUCED)
AS_IT_MUST = {
    **dict(zip(verdicts.VERDICTS, verdicts.VERDICTS, strict=True)),
    verdicts.REPRODUCED: verdicts.NOT_REPRODUCED,
    verdicts.NOT_REPRODUCED: verdicts.REPRODUCED,
}
"""How the verdict on a control looks: what must come out as not reproduced is good if it does."""
MAX_FILE_BYTES = 64 * 2**20
"""Of a figure or table that the page shows."""
TEMPLATE = Path(__file__).with_name("page.html")


def page(budget: str, results: Path, params: Path) -> str:
    """The whole page as HTML; reads only files below `results/<budget>` and `params`."""
    folder, known = results / budget, catalog.experiments(params)
    figures = [spec for spec in catalog.figures(params).values() if spec.drawable(known)]
    tables = [spec for spec in catalog.tables(params).values() if spec.drawable(known)]
    taken = {"scorecard"} | {spec.name for spec in figures}
    runs, claims = Runs(folder), _claims(folder)
    figures.sort(key=lambda spec: spec.name != catalog.FLAGSHIP)
    shown = [spec for spec in (*figures, *tables) if runs.finished(spec, known)]
    parameters = Parameters(params)
    own = parameters.budget(budget)
    ran = [name for name in known if len(runs.of(name))]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        budget=budget,
        flagship=catalog.FLAGSHIP,
        summary=_summary(runs, known),
        warnings=list(_warnings(own, figures, runs, known)),
        decided=[claim for claim in claims if claim["verdict"] in DECIDED],
        undecided=[claim for claim in claims if claim["verdict"] not in DECIDED],
        verdicts=_count(claims),
        figures=[_figure(spec, folder, known, runs) for spec in figures if spec in shown],
        tables=[_table(spec, folder, runs, taken) for spec in tables if spec in shown],
        not_run=[
            {"id": _id(spec, taken), "title": spec.title}
            for spec in (*figures, *tables)
            if spec not in shown
        ],
        beside=_beside(own, folder),
        experiments=[_experiment(name, runs) for name in ran],
        without_runs=[name for name in known if name not in ran],
        repeat=reproduce_command(budget, ran, parameters),
        training_version=TRAINING_VERSION,
    )


def _summary(runs: Runs, known: Sequence[str]) -> str:
    every = [runs.of(name) for name in known if len(runs.of(name))]
    if not every:
        return "No run is there yet."
    keys = ["benchmark", "variant", "seed", "run", "state"]
    together = pd.concat(every)[keys].drop_duplicates()
    finished = int((together.state == "finished").sum())
    said = f"{finished} of {len(together)} runs of {len(every)} experiments are there"
    return f"{said}{_cost(runs, known)}."


def _cost(runs: Runs, known: Sequence[str]) -> str:
    """What all finished runs took, and on which processors, as the end of a sentence."""
    every = [runs.compute(name) for name in known]
    taken = pd.concat([frame for frame in every if len(frame)] or [pd.DataFrame({"state": []})])
    taken = taken[taken.state == "finished"]
    if taken.empty or not len(taken.cpu_s.dropna()):
        return ""
    taken = taken.drop_duplicates(["benchmark", "variant", "seed", "run"])
    where = ", ".join(sorted(set(taken.cpu.dropna()) - {""}))
    hours = f"{taken.cpu_s.astype(float).sum() / 3600:.2g} CPU hours"
    return f"; they took {hours}{f' ({where})' if where else ''}"


def _warnings(
    budget: Budget, figures: Sequence[FigureSpec], runs: Runs, known: Sequence[str]
) -> list[str]:
    found = []
    if budget.disclaimer:
        shown = [spec for spec in figures if spec.experiments]
        enough = [spec for spec in shown if not spec.disclaimer(budget)]
        names = [f"{spec.name} ({_seeds(spec.of(known), runs)})" for spec in enough]
        but = f"; only {', '.join(names)} is trained enough to show its effect"
        found.append(f"{budget.disclaimer.report}{but if enough else ''}.")
    marks = runs.marks([name for name in known if len(runs.of(name))])
    return [*found, f"{marks}."] if marks else found


def _seeds(experiments: Sequence[str], runs: Runs) -> str:
    """How many seeds of some experiments are finished, in words."""
    frames_ = [runs.of(name) for name in experiments if len(runs.of(name))]
    seeds = {seed for frame in frames_ for seed in frame.seed[frame.state == "finished"]}
    return "one seed" if len(seeds) == 1 else f"{len(seeds) or 'no'} seeds"


# --- the scorecard -------------------------------------------------------------------------------


def _claims(folder: Path) -> list[dict[str, Any]]:
    path = folder / "tables" / "scorecard.csv"
    if not path.is_file():
        return []
    frame = frames.read_csv(path, keep_default_na=True)
    try:
        shown = verdict_texts.readable(frame).rename(
            columns={"must be": "must_be", "verdict": "verdict_text"}
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(f"{path}: is not a scorecard; `make tables` makes it anew") from None
    paper = [text.strip("–") for text in shown.paper]
    looks = frame.verdict.where(frame.control != 1, frame.verdict.map(AS_IT_MUST))
    texts = shown["verdict_text"].str.removesuffix(f" ({verdicts.WHOLE})")
    shown = shown.assign(
        verdict=frame.verdict, title=frame.title, paper=paper, look=looks, verdict_text=texts
    )
    return [{str(key): value for key, value in row.items()} for row in shown.to_dict("records")]


def _count(claims: Sequence[Mapping[str, Any]]) -> str:
    counts = {name: sum(claim["verdict"] == name for claim in claims) for name in verdicts.VERDICTS}
    return ", ".join(f"{count} {name}" for name, count in counts.items()) + "."


# --- figures and tables --------------------------------------------------------------------------


def _common(spec: Spec, folder: Path, endings: Sequence[str], runs: Runs) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title,
        "caption": spec.caption.strip(),
        "files": [f"../{spec.kind}/{spec.name}.{ending}" for ending in endings],
        "provenance": provenance(spec.kind, spec.name, folder, runs),
    }


def _id(spec: Spec, taken: set[str]) -> str:
    """Where it is on the page; `taken` are names of figures, and of the scorecard's list."""
    if isinstance(spec, FigureSpec):
        return f"figure_{spec.name}" if spec.name == "scorecard" else spec.name
    return f"table_{spec.name}" if spec.name in taken else spec.name


def _figure(spec: FigureSpec, folder: Path, known: Sequence[str], runs: Runs) -> dict[str, Any]:
    item = _common(spec, folder, ("pdf", "svg", "png"), runs)
    item["id"] = _id(spec, set())
    path = folder / "figures" / f"{spec.name}.png"
    if not path.is_file():
        return {**item, "image": None}
    return {**item, **_image(path), "numbers": _numbers(spec, folder, known)}


def _image(path: Path) -> dict[str, Any]:
    with open_regular(path, MAX_FILE_BYTES) as file:
        content = file.read(MAX_FILE_BYTES)
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))  # PNG's IHDR
    return {
        "image": f"data:image/png;base64,{base64.b64encode(content).decode()}",
        "width": width // 2,  # drawn at twice the density of a page
        "height": height // 2,
    }


def _beside(budget: Budget, folder: Path) -> dict[str, Any] | None:
    """The flagship figure of a larger budget, if that has one."""
    for path in catalog.beside(budget, folder):
        if path.is_file():
            return {"budget": path.parents[1].name, **_image(path)}
    return None


def _numbers(spec: Spec, folder: Path, known: Sequence[str]) -> Grid | None:
    """Final returns of the runs that a figure shows."""
    rows = []
    for name in spec.of(known):
        path = folder / "tables" / "data" / f"{name}.evaluations.csv"
        if path.is_file() and "evaluations" in spec.reads:
            rows += _final(frames.read(f"{name}.evaluations", path))
    if not rows:
        return None
    head = ("benchmark", "cell", "tasks of", "variant", "step", "return", "range", "seeds")
    return Grid(head, rows, [False] * 4 + [True] * 4)


def _final(evaluations: pd.DataFrame) -> list[list[str]]:
    scores = frames.scores(evaluations)
    if scores.empty:
        return []
    keys = ["benchmark", "cell", "split", "variant"]
    last = scores.step == scores.groupby([*keys, "seed"]).step.transform("max")
    seeds = scores[last].groupby([*keys, "seed"], as_index=False).agg(
        step=("step", "max"), value=("value", "mean")
    )  # fmt: skip
    found = []
    for place, subset in seeds.groupby(keys):
        low, high = subset.value.min(), subset.value.max()
        ends = f"({low:.4g}–{high:.4g})" if len(subset) > 1 else "–"
        mean = f"{subset.value.mean():.4g}"
        found.append([*map(str, place), f"{subset.step.max():,}", mean, ends, str(len(subset))])
    return found


def _table(spec: TableSpec, folder: Path, runs: Runs, taken: set[str]) -> dict[str, Any]:
    path = folder / "tables" / f"{spec.name}.md"
    content = _grid(path) if path.is_file() else None
    item = _common(spec, folder, ("csv", "md", "tex"), runs)
    return {**item, "content": content, "id": _id(spec, taken)}


def _grid(path: Path) -> Grid:
    """The table of a Markdown file that `emit` wrote."""
    with open_regular(path, MAX_FILE_BYTES) as file:
        text = file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line[:2] == "| "]
    cells = [line[2:-2].replace(r"\|", "\0").split(" | ") for line in lines]
    if len(cells) < 2 or len(set(map(len, cells))) > 1:
        raise ConfigError(f"{path}: holds no table; `make tables` makes it anew")
    head, rule, *rows = [[text.replace("\0", "|") for text in row] for row in cells]
    return Grid(head, rows, [text.endswith(":") for text in rule])


def _experiment(name: str, runs: Runs) -> dict[str, Any]:
    frame = runs.of(name)
    missing = int((frame.state != "finished").sum())
    state = f"{missing} of them missing" if missing else "all finished"
    return {
        "name": name,
        "runs": runs.grid(name),
        "summary": f"{len(frame)} runs, {state}",
        "marked": runs.marks([name]),
    }


def write(budget: str, results: Path, params: Path) -> None:
    """Write the page of a budget. Raises `ConfigError`."""
    html = page(budget, results, params)
    write_atomically(results / budget / "report" / "index.html", html)
