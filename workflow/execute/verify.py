"""Check a budget's results: compare every digest, and draw every figure and table anew.

Compares all that the manifest names, the inputs too, with its digests; every run's folder with the
run's own record; and names files that nothing vouches for. Then renders all figures, tables and the
report into an empty folder from the present tidy tables and parameters, and compares them with the
manifest, byte for byte. Changes nothing.
"""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from amago2 import run_record
from amago2.errors import ConfigError, RunError, sentence
from amago2.files import read_json
from workflow.config import catalog
from workflow.config.parameters import Parameters
from workflow.dag import crate, manifest
from workflow.dag.documents import Provenance
from workflow.dag.fingerprints import file_digest
from workflow.dag.provenance import record_path
from workflow.report import model_card

DRAWN = ("tables", "figures", "report")
"""Kinds that are drawn anew, in the order in which they can be."""
UNLISTED = ("manifest.json", "durations.csv", crate.NAME, "Snakefile")
"""Files of a budget's folder that are made beside the manifest."""
OF_A_RUN = (
    {run_record.NAME, *run_record.FILES, *run_record.ARTIFACTS, "tensorboard"}
    | {f"{name}.dvc" for name in run_record.ARTIFACTS}
    | {model_card.NAME}
)
Say = Callable[[str], None]


def verify(budget: str, results: Path, params: Path, say: Say = print) -> list[str]:
    """Sentences on what differs; empty if nothing does. Raises `ConfigError` without a manifest."""
    folder = results / budget
    made = manifest.read(folder).made
    named = {file: sha for entry in made.values() for file, sha in entry.inputs.items()}
    named |= {file: sha for entry in made.values() for file, sha in entry.outputs.items()}
    runs = sorted(path.parent for path in folder.glob(f"runs/*/*/*/{run_record.NAME}"))
    say(f"{len(named)} files of {folder / 'manifest.json'}, {len(runs)} runs: comparing digests")
    wrong = [*_changed(named, folder), *_records(made, folder), *crate.differences(folder)]
    wrong += [said for run in runs for said in _run(run)]
    known = {_below(file, folder) for file in named} | {folder / name for name in UNLISTED}
    known |= {record_path(folder, *name.split("/")) for name in (*made, "manifest/manifest")}
    wrong += _unknown(known, runs, folder)
    drawn = {name: made[name] for kind in DRAWN for name in made if name.split("/")[0] == kind}
    say(f"{len(drawn)} figures, tables and pages: making them anew")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "results" / budget
        _copy_sources(folder, copy, catalog.beside(Parameters(params).budget(budget), folder))
        for name, entry in drawn.items():
            wrong += _make_anew(name, entry.outputs, copy, params)
    return wrong


def _changed(named: Mapping[str, str | None], folder: Path) -> Iterator[str]:
    for file, expected in named.items():
        if (found := file_digest(_below(file, folder))) != expected:
            yield f"{file}: {'is missing' if found is None else 'differs from the manifest'}"


def _below(file: str, folder: Path) -> Path:
    """A file of the manifest; one of the budget (`results/<budget>/...`) below its folder."""
    own = manifest.inside(file, folder.name) if file.startswith("results/") else None
    return folder / own if own else Path(file)


def _records(made: Mapping[str, Provenance], folder: Path) -> Iterator[str]:
    """Provenance records that are not what the manifest was made from."""
    for name, entry in made.items():
        path = record_path(folder, *name.split("/"))
        if read_json(path) != entry.model_dump():
            yield f"{path}: {'differs from the manifest' if path.is_file() else 'is missing'}"
    path = record_path(folder, "manifest", "manifest")
    own = read_json(path).get("outputs")
    if path.exists() and own != {(file := folder / "manifest.json").as_posix(): file_digest(file)}:
        yield f"{folder / 'manifest.json'}: differs from {path}"


def _run(run: Path) -> Iterator[str]:
    """What is not as the run's record says, of what is here."""
    try:
        run_record.check(run, *(name for name in run_record.ARTIFACTS if (run / name).is_dir()))
    except (ConfigError, RunError, OSError) as error:
        yield str(sentence(error))
    if model_card.differs(run):
        yield f"{run / model_card.NAME}: is not the card of this run"
    for path in sorted(run.iterdir()):
        if path.name not in OF_A_RUN and not path.name.startswith("."):
            yield f"{path}: is no part of a run"


def _unknown(known: Collection[Path], runs: Sequence[Path], folder: Path) -> Iterator[str]:
    """Files of the budget that neither the manifest nor a run's record names."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not (hidden or path in known or path.is_dir() or set(path.parents) & set(runs)):
            yield f"{path}: is named by no manifest"


def _copy_sources(source: Path, target: Path, others: Sequence[Path]) -> None:
    """Copy what is drawn: tidy tables, and provenance records, which the report shows.

    `others` are files of other budgets, which lie beside `source`.

    What is no regular file, such as a link to `/dev/zero`, differs from the manifest anyway.
    """
    tables, records = source.glob("tables/data/*.csv"), source.glob("provenance/*/*.json")
    for path in (*tables, *records, *others):
        if path.is_file():
            copy = target.parent / path.relative_to(source.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _make_anew(name: str, outputs: Mapping[str, str], folder: Path, params: Path) -> Iterator[str]:
    from workflow.render import draw as render
    from workflow.report import page

    kind, _, own = name.partition("/")
    try:
        if kind == "report":
            page.write(folder.name, folder.parent, params)
        else:
            render.render(kind.removesuffix("s"), own, folder.name, folder.parent, params)
    except Exception as error:  # of whatever a damaged table leads to
        said = sentence(error) or f"{type(error).__name__}: {error}"
        yield f"{name}: cannot be made anew: {said}"
        return
    for file, expected in outputs.items():
        if file_digest(_below(file, folder)) != expected:
            yield f"{file}: made anew, it has other bytes"
