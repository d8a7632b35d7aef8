"""What only a user can bring, or no package brings, and what is left out without it."""

import importlib
import sys
from functools import cache

from workflow.benchmarks.lookup import benchmarks
from workflow.setup.locks import no_wheel

THIS_PYTHON = (sys.version_info.major, sys.version_info.minor)


@cache
def lacking(benchmark: str) -> str | None:
    """A sentence on what the user must add for a benchmark, and how; None if nothing is missing.

    A simulator that is not installed does not count: its runs fail, and say why. One that cannot
    be, as it has no wheel for this Python, does.
    """
    described = benchmarks().get(benchmark)
    if described is None:
        return None
    if described.simulator and (lack := no_wheel(described.simulator.package, THIS_PYTHON)):
        return "; ".join(lack)
    if described.user_files is None:
        return None
    module, _, function = described.user_files.missing.partition(":")
    sentence: str | None = getattr(importlib.import_module(module), function)()
    return sentence
