"""SIGKILL at random moments: of the trainer, of its environments' workers, of all of them."""

import os
import random
import signal
import time
from pathlib import Path

import psutil

from tests.chaos import toy_runs
from tests.chaos.children import Child, Ended
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, check_manners, succeeded

KILLED = ("plain", "continuous", "plain", "gru")


def _kill_trainer(trial: Trial) -> Outcome:
    """Killed one to three times, whatever it is doing, then resumed until it is finished."""
    variant = KILLED[trial.number % len(KILLED)]
    undisturbed = trial.prepared / variant
    work = trial.folder / "work"
    toy_runs.write_config(work, variant)
    chance = trial.chance
    for _ in range(chance.randint(1, 3)):
        child = toy_runs.start(work)
        if _disturb(child, chance.uniform(0, 1.1)).code == 0:
            break
    succeeded(toy_runs.train(work))
    return _finish(trial, work, undisturbed)


def _kill_workers(trial: Trial) -> Outcome:
    """A worker, or everything, is killed at random; a lost worker is told of in a sentence."""
    work, chance = trial.folder / "work", trial.chance
    toy_runs.write_config(work, "workers")
    child = toy_runs.start(work)
    everything = chance.random() < 0.3
    time.sleep(chance.uniform(0.2, 2.5))
    if everything:
        child.kill(group=True)
        child.wait()
    else:
        _kill_one(child, chance)
        ended = child.wait()
        check_manners(ended)
        if ended.code and "died" not in ended.errors and "ended" not in ended.errors:
            raise Wrong(Failure.TRACEBACK, f"a killed worker gives {ended}")
    succeeded(toy_runs.train(work))
    return _finish(trial, work, trial.prepared / "workers")


def _kill_one(child: Child, chance: random.Random) -> None:
    try:
        below = psutil.Process(child.pid).children(recursive=True)
        workers = [each for each in below if "spawn_main" in " ".join(each.cmdline())]
    except psutil.Error:  # it has ended already
        return
    if workers:
        os.kill(chance.choice(workers).pid, signal.SIGKILL)


def _disturb(child: Child, seconds: float) -> Ended:
    end = child.began + seconds
    while child.running() and time.monotonic() < end:
        time.sleep(0.002)
    child.kill()
    return child.wait()


def _finish(trial: Trial, work: Path, undisturbed: Path) -> Outcome:
    if not (work / toy_runs.RUN / "record.json").exists():
        raise Wrong(Failure.LOSS, "the run is stuck: starting it anew does not finish it")
    toy_runs.check_same(work / toy_runs.RUN, undisturbed / toy_runs.RUN)
    toy_runs.check_whole(work)
    return Outcome.RESULT


KINDS = (
    Kind(
        "kill-trainer",
        "Trainer killed at random moments",
        count=80,
        short=2,
        trial=_kill_trainer,
        prepare=(toy_runs.prepare,),
    ),
    Kind(
        "kill-workers",
        "Environment workers killed at random moments",
        count=20,
        short=1,
        trial=_kill_workers,
        prepare=(toy_runs.prepare,),
    ),
)
