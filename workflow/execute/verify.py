"""Check a budget's results: compare every digest, and draw every figure and table anew.

Renders all figures, tables and the report into an empty folder from the present tidy tables and
parameters, and compares them with the manifest, byte for byte. Changes nothing.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from amago2.errors import ConfigError
from amago2.files import open_regular
from workflow.dag import manifest
from workflow.dag.fingerprints import file_digest

DRAWN = ("tables", "figures", "report")
"""Kinds that are drawn anew, in the order in which they can be."""
Say = Callable[[str], None]


def verify(budget: str, results: Path, params: Path, say: Say = print) -> list[str]:
    """Sentences on what differs; empty if nothing does. Raises `ConfigError` without a manifest."""
    made = manifest.read(results / budget).made
    outputs = {file: sha for entry in made.values() for file, sha in entry.outputs.items()}
    say(f"{len(outputs)} files of {results / budget / 'manifest.json'}: comparing digests")
    wrong = list(_changed(outputs, results, budget))
    drawn = {name: entry for kind in DRAWN for name, entry in made.items()
             if name.split("/")[0] == kind}  # fmt: skip
    say(f"{len(drawn)} figures, tables and pages: making them anew")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "results"
        _copy_sources(results / budget, folder / budget)
        for name, entry in drawn.items():
            wrong += _make_anew(name, entry.outputs, budget, folder, params)
    return wrong


def _changed(outputs: Mapping[str, str], results: Path, budget: str) -> Iterator[str]:
    for file, expected in outputs.items():
        try:
            found = file_digest(_below(file, results, budget))
        except (ConfigError, OSError) as error:  # no regular file, or not readable
            yield f"{file}: {error}"
            continue
        if found != expected:
            yield f"{file}: {'is missing' if found is None else 'differs from the manifest'}"


def _below(file: str, results: Path, budget: str) -> Path:
    """A file of the manifest (`results/<budget>/...`) below another results folder."""
    return results / budget / (manifest.inside(file, budget) or "")


def _copy_sources(source: Path, target: Path) -> None:
    """Copy what is drawn: tidy tables, and provenance records, which the report shows.

    A name such as `/dev/zero` may stand behind a link: only regular files are copied.
    """
    for path in (*source.glob("tables/data/*.csv"), *source.glob("provenance/*/*.json")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open_regular(path) as file, copy.open("wb") as out:
            shutil.copyfileobj(file, out)


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
    except Exception as error:  # whatever a table of the right form, but senseless, leads to
        yield f"{name}: cannot be made anew from these tables ({type(error).__name__}: {error})"
        return
    for file, expected in outputs.items():
        if file_digest(_below(file, results, budget)) != expected:
            yield f"{file}: made anew, it has other bytes"
