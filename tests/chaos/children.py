"""Commands run in forked children, which have PyTorch loaded already: a start costs milliseconds.

The parent must have computed nothing yet and have no threads of its own: see `preload`.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Self

LIMIT_S = 60.0
"""A command that takes longer hangs; the longest takes a few seconds."""
Module = str | Callable[[], int]
"""A module by name, or a function that returns an exit code."""
PRELOADED = (
    "amago2.cli",
    "amago2.inference.player",
    "amago2.inference.video",
    "amago2.training.amago_trainer",
    "torch._inductor.config",  # which `torch.use_deterministic_algorithms` imports
)


def preload() -> None:
    """Import what every child needs, without starting a thread."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # so that collecting garbage in a child copies no page


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    """The exit code; a negative number is the signal that ended it, None a hang."""
    said: str
    errors: str
    seconds: float


@dataclass
class Child:
    """A command under way in a process group of its own, with both outputs in files."""

    pid: int
    outputs: tuple[Path, Path]
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls,
        words: Sequence[str],
        folder: Path,
        module: Module = "amago2.cli",
        before: Callable[[], None] | None = None,
    ) -> Self:
        """Run `python -m module words...` in `folder`; `before` is called in the child first."""
        logs = folder.parent / f"{folder.name}.logs"
        logs.mkdir(exist_ok=True)
        outputs = (logs / "stdout", logs / "stderr")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if not pid:
            _be(words, folder, module, outputs, before)
        with contextlib.suppress(OSError):  # the child does it too: whoever comes first
            os.setpgid(pid, pid)
        return cls(pid, outputs)

    def running(self) -> bool:
        """Has it not ended yet? It stays a zombie until `wait`."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is None

    def kill(self, group: bool = False) -> None:
        """SIGKILL, also to the processes that it started if `group`."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)

    def wait(self, limit: float = LIMIT_S) -> Ended:
        """Wait until it ends; after `limit` seconds it is killed. What it left running is, too."""
        pause = 0.001
        while hangs := self.running():
            if time.monotonic() - self.began > limit:
                break
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        self.kill(group=True)
        _, status = os.waitpid(self.pid, 0)
        said, errors = (path.read_text(errors="replace") for path in self.outputs)
        code = None if hangs else os.waitstatus_to_exitcode(status)
        return Ended(code, said, errors, time.monotonic() - self.began)


def run(
    words: Sequence[str],
    folder: Path,
    limit: float = LIMIT_S,
    module: Module = "amago2.cli",
    before: Callable[[], None] | None = None,
) -> Ended:
    """Run a command to its end."""
    return Child.start(words, folder, module, before).wait(limit)


def _be(
    words: Sequence[str],
    folder: Path,
    module: Module,
    outputs: tuple[Path, Path],
    before: Callable[[], None] | None,
) -> None:
    """Become the command; never returns."""
    code = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        for stream, path in zip((1, 2), outputs, strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        end_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ["HOME"] = str(folder)
        sys.argv = [str(module), *words]
        sys.modules["__main__"] = ModuleType("__main__")  # what workers would import again
        if before:
            before()
        code = _call(module)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _call(module: Module) -> int:
    """Run a module's command line, or a function; returns its exit code."""
    try:
        if callable(module):
            return module()
        if module == "amago2.cli":
            from amago2.cli import main

            main()
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
