"""Put results into the repository: `python -m workflow publish`.

The small files of all runs of some experiments, which git keeps, and of the best run of each agent
the checkpoint, in a DVC remote that lies in the repository too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from amago2 import run_record
from amago2.errors import ConfigError, RunError
from amago2.files import sha256
from workflow.analysis import frames, scores
from workflow.benchmarks.lookup import scale_files
from workflow.config import catalog
from workflow.config.experiments import Matrix, Selection
from workflow.dag import published
from workflow.dag.plan import Dag, plan
from workflow.dag.pointers import pointer_path, publish_pointer, read_pointer
from workflow.dag.runs import ARTIFACTS, Run
from workflow.dvc import listing
from workflow.dvc.add import dvc, require_repository
from workflow.execute.exclusive import exclusive
from workflow.report import model_card

LIMIT_BYTES = 40 * 10**6
"""Of all checkpoints in the repository, of every budget."""
MANY_BYTES = 30 * 10**6
"""Of those of one budget."""


def publish(selection: Selection, policies: Sequence[str]) -> list[str]:
    """Publish the experiments of a selection, with the checkpoints of some; returns these runs.

    What was published of the budget before and is not named is no longer. Raises `ConfigError` if
    a run is missing or the checkpoints are too large, before anything is changed.
    """
    require_repository()
    with exclusive():
        dag = plan(selection)
        shown = {each.name: each for each in dag.matrices if each.name in selection.experiments}
        runs = {run.name: run for matrix in shown.values() for run in _runs(dag, matrix)}
        if missing := [run.name for run in runs.values() if not run.finished]:
            raise ConfigError(f"{missing[0]}: is not finished; `make reproduce` trains it")
        if others := sorted(set(policies) - shown.keys()):
            raise ConfigError(f"policies: {others[0]} is none of the experiments to publish")
        best = {run.name: run for name in policies for run in _best(dag, shown[name])}
        _check(dag.results, list(best.values()))
        _point(dag, runs, best)
        _forget_unnamed(dag.results.parent)
        for run in runs.values():
            (run.folder / model_card.NAME).unlink(missing_ok=True)
        for run in best.values():
            model_card.write(run.folder)
        published.Published(
            experiments=sorted(shown),
            runs={name: sha256(run.record) for name, run in runs.items()},
            checkpoints=sorted(best),
        ).write(dag.results)
    return [str(run.folder) for run in best.values()]


def _runs(dag: Dag, matrix: Matrix) -> list[Run]:
    return [dag.runs[member.config.run_name] for member in matrix.members]


def _best(dag: Dag, matrix: Matrix) -> Iterator[Run]:
    """The run of each agent with the highest final score, in the first cell that it is in."""
    data = dag.results / "tables" / "data" / f"{matrix.name}.evaluations.csv"
    tables = {f"{matrix.name}.evaluations": frames.read(f"{matrix.name}.evaluations", data)}
    for key, file in scale_files().items():
        tables[f"reference.{key}"] = frames.read(f"reference.{key}", catalog.REFERENCE / file)
    final = scores.on_training_tasks(scores.final(matrix.name, tables))
    means = final.groupby(["benchmark", "variant", "cell", "seed"]).value.mean()
    cells: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], tuple[float, Run]] = {}
    for member in matrix.members:
        config = member.config
        agent = config.benchmark, config.variant
        place = (*agent, cells.setdefault(agent, member.cell), config.seed)
        if member.cell == place[2] and place in means.index:
            each = float(means[place]), dag.runs[config.run_name]
            found[agent] = max(found.get(agent, each), each, key=lambda pair: pair[0])
    yield from (run for _, run in found.values())


def _check(results: Path, best: Sequence[Run]) -> None:
    """Raise `ConfigError` if they are too large, or `RunError` if one is damaged or not here."""
    for run in best:
        if not (run.folder / "checkpoint").is_dir():
            raise RunError(f"{run.folder}: its checkpoint is not here; `make pull` fetches it")
        run_record.check(run.folder, "checkpoint")
    own = sum(_bytes(run.folder / "checkpoint") for run in best)
    elsewhere = (path for path in _pointing_here(results.parent) if results not in path.parents)
    sizes = [pointer.size for path in elsewhere if (pointer := read_pointer(path))]
    if own > MANY_BYTES or own + sum(sizes) > LIMIT_BYTES:
        raise ConfigError(
            f"{len(best)} checkpoints have {own / 1e6:.1f} MB, and other budgets' in "
            f"{published.FOLDER} {sum(sizes) / 1e6:.1f} MB; at most {MANY_BYTES / 1e6:g} MB of one "
            f"budget and {LIMIT_BYTES / 1e6:g} MB of all belong into the repository"
        )


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.iterdir())


def _pointing_here(results: Path) -> Iterator[Path]:
    """Folders whose pointers name the remote in the repository."""
    for path in sorted(results.glob("*/runs/*/*/*/checkpoint.dvc")):
        folder = path.with_suffix("")
        if (pointer := read_pointer(folder)) and pointer.remote:
            yield folder


def _point(dag: Dag, runs: Mapping[str, Run], best: Mapping[str, Run]) -> None:
    """Send the best runs' checkpoints to the repository; no other pointer of the runs is left.

    Their data stays where it is, and in DVC's cache.
    """
    new = [str(run.folder / "checkpoint") for run in best.values()]
    if new:
        dvc("add", *new)
    for run in best.values():
        publish_pointer(run.folder / "checkpoint", in_repository=True)
    for run in runs.values():
        for name in ARTIFACTS:
            if not (name == "checkpoint" and run.name in best):
                pointer_path(run.folder / name).unlink(missing_ok=True)
    if new:
        dvc("push", *(f"{path}.dvc" for path in new))


def _forget_unnamed(results: Path) -> None:
    """Remove from the repository's remote what no pointer names."""
    store = results / published.FOLDER.name / "files" / "md5"
    named = set()
    for folder in _pointing_here(results):
        if pointer := read_pointer(folder):
            named |= {pointer.md5, *listing.objects(store / pointer.md5[:2] / pointer.md5[2:])}
    for path in sorted(store.glob("*/*")):
        if path.parent.name + path.name not in named:
            path.unlink()
