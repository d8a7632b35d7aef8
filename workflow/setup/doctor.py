"""`make doctor`: what this machine has and lacks, each lack with its remedy.

Runs before anything is installed, hence on the standard library alone and on older Pythons too.
"""

from __future__ import annotations

import json
import sys

from workflow.setup import checkout, checks, driver
from workflow.setup.environment import PYTHONS, build_of
from workflow.setup.findings import Finding, ask_python

ASK_PACKAGES = """
import json, re, sys
from importlib.metadata import distributions
found = {re.sub("[-_.]+", "-", d.name).lower(): d.version for d in distributions()}
print(json.dumps([found, sys.version_info[:2]]))
"""


def examine() -> list[Finding]:
    """Every finding, in the order of the report."""
    ok, answer = ask_python(ASK_PACKAGES)
    installed, (major, minor) = json.loads(answer) if ok else ({}, PYTHONS[0])
    build = build_of(installed.get("torch", "+cpu"))
    locked = checks.packages(installed, build, (major, minor))
    there = locked.found != checks.NOT_INSTALLED  # else nothing can be said of what they bring
    return [
        checks.python_version(),
        locked,
        *(checks.torch_build(build, driver.find()) if there else []),
        *(question() for question in ((checks.products,) if there else ())),
        *(question() for question in (checks.cores, checks.memory, checks.disk)),
        *(question() for question in (checkout.git, checkout.pointers, checkout.cache)),
        checkout.folders(),
        *(checks.simulators(checks.simulators_in_use(), (major, minor)) if there else []),
        *(question() for question in (checks.dvc_remote, checks.containers, checks.slurm)),
        *(question() for question in ((checks.rendering, checks.roms) if there else ())),
    ]


def verdict(findings: list[Finding]) -> str:
    """The closing sentence."""
    lacking = [finding.what for finding in findings if finding.mark == "missing"]
    if lacking:
        return f"The default job cannot run here yet: see {', '.join(lacking)}."
    return "Everything that `make reproduce` needs is here."


def plain(findings: list[Finding]) -> str:
    """The report as lines for files and pipes."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
        lines.append(f"{finding.mark:<7}  {finding.what:<{width}}  {finding.found}{remedy}")
    return "\n".join(lines)


def show(findings: list[Finding]) -> None:
    """Print the report: a table on a terminal that rich can draw on, else lines."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(plain(findings))
        return
    if not sys.stdout.isatty():
        print(plain(findings))
        return
    colours = {"ok": "green", "missing": "bold red", "absent": "yellow"}
    table = Table(box=None, show_header=False)
    for finding in findings:
        answer = finding.found + (f"\n-> {finding.remedy}" if finding.remedy else "")
        table.add_row(Text(finding.mark, colours[finding.mark]), Text(finding.what), Text(answer))
    Console().print(table)


def main() -> int:
    """Print the report; 1 if the default job lacks something."""
    findings = examine()
    show(findings)
    print(f"\n{verdict(findings)}")
    return int(any(finding.mark == "missing" for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
