"""The licences of everything that is used, into docs/licences.md.

Packages are those of the CPU's locks; what they say of themselves is read from the installed ones.
Parts that no package's metadata describes are in `workflow/benchmarks` (of simulators: ROMs,
emulators) and in `licences.yaml` here.
"""

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from pathlib import Path

import yaml

from amago2.errors import RunError
from amago2.files import write_atomically
from workflow.benchmarks.description import Simulator
from workflow.benchmarks.lookup import benchmarks
from workflow.setup.locks import lock_files, pins

PARTS = Path(__file__).with_name("licences.yaml")
USED_BY_SIMULATORS = ("gymnasium",)
CLASSIFIER = "License :: "
NOWHERE = "not stated in the package"
HEAD = """\
# Licences

Made by `make licences` from the locked packages' own metadata; do not edit. This project is MIT
(`LICENSE`). What it uses has licences of its own, which bind whoever passes it on; two of
stable-retro's emulator cores forbid commercial use. This page is no legal advice.
"""


def stated(package: PackageMetadata) -> str:
    """What a package's metadata states: expression, classifiers or text; empty if nothing."""
    if "License-Expression" in package:
        return package["License-Expression"]
    classifiers = [c for c in package.get_all("Classifier") or [] if c.startswith(CLASSIFIER)]
    names = [c.split(" :: ")[-1] for c in classifiers if c != "License :: OSI Approved"]
    text = package["License"].strip() if "License" in package else ""
    if names:
        return ", ".join(sorted(names))
    first = text.splitlines()[0] if text and text != "UNKNOWN" else ""
    return first[:80]


def in_file(found: Distribution) -> str:
    """The first line of a package's own licence file; empty if it has none."""
    for path in found.files or []:
        if re.fullmatch(r"(LICEN[CS]E|COPYING)([.-].*)?", path.name, re.IGNORECASE):
            lines = [line.strip(" #*") for line in path.read_text().splitlines()]
            return f"{next(filter(None, lines), '')[:80]} (its licence file)"
    return ""


def packages(torch: str = "cpu") -> Iterator[tuple[str, str, str]]:
    """Rows (name, version, licence) of the locks, by name. Raises `PackageNotFoundError`."""
    locked = {name: v for path in lock_files(torch) for name, v in pins(path.read_text()).items()}
    for name in sorted(locked):
        found = distribution(name)
        yield name, locked[name], stated(found.metadata) or in_file(found) or NOWHERE


def _simulators() -> list[Simulator]:
    """Those of all benchmarks, each once."""
    found = [own.simulator for own in benchmarks().values() if own.simulator]
    return list(dict.fromkeys(found))


def simulator_packages() -> set[str]:
    """Packages that are listed as simulators."""
    own = {name for each in _simulators() for name in (each.package, *each.extra_packages)}
    return own | set(USED_BY_SIMULATORS)


def page() -> str:
    """The whole page."""
    rows, wanted = list(packages()), simulator_packages()
    simulators = [row for row in rows if row[0] in wanted]
    others = [row for row in rows if row[0] not in wanted]
    described = [part for simulator in _simulators() for part in simulator.parts]
    parts = [(part.name, part.licence, part.source) for part in described]
    parts += [
        (part["part"], part["licence"], part["source"])
        for part in yaml.safe_load(PARTS.read_text(encoding="utf-8"))
    ]
    head = ("package", "version", "licence")
    sections = [
        HEAD,
        "## Simulators\n",
        _table(head, simulators),
        "\n## Parts that no metadata describes\n",
        _table(("part", "licence", "read in"), parts),
        "\n## All other packages\n",
        _table(head, others),
    ]
    return "\n".join(sections) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def write(path: Path) -> None:
    """Write the page. Raises `RunError` if a locked package is not installed."""
    try:
        text = page()
    except PackageNotFoundError as error:
        raise RunError(
            f"{error.name} is locked but not installed: run `make setup TORCH=cpu`"
        ) from None
    write_atomically(path, text)
