"""Progress of a run: a small file for other processes, lines for a person."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amago2.files import write_atomically

INTERVAL_S = 2
"""Least time between two reports."""
FIRST_LINE_S, LINES_S = 10.0, 60.0
"""When the first line is written where there is no terminal, and the most between two."""


class Progress:
    """`progress.json`, written at most every two seconds."""

    def __init__(self, path: Path, epochs: int) -> None:
        self.path, self.epochs = path, epochs
        self.started = time.monotonic()
        self._written = -10.0
        self._done_before: float = 0.0  # share that was done before this process
        self._line_after, self._next_line = FIRST_LINE_S, self.started + FIRST_LINE_S
        self.score = ""
        """What the last evaluation gave, for the line."""

    def resume(self, epoch: int) -> None:
        """Estimate the time left from the progress after this epoch only."""
        self._done_before = epoch / self.epochs

    def report(
        self, phase: str, epoch: int, env_steps: int, updates: int, within: float = 0.0
    ) -> None:
        """Report progress; `within` is the share of the present epoch that is done, 0 to 1."""
        now = time.monotonic()
        if now - self._written < INTERVAL_S:
            return
        self._written = now
        content = {
            "phase": phase,
            "done": min(1.0, (epoch + within) / self.epochs),
            "epoch": epoch,
            "epochs": self.epochs,
            "env_steps": env_steps,
            "updates": updates,
            "elapsed_s": round(now - self.started, 1),
            "began": self._done_before,
        }
        write_atomically(self.path, json.dumps(content) + "\n", durable=False)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{self._line(content)}", end="", file=sys.stderr, flush=True)
        elif now >= self._next_line:
            print(self._line(content), file=sys.stderr, flush=True)
            self._line_after = min(LINES_S, 2 * self._line_after)
            self._next_line = now + self._line_after

    def _line(self, content: Mapping[str, Any]) -> str:
        """One line for a terminal."""
        share, elapsed = content["done"] - self._done_before, content["elapsed_s"]
        left = elapsed * (1 - content["done"]) / share if share > 0 else float("nan")
        return (
            f"epoch {content['epoch']}/{self.epochs} ({content['phase']}), "
            f"{content['env_steps']:,} steps, {content['updates']:,} updates, "
            f"{elapsed:.0f} s, about {left:.0f} s left{self.score}"
        )
