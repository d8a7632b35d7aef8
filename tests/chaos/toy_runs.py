"""Runs of about a second, undisturbed and interrupted, and their bits."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.amago2.toy import small
from tests.chaos.children import Child, Ended, run
from tests.chaos.trial import Failure, Wrong, succeeded

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "continuous": {"env": {"kwargs": {"continuous": True}}, "agent": {"actor": "policy_gradient"}},
    "workers": {"env": {"processes": 2}},
    "gru": {"trajectory_encoder": {"kind": "gru", "context_length": 5, "width": 16}},
}
CONFIG, RUN = "config.yaml", "run"
SCRATCH = ".run.scratch"
ALLOWED = ("--allow-env", "tests.amago2.toy")
CLOCKS = {
    "started", "ended", "resumptions", "resumed", "wall_s", "cpu_s", "peak_rss_bytes", "cpu",
}  # fmt: skip
"""Keys of a record that differ between equal runs."""
TIMED = ("compute.csv", "tensorboard", "record.json")
"""Files that hold times."""


def write_config(folder: Path, variant: str = "plain") -> None:
    """The configuration of a variant, whose replay fills several shards."""
    folder.mkdir(parents=True, exist_ok=True)
    over = {"replay": {"capacity": 150, "shard_size": 20}, **VARIANTS[variant]}
    (folder / CONFIG).write_text(small(**over).to_yaml())


def train(folder: Path, *more: str, **options: Any) -> Ended:
    """Run the training command in a folder to its end."""
    return run(["train", CONFIG, "--out", RUN, *more], folder, **options)


def start(folder: Path, *more: str, **options: Any) -> Child:
    """Start the training command in a folder."""
    return Child.start(["train", CONFIG, "--out", RUN, *more], folder, **options)


def bits(run_folder: Path) -> dict[str, str]:
    """SHA-256 of everything in a finished run that its configuration decides, by name."""
    found = {}
    for path in sorted(run_folder.rglob("*")):
        name = path.relative_to(run_folder).as_posix()
        if path.is_file() and not name.startswith(TIMED):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def facts(run_folder: Path) -> dict[str, Any]:
    """A run's record without its clocks, and without digests of files that hold times."""
    record = json.loads((run_folder / "record.json").read_text())
    if record["resumed"] == "not bit-exact":
        raise Wrong(Failure.SILENT, "the record says that it was resumed to other bits")
    return {k: v for k, v in record.items() if k not in CLOCKS and not k.endswith("sha256")}


def check_same(run_folder: Path, undisturbed: Path) -> None:
    """Raise `Wrong` unless two finished runs are the same, and the second one is whole."""
    mine, theirs = bits(run_folder), bits(undisturbed)
    if lost := sorted(theirs.keys() - mine.keys()):
        raise Wrong(Failure.LOSS, f"the finished run lacks {lost[0]}")
    if other := [name for name in mine if mine[name] != theirs.get(name)]:
        raise Wrong(Failure.SILENT, f"{other[0]} of the finished run has other bytes")
    if (mine := facts(run_folder)) != (theirs := facts(undisturbed)):
        differ = sorted(key for key in mine | theirs if mine.get(key) != theirs.get(key))
        raise Wrong(Failure.SILENT, f"{differ[0]} of the record differs")


def check_whole(folder: Path, tidy: bool = True) -> None:
    """Raise `Wrong` unless a finished run is intact and, if `tidy`, nothing else is left."""
    succeeded(run(["info", RUN], folder))
    for name in ("compute.csv", "record.json"):
        content = (folder / RUN / name).read_bytes()
        if not content or b"\0" in content:
            raise Wrong(Failure.SILENT, f"{name} of the finished run is empty or holds NULs")
    hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    leftover = sorted(path.name for path in hidden if not path.is_dir() or any(path.iterdir()))
    if leftover and tidy:
        raise Wrong(Failure.LOSS, f"the finished run left {leftover[0]} behind")


def prepare(folder: Path) -> None:
    """Every variant undisturbed, in `<variant>/run`; and one interrupted, in `stopped`."""
    for variant in VARIANTS:
        write_config(folder / variant, variant)
        succeeded(train(folder / variant))
    write_config(folder / "stopped")
    child = start(folder / "stopped", before=_stop_at_epoch(4))
    child.wait()
    if not (folder / "stopped" / SCRATCH / "checkpoints" / "epoch-00000004").is_dir():
        raise Wrong(Failure.LOSS, "the interrupted run has no checkpoint of its fourth epoch")


def _stop_at_epoch(epoch: int) -> Any:
    """A function that has the trainer die in the epoch after one, without any cleaning up."""

    def arrange() -> None:
        import os
        import signal

        from amago2.training.trainer import Trainer

        full = Trainer._log_metrics

        def stop(self: Any, *args: Any) -> None:
            full(self, *args)
            if self.epoch == epoch + 1:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(Trainer, "_log_metrics", stop)  # noqa: B010

    return arrange


def copy(source: Path, target: Path) -> None:
    """Copy a folder's files and links, as they are."""
    shutil.copytree(source, target, symlinks=True)


def plain_files(folder: Path, but: Sequence[str] = ()) -> list[Path]:
    """Regular files below a folder, by name."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if path.name not in but]
