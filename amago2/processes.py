"""Processes that a run starts besides its own: how they end with it, and how they must not begin.

Each is spawned, which imports the user's own script anew. A script that trains without
`if __name__ == "__main__":` would train again in every one of them.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

from amago2.errors import RunError

NO_MAIN_GUARD_EXIT = 75
"""Exit code of a process that was about to run its script again."""
NO_MAIN_GUARD = (
    "this script trains when it is imported, and every process that training starts imports it: "
    'put what it does below `if __name__ == "__main__":`'
)
PR_SET_PDEATHSIG = 1  # of sys/prctl.h


class LostError(RunError):
    """A process ended that should not have, or does not answer."""


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def refuse_second_start() -> None:
    """End this process if it is one that is only now importing the script that started it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(NO_MAIN_GUARD_EXIT)


def raise_died(process: Any, what: str, timeout_s: float) -> NoReturn:
    """Say how a process ended that should not have: raise `LostError`, or end the script.

    It gets `timeout_s` to end. `what` names it, with whatever it did last.
    """
    process.join(timeout_s)
    code = process.exitcode
    if code == NO_MAIN_GUARD_EXIT:
        raise SystemExit(f"amago2: {NO_MAIN_GUARD}")
    if code is not None and code < 0:
        try:
            how = f"was ended by {signal.Signals(-code).name} (exit code {code})"
        except ValueError:
            how = f"was ended by signal {-code}"
        why = "out of memory, or a crash of the simulator"
    else:
        how, why = f"ended by itself with exit code {code}", "an environment ended its process"
    raise LostError(f"{what} {how}: {why}")


def leave_threads_behind(code: int = 0) -> None:
    """End this process at once if a thread of the simulator would keep it from ending."""
    others = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if others:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
