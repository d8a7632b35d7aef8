"""What goes wrong inside an environment, as a sentence: its exceptions, and calls that hang."""

import os
import signal
import sys
import sysconfig
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from amago2.printing import plain, warn
from amago2.processes import end_now

LIBRARIES = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")}
)
OWN = str(Path(__file__).resolve().parents[1])
LONGEST = 300
"""Characters of an exception's text that are shown."""
TICK_S = 1.0
"""How often the watchdog looks."""
CLOSE_LIMIT_S = 10.0
"""How long closing all may take; there is nothing left to lose by then."""


def told(error: BaseException) -> str:
    """An environment's exception in a line: its type, its text, and where it was raised."""
    kind, text = type(error).__name__, " ".join(_text(error).split())
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ..."
    if isinstance(error, SystemExit):
        kind, text = f"it called sys.exit({'' if error.code is None else repr(error.code)})", ""
    where = _where(error.__traceback__)
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def _text(error: BaseException) -> str:
    try:
        return plain(str(error))
    except Exception:  # of an exception that fails to say what it is
        return ""


def _where(trace: TracebackType | None) -> str:
    """File and line of the innermost frame in a user's file, else of the innermost one."""
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not str(Path(frame.filename).resolve()).startswith(OWN + os.sep)
    ]
    users = [f for f in frames if not _of_library(f.filename)]
    if not (chosen := users or frames):
        return ""
    path = Path(chosen[-1].filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f" ({shown}, line {chosen[-1].lineno})"


def _of_library(filename: str) -> bool:
    whole = str(Path(filename).resolve())
    return filename.startswith("<") or whole.startswith(LIBRARIES)


class Watched(Protocol):
    """Something that calls environments, one at a time."""

    def current_call(self) -> object | None:
        """What differs from one call to the next; None outside of calls."""
        ...

    def describe_call(self) -> str:
        """Which environment is called, and what it is asked for."""
        ...


def watch(watched: Watched, limit_s: float | None, report: Callable[[str], None]) -> None:
    """End this process, after a report, once one call takes longer than `limit_s`.

    Whoever is stuck cannot be asked to stop, so the process ends at once; a run continues from its
    last checkpoint. Time in which the whole process was stopped does not count. The watch ends with
    the object. A call that holds Python's global lock for good is noticed by another process only.
    """
    if limit_s is not None:
        threading.Thread(
            target=_watch, args=(weakref.ref(watched), limit_s, report), daemon=True
        ).start()


def _watch(
    reference: Callable[[], Watched | None], limit_s: float, report: Callable[[str], None]
) -> None:
    tick, waited, seen = min(TICK_S, limit_s / 4), 0.0, None
    while True:
        time.sleep(tick)
        watched = reference()
        if watched is None:
            return
        now = watched.current_call()
        waited = waited + tick if now is not None and now == seen else 0.0
        seen = now
        if waited >= limit_s:
            report(hung(watched.describe_call(), limit_s))
            end_now(1)
        del watched


def hung(call: str, limit_s: float) -> str:
    """The sentence about a call that never returns."""
    return (
        f"{call}: it has not returned for {limit_s:g} s, so it is taken to hang "
        "(env.step_timeout_s is the limit); run the same command again to continue from the last "
        "checkpoint"
    )


def report_to_stderr(sentence: str) -> None:
    """Say why this process ends."""
    warn(f"amago2: {sentence}")


@contextmanager
def at_most(limit_s: float) -> Iterator[None]:
    """Raise `TimeoutError` in a block that takes longer; only Python's main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError("it has not returned in time")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(limit_s, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def torch_state() -> tuple[Any, bool, int] | None:
    """Default type, gradients and threads of PyTorch, which an environment may change.

    None in a process without PyTorch, which only steps environments.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()


def restore_torch(state: tuple[Any, bool, int]) -> None:
    """Undo what changed."""
    torch = sys.modules["torch"]
    dtype, gradients, threads = state
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(gradients)
    torch.set_num_threads(threads)
