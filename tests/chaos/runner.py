"""Runs trials on a few processes, and reports what they found."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from tests.chaos import children
from tests.chaos.kinds import KINDS
from tests.chaos.table import publish, table
from tests.chaos.trial import Failure, Kind, Tally, Trial, Wrong


class Done(NamedTuple):
    """A trial's end: an `Outcome` or a `Failure`, and what was wrong."""

    kind: str
    number: int
    outcome: str
    what: str


def main(seed: int, only: str, short: bool, jobs: int, write: bool) -> int:
    """Run the trials; returns the exit code."""
    began = time.monotonic()
    name, _, number = only.partition(":")
    kinds = [kind for kind in KINDS if name in ("", kind.name)]
    if short and not name:
        kinds = [kind for kind in kinds if kind.short]
    if not kinds:
        print(f"chaos: there is no kind {name}; kinds: {', '.join(kind.name for kind in KINDS)}")
        return 2
    children.preload()
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir=memory if memory.is_dir() else None))
    print(f"seed {seed}", flush=True)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda number, _: _abandon(root, number))
    try:
        tallies, wrong = _run_all(kinds, [int(number)] if number else None, seed, short, jobs, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(table(tallies))
    for done in wrong:
        print(f"\n{done.kind}:{done.number}: {done.outcome}: {done.what}")
        print(f"    again: make chaos SEED={seed} ONLY={done.kind}:{done.number}")
    print(f"{_total(tallies)} in {time.monotonic() - began:.0f} s; {_verdict(tallies)}")
    if write:
        publish(tallies)
    return int(bool(wrong))


def _abandon(root: Path, signum: int) -> None:
    """Stopped: end what was started, unmount and remove everything."""
    for lane in multiprocessing.active_children():
        lane.kill()
        lane.join()
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in mounts:
        if Path(mount).is_relative_to(root):
            subprocess.run(["umount", "-l", mount], check=False)
    shutil.rmtree(root, ignore_errors=True)
    os._exit(128 + signum)


def _run_all(
    kinds: Sequence[Kind],
    numbers: Sequence[int] | None,
    seed: int,
    short: bool,
    jobs: int,
    root: Path,
) -> tuple[list[Tally], list[Done]]:
    prepared = _prepare(kinds, root)
    tallies: list[Tally] = []
    wrong: list[Done] = []
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, children.end_with_parent) as pool:
        for kind in kinds:
            if reason := kind.missing():
                print(f"{kind.name}: not run: {reason}", flush=True)
                tallies.append(Tally(kind, skipped=reason))
                continue
            began = time.monotonic()
            trials = [
                Trial(seed, kind.name, number, root / kind.name / str(number), prepared)
                for number in (numbers or kind.numbers(short))
            ]
            found: list[Done] = []
            for done in _in_any_order([pool.submit(_carry_out, trial) for trial in trials]):
                found.append(done)
                if done.what:
                    print(f"{done.kind}:{done.number}: {done.outcome}: {done.what}", flush=True)
            tallies.append(Tally(kind, Counter(done.outcome for done in found)))
            wrong += sorted((done for done in found if done.what), key=lambda done: done.number)
            seconds = time.monotonic() - began
            print(f"{kind.name}: {len(found)} in {seconds:.0f} s", flush=True)
    return tallies, wrong


def _prepare(kinds: Sequence[Kind], root: Path) -> Path:
    """Fill the folder that trials read."""
    folder = root / "prepared"
    folder.mkdir()
    wanted = [each for kind in kinds if not kind.missing() for each in kind.prepare]
    for prepare in dict.fromkeys(wanted):
        prepare(folder)
    return folder


def _in_any_order(futures: Sequence[Future[Done]]) -> Iterator[Done]:
    for future in as_completed(futures):
        yield future.result()


def _carry_out(trial: Trial) -> Done:
    """One trial, from an empty folder to none."""
    kind = next(kind for kind in KINDS if kind.name == trial.kind)
    trial.folder.mkdir(parents=True)
    outcome, what = "", ""
    try:
        outcome = kind.trial(trial)
    except Wrong as error:
        outcome, what = error.failure, error.what
    except Exception:
        outcome, what = Failure.TRACEBACK, f"the trial itself failed: {traceback.format_exc()}"
    if not (what and os.environ.get("CHAOS_KEEP")):
        shutil.rmtree(trial.folder, ignore_errors=True)
    return Done(trial.kind, trial.number, outcome, what)


def _total(tallies: Sequence[Tally]) -> str:
    return f"{sum(sum(tally.outcomes.values()) for tally in tallies):,} trials"


def _verdict(tallies: Sequence[Tally]) -> str:
    """0 silent wrong results, 0 losses, ..."""
    counts: Counter[str] = sum((Counter(tally.outcomes) for tally in tallies), Counter())
    return ", ".join(f"{counts[failure]} {failure}" for failure in Failure)
