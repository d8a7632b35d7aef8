"""What a user is told in one sentence, without a traceback."""

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class ConfigError(ValueError):
    """A parameter file or key is wrong. Its text is a clear sentence (or one line per mistake)."""


class RunError(RuntimeError):
    """A run cannot start or go on. Its text is a clear sentence."""


def first_mistake(error: "ValidationError") -> str:
    """The first key of a document that is wrong, and how: `hash is missing`."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(map(str, first["loc"])) or "its content"
    kind, message = first["type"], first["msg"]
    if kind in ("missing", "extra_forbidden"):
        return f"{key} is {'missing' if kind == 'missing' else 'unknown'}"
    if kind in ("model_type", "dict_type"):
        return f"{key} must be an object with keys"
    return f"{key}: {message.replace('Input should', 'must')}"


CONTINUES = "the same command then goes on from the last checkpoint"
FREE_SPACE = f"free some space on that disk; {CONTINUES}"
FREE_MEMORY = (
    "out of memory; end other programs, lower learner.batch_size, env.processes or "
    f"trajectory_encoder.context_length, or take a larger machine; if nothing changes, {CONTINUES}"
)
ADVICE = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EFBIG: "a limit on the size of files is set (`ulimit -f`), or the disk's format has one",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "check who may read and write this file and its folder",
    errno.EPERM: "check who may read and write this file and its folder",
    errno.EIO: f"the disk or its connection fails; check it (`dmesg`), {CONTINUES}",
    errno.ESTALE: f"the network's file server has lost it; mount it again, {CONTINUES}",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`), or lower env.processes",
    errno.ENFILE: "the machine has too many open files; end other programs",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOMEM: FREE_MEMORY,
    errno.EAGAIN: "too many processes or threads, or too little memory (`ulimit -u`)",
}
"""What to do about an error of the operating system."""
MEMORY_SIGNS = ("can't allocate memory", "not enough memory", "Cannot allocate memory",
                "out of memory", "ALLOC_FAILED", "can't start new thread")  # fmt: skip
"""Parts of the messages of PyTorch's `RuntimeError` when memory or threads run out."""


def sentence(error: BaseException) -> str | None:
    """What to tell a user of this error: what went wrong with which file, and what to do.

    None if it says nothing to a user, as a mistake in the code does.
    """
    if isinstance(error, ConfigError | RunError):
        return str(error)
    if isinstance(error, OSError):
        what = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
        said = f"{error.filename}: {what}" if error.filename is not None else what
        return f"{said}; {ADVICE[error.errno]}" if error.errno in ADVICE else said
    if isinstance(error, MemoryError):
        return f"{error}: {FREE_MEMORY}" if str(error) else FREE_MEMORY
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in MEMORY_SIGNS):
        return f"{str(error).splitlines()[0]}: {FREE_MEMORY}"
    return None
