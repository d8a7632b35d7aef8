"""Check a budget's results: compare every digest, and draw every figure and table anew.

Renders all figures, tables and the report into an empty folder from the present tidy tables and
parameters, and compares them with the manifest, byte for byte. Changes nothing.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from amago2.errors import ConfigError
from amago2.files import read_json
from workflow.dag.fingerprints import file_digest

DRAWN = ("tables", "figures", "report")
"""Kinds that are drawn anew, in the order in which they can be."""
Say = Callable[[str], None]


def verify(budget: str, results: Path, params: Path, say: Say = print) -> list[str]:
    """Sentences on what differs; empty if nothing does. Raises `ConfigError` without a manifest."""
    path = results / budget / "manifest.json"
    made = read_json(path).get("made")
    if not isinstance(made, dict):
        raise ConfigError(f"{path}: no such manifest; `make reproduce BUDGET={budget}` makes it")
    outputs = {file: sha for entry in made.values() for file, sha in entry["outputs"].items()}
    say(f"{len(outputs)} files of {path}: comparing digests")
    wrong = list(_changed(outputs, results, budget))
    drawn = {name: entry for kind in DRAWN for name, entry in made.items()
             if name.split("/")[0] == kind}  # fmt: skip
    say(f"{len(drawn)} figures, tables and pages: making them anew")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "results"
        _copy_sources(results / budget, folder / budget)
        for name, entry in drawn.items():
            wrong += _make_anew(name, entry["outputs"], budget, folder, params)
    return wrong


def _changed(outputs: Mapping[str, str], results: Path, budget: str) -> Iterator[str]:
    for file, expected in outputs.items():
        found = file_digest(_below(file, results, budget))
        if found != expected:
            yield f"{file}: {'is missing' if found is None else 'differs from the manifest'}"


def _below(file: str, results: Path, budget: str) -> Path:
    """A file of the manifest (`results/<budget>/...`) below another results folder."""
    return results / budget / file.partition(f"/{budget}/")[2]


def _copy_sources(source: Path, target: Path) -> None:
    """Copy what is drawn: tidy tables, and provenance records, which the report shows."""
    for part in ("tables/data", "provenance"):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)


def _make_anew(
    name: str, outputs: Mapping[str, str], budget: str, results: Path, params: Path
) -> Iterator[str]:
    from workflow.render import draw as render
    from workflow.report import page

    kind, _, own = name.partition("/")
    try:
        if kind == "report":
            page.write(budget, results, params)
        else:
            render.render(kind.removesuffix("s"), own, budget, results, params)
    except ConfigError as error:
        yield f"{name}: cannot be made anew: {error}"
        return
    for file, expected in outputs.items():
        if file_digest(_below(file, results, budget)) != expected:
            yield f"{file}: made anew, it has other bytes"
