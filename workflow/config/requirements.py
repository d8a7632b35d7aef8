"""What only a user can bring, and what is left out without it."""

import importlib
from functools import cache

from workflow.benchmarks.lookup import benchmarks


@cache
def lacking(benchmark: str) -> str | None:
    """A sentence on what the user must add for a benchmark, and how; None if nothing is missing.

    A simulator that is not installed does not count: its runs fail, and say why.
    """
    described = benchmarks().get(benchmark)
    if described is None or described.user_files is None:
        return None
    module, _, function = described.user_files.missing.partition(":")
    sentence: str | None = getattr(importlib.import_module(module), function)()
    return sentence
