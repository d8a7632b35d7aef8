"""Real file systems in files: filled, and copied at a moment as a power cut would leave them."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.chaos import toy_runs
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, check_manners, sentence

MIB = 600
"""Size of an image, which takes only what is written: runs refuse a disk that is too small."""
MOUNTS = ("commit=1", "commit=5", "data=writeback", "data=journal", "nodelalloc", "noauto_da_alloc")


@contextlib.contextmanager
def mounted(image: Path, folder: Path, options: str = "") -> Iterator[Path]:
    """The file system in `image`, at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _system("mount", "-o", ",".join(filter(None, ["loop", options])), str(image), str(folder))
    try:
        yield folder
    finally:
        for _ in range(50):  # until what was killed is gone
            if not subprocess.run(["umount", str(folder)], capture_output=True).returncode:
                break
            time.sleep(0.1)


def make_image(image: Path) -> None:
    """An empty ext4 file system."""
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    os.truncate(image, MIB * 2**20)
    _system("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(image))


def _system(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


@cache
def missing() -> str | None:
    """Why no image can be mounted here, if so."""
    if os.getuid():
        return "mounting a disk image needs root"
    if lacking := [tool for tool in ("mount", "mkfs.ext4") if not shutil.which(tool)]:
        return f"there is no {lacking[0]}"
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        try:
            make_image(image)
            with mounted(image, Path(folder) / "disk"):
                return None
        except OSError:
            return "the system forbids mounting a disk image"


def _cut(trial: Trial) -> Outcome:
    """The image is copied in the middle of a run, or just after it; the run goes on in the copy."""
    chance, image, later = trial.chance, trial.folder / "image", trial.folder / "later"
    make_image(image)
    with mounted(image, trial.folder / "disk", chance.choice(MOUNTS)) as disk:
        work = disk / "work"
        toy_runs.write_config(work)
        os.sync()
        child = toy_runs.start(work)
        if finished := chance.random() < 0.25:
            child.wait()
        else:
            _pause(child.pid, chance.uniform(0.05, 1.2))
        _system("cp", "--sparse=always", str(image), str(later))
        child.kill(group=True)
        finished = finished or (child.wait().code == 0 and _claims(work))
    with mounted(later, trial.folder / "disk") as disk:
        return resume(disk / "work", trial.prepared, claimed=finished)


def _pause(pid: int, seconds: float) -> None:
    """Stop a process after some seconds, so that it does nothing while its disk is copied."""
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def _claims(work: Path) -> bool:
    return (work / toy_runs.RUN / "record.json").exists()


def resume(work: Path, prepared: Path, claimed: bool) -> Outcome:
    """After a power cut: what a finished command claimed is there, else the run goes on."""
    if not (work / toy_runs.CONFIG).exists():
        raise Wrong(Failure.LOSS, "the configuration, which was synced, is gone")
    if claimed and not _claims(work):
        raise Wrong(Failure.LOSS, "the run that the command had finished is gone")
    ended = toy_runs.train(work)
    check_manners(ended)
    if ended.code:
        sentence(ended)
        raise Wrong(Failure.LOSS, f"the run is stuck: {ended.errors}")
    toy_runs.check_same(work / toy_runs.RUN, prepared / "plain" / toy_runs.RUN)
    toy_runs.check_whole(work, tidy=False)
    return Outcome.RESULT


def _fill(trial: Trial) -> Outcome:
    """The disk fills up in the middle of a run; with room again, the run goes on."""
    chance, image = trial.chance, trial.folder / "image"
    make_image(image)
    with mounted(image, trial.folder / "disk") as disk:
        work, filler = disk / "work", disk / "filler"
        toy_runs.write_config(work)
        child = toy_runs.start(work)
        _pause(child.pid, chance.uniform(0.05, 0.9))
        with filler.open("wb") as file:
            room = os.statvfs(disk)
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            os.truncate(filler, filler.stat().st_size - chance.choice([0, 4096, 30_000, 150_000]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
        ended = child.wait()
        if ended.code:
            sentence(ended)
        filler.unlink()
        return resume(work, trial.prepared, claimed=not ended.code)


KINDS = (
    Kind(
        "frozen-image",
        "Power cut: a real ext4 image, copied at a random moment",
        count=50,
        short=1,
        trial=_cut,
        prepare=(toy_runs.prepare,),
        missing=missing,
    ),
    Kind(
        "filled-disk",
        "Disk full: a real ext4 image, filled at a random moment",
        count=20,
        short=1,
        trial=_fill,
        prepare=(toy_runs.prepare,),
        missing=missing,
    ),
)
