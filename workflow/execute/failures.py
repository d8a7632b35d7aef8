"""What a failed job said, in few words: its own sentence, or how it ended; never a traceback.

The whole of it stays in the job's log.
"""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from workflow.execute.exclusive import ROOT

LINES = 8
"""Shown of a log."""
ENDING = re.compile(r"^exit code (\d+)$")
"""What a rule's shell adds to the log of a job that failed (`workflow/rules/common.smk`)."""
SHELL = re.compile(r"^\S*bash: line \d+: +\d+ ")
"""The shell's own line on a process that a signal ended."""
FRAME = re.compile(r'^ *File "([^"]+)", line (\d+)')
"""Of a traceback."""
SPACE = 2**16
"""Bytes below which a disk counts as full."""
COUNTERS = Path("/proc/vmstat")
MEMORY = ": this machine ran out of memory; end other programs, or run fewer jobs at once"


def out_of_memory() -> int:
    """How many processes this machine's kernel has ended for lack of memory since it started."""
    with suppress(OSError):
        for line in COUNTERS.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def exit_code(log: Path) -> int | None:
    """How the job ended that failed; None if it did not end by itself."""
    lines = _lines(log)
    ending = ENDING.match(lines[-1]) if lines else None
    return int(ending[1]) if ending else None


def last_words(log: Path, killed_for_memory: bool = False) -> list[str]:
    """What to show of a failed job: its last lines without a traceback, and what killed it.

    `killed_for_memory` says whether the kernel has ended a process for lack of memory meanwhile.
    """
    lines = [line for line in _lines(log) if not ENDING.match(line) and not SHELL.match(line)]
    shown = without_traceback(lines)[-LINES:]
    code = exit_code(log) or 0
    if code > 128:
        why = MEMORY if killed_for_memory and code == 128 + signal.SIGKILL else ""
        return [*shown, f"killed by {signal_name(code - 128)}{why}"]
    if not shown and _is_full(log.parent):
        return ["no space left on that disk, not even for a message; free some"]
    return shown or [f"exit code {code}, and no word" if code else "no word in its log"]


def _is_full(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < SPACE or (found.f_files > 0 and not found.f_favail)


def without_traceback(lines: list[str]) -> list[str]:
    """What follows the last traceback: the exception, and where in the project it was raised.

    Without a traceback, all lines.
    """
    starts = [place for place, line in enumerate(lines) if "Traceback (most recent" in line]
    if not starts:
        return lines
    after = lines[starts[-1] + 1 :]
    places = []
    while after and (after[0].startswith((" ", "\t")) or not after[0]):
        frame = FRAME.match(after.pop(0))
        if frame and Path(frame[1]).is_relative_to(ROOT) and "site-packages" not in frame[1]:
            places.append(f" ({Path(frame[1]).relative_to(ROOT)}, line {frame[2]})")
    return [after[0] + "".join(places[-1:]), *after[1:]] if after else []


def signal_name(signum: int) -> str:
    """A signal in words."""
    with suppress(ValueError):
        return f"signal {signum} ({signal.Signals(signum).name})"
    return f"signal {signum}"


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").rstrip().splitlines()
