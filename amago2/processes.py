"""Processes: the one that watches over a command, and those that a run starts besides its own.

Each of these is spawned, which imports the user's own script anew. A script that trains without
`if __name__ == "__main__":` would train again in every one of them.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
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
SAFE_PATH = "PYTHONSAFEPATH"
"""An environment variable: Python does not put the folder of what it runs on `sys.path`."""


class LostError(RunError):
    """A process ended that should not have, or does not answer."""


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_signals_to_trainer() -> None:
    """Ignore what asks a whole run to stop: the trainer ends the processes that it started."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def start(process: Any) -> None:
    """Start a process of `multiprocessing` that finds no module in the present folder meanwhile.

    Python would look there first, for whatever it imports before it gets our own `sys.path`.
    Raises `LostError` if it is killed before it has read what it is to do.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        process.start()
    except BrokenPipeError:
        raise LostError(
            "a process of this run was ended before it began: out of memory, or someone ended it"
        ) from None
    finally:
        restore_search(before)


def restore_search(before: str | None = None) -> None:
    """Undo what `start` did to this process's environment, for the programs that it starts."""
    if before is None:
        os.environ.pop(SAFE_PATH, None)
    else:
        os.environ[SAFE_PATH] = before


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


# --- a command and the process that watches over it -----------------------------------------------

TORCHRUN = "TORCHELASTIC_RUN_ID"
"""A variable that `torchrun` sets, which watches over its processes itself."""
AGAIN_S = 1.0
"""A signal that comes again within this time is the first one, told by the supervisor too."""
_goodbye: int | None = None  # a pipe to the supervisor, in the process that it watches


def supervise(command: Callable[[], object]) -> None:
    """Run a command in a child of this process, and say how it ended if the child could not.

    A simulator may crash, exhaust the memory, or end the process with exit code 0, as if all had
    been done. The exit code, or the signal, is that of the child; 1 where it ended too early with
    0. Never returns, but in a process that `torchrun` started.
    """
    if TORCHRUN in os.environ:
        command()
        return
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = os.pipe()
    # Neither is to be ended by a signal before it knows what to do with it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    supervisor, child = os.getpid(), os.fork()
    if child == 0:
        os.close(ours)
        _be_watched(command, supervisor, theirs, mask)
    os.close(theirs)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _, status = os.waitpid(child, 0)
    os.set_blocking(ours, False)
    try:
        said = os.read(ours, 16)
    except BlockingIOError:  # a process that it left behind holds the other end
        said = b""
    os._exit(int(said)) if said else _end_as(os.waitstatus_to_exitcode(status))


def _be_watched(
    command: Callable[[], object], supervisor: int, goodbye: int, mask: set[int]
) -> NoReturn:
    """Be the child: end with the supervisor, and tell it that the end was meant.

    `mask` has the signals that are to be blocked from here on.
    """
    global _goodbye
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
    _goodbye = goodbye
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt_once())
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        command()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    _say_goodbye(code)
    leave_threads_behind(code)
    sys.exit(code)


def _interrupt_once() -> Callable[..., None]:
    last = -AGAIN_S

    def interrupt(*_: object) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= AGAIN_S:
            last = now
            raise KeyboardInterrupt

    return interrupt


def _end_as(code: int) -> NoReturn:
    """End as the child did, which had not told that it would."""
    if code >= 0:
        why = "something in it, most likely an environment, called `os._exit` or the like"
        print(f"amago2: the process ended itself with exit code {code}: {why}", file=sys.stderr)
        os._exit(code or 1)
    name = signal.Signals(-code).name
    crashed = -code in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
    why = "most likely a simulator crashed" if crashed else "someone ended it"
    if -code == signal.SIGKILL:
        why = "it used up the memory, or someone ended it"
    print(
        f"amago2: the process was ended by {name}: {why}; with env.processes, the error says which "
        "environment it was",
        file=sys.stderr,
        flush=True,
    )
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left one, if any
    with suppress(OSError):  # SIGKILL has no handler
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    os._exit(1)


def _say_goodbye(code: int) -> None:
    if _goodbye is not None:
        with suppress(OSError):
            os.write(_goodbye, str(code).encode())


def leave_threads_behind(code: int = 0) -> None:
    """End this process at once if a thread of the simulator would keep it from ending."""
    if any(not t.daemon and t is not threading.main_thread() for t in threading.enumerate()):
        end_now(code)


def end_now(code: int) -> NoReturn:
    """End this process at once, whatever its threads do; why has been told."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    _say_goodbye(code)
    os._exit(code)
