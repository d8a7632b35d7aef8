"""SIGTERM asks a run to stop: it ends after its present epoch, with a checkpoint.

Slurm, Kubernetes and container engines send it before they end a job, and give it some time. A
second one ends the run at once.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType

from amago2.printing import warn
from amago2.processes import AGAIN_S

EXIT_CODE = 128 + signal.SIGTERM


class StopRequest:
    """Whether this process has been asked to stop, since the context was entered."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._installed = False

    def __enter__(self) -> "StopRequest":
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._ask)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _ask(self, _signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at >= AGAIN_S:  # sooner, it is the first one, told by others too
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def __bool__(self) -> bool:
        return self._asked_at is not None

    def stop(self, epoch: int, epochs: int) -> None:
        """End this process, whose run has a checkpoint of `epoch`."""
        warn(
            f"amago2: asked to stop, and stopped after epoch {epoch} of {epochs}; run the same "
            "command again to continue from there"
        )
        sys.exit(EXIT_CODE)
