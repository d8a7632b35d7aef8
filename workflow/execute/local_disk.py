"""The folder on a node's own disk in which a run may keep copies, where the user names one."""

import os
from pathlib import Path

from amago2.errors import RunError

VARIABLE = "AMAGO2_LOCAL_DISK"
"""Names the folder; variables in it are those of the job: `/local/$SLURM_JOB_ID`."""


def local_disk() -> Path | None:
    """The folder on this machine; None if none is named. Raises `RunError` if it cannot be used."""
    if not (given := os.environ.get(VARIABLE)):
        return None
    folder = Path(os.path.expandvars(given))
    if "$" in str(folder):
        raise RunError(f"{VARIABLE}={given}: the job that trains has no such variable")
    if not folder.is_absolute() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(
            f"{VARIABLE}={given}: {folder} is not a folder on this machine ({os.uname().nodename}) "
            "that you may write to; name another, or unset it"
        )
    return folder
