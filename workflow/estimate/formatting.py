"""Numbers as text for people, with no more digits than an estimate deserves."""

import math


def duration(seconds: float) -> str:
    """In the largest sensible unit: 7200 is `2 h`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def short_number(number: float) -> str:
    """With a decimal prefix: 12,345,678 is `12.3M`."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{prefix}"
    return f"{number:.0f}"
