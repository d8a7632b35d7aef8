"""What a trial is, how it may end, and the kinds of trials."""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.chaos.children import Ended

ENOUGH_LINES = 6
"""Of standard error: a warning or two, and the sentence."""


class Outcome(StrEnum):
    """How a trial ended well."""

    RESULT = "right result"
    SENTENCE = "one sentence"


class Failure(StrEnum):
    """How a trial ended badly."""

    SILENT = "silent wrong results"
    LOSS = "losses"
    TRACEBACK = "tracebacks"
    HANG = "hangs"
    OUTSIDE = "files outside touched"


class Wrong(Exception):
    """A trial ended badly."""

    def __init__(self, failure: Failure, what: str) -> None:
        super().__init__(what)
        self.failure, self.what = failure, what


@dataclass(frozen=True)
class Trial:
    """One trial: its number decides all that is random in it, with the seed."""

    seed: int
    kind: str
    number: int
    folder: Path
    """An empty folder of its own, which is removed afterwards."""
    prepared: Path
    """What `Kind.prepare` filled; trials only read it."""

    @property
    def chance(self) -> random.Random:
        """A generator that is the same in every repetition."""
        return random.Random(f"{self.seed} {zlib.crc32(self.kind.encode())} {self.number}")


@dataclass(frozen=True)
class Kind:
    """Trials of one kind."""

    name: str
    title: str
    count: int
    short: int
    """How many of them the suite runs, spread over all."""
    trial: Callable[[Trial], Outcome]
    prepare: tuple[Callable[[Path], None], ...] = ()
    """Fill the folder that all trials read; each is called once, in this order."""
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot run on this machine, if so."""

    def numbers(self, short: bool) -> list[int]:
        """Numbers of the trials to run."""
        wanted = min(self.short, self.count) if short else self.count
        return [i * self.count // wanted for i in range(wanted)] if wanted else []


@dataclass(frozen=True)
class Tally:
    """How the trials of a kind ended."""

    kind: Kind
    outcomes: dict[str, int] = field(default_factory=dict)
    skipped: str | None = None


def sentence(ended: Ended, command: str = "amago2: ") -> str:
    """The one sentence with which a command failed. Raises `Wrong` if it failed otherwise."""
    check_manners(ended)
    lines = [line for line in ended.errors.splitlines() if line.strip()]
    if not ended.code:
        raise Wrong(Failure.SILENT, f"it succeeded, saying {ended.said[-300:]!r}")
    if ended.code < 0:
        raise Wrong(Failure.TRACEBACK, f"ended by signal {-ended.code}, saying {lines[-3:]}")
    if not lines or not any(line.startswith(command) for line in lines):
        raise Wrong(Failure.TRACEBACK, f"exit code {ended.code} without a sentence: {lines[-3:]}")
    if len(lines) > ENOUGH_LINES or any(len(line) > 1500 for line in lines):
        raise Wrong(Failure.TRACEBACK, f"{len(lines)} lines instead of a sentence: {lines[:3]}")
    return next(line for line in reversed(lines) if line.startswith(command))


def check_manners(ended: Ended) -> None:
    """Raise `Wrong` if a command hung, or showed a traceback or a control character."""
    both = ended.said + ended.errors
    if ended.code is None:
        raise Wrong(Failure.HANG, f"still running after {ended.seconds:.0f} s: {both[-300:]!r}")
    if "Traceback (most recent call last)" in both:
        raise Wrong(Failure.TRACEBACK, f"{both.strip().splitlines()[-1]}: {both[-600:]}")
    if "\x1b" in both or "\x07" in both:
        raise Wrong(Failure.OUTSIDE, f"control characters reach the terminal: {both[-300:]!r}")


def succeeded(ended: Ended) -> None:
    """Raise `Wrong` unless a command succeeded."""
    check_manners(ended)
    if ended.code:
        raise Wrong(Failure.LOSS, f"exit code {ended.code}: {(ended.said + ended.errors)[-400:]}")
