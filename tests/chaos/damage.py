"""Damaged files of unfinished and finished runs: noticed, or without any consequence."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos import toy_runs
from tests.chaos.children import Ended, run
from tests.chaos.damages import DAMAGES, remove_the_folder
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, check_manners, sentence

LONGER = ("--set", "collector.epochs=7")
"""A finished run is continued for one more epoch."""
TABLE = "table.csv"


def prepare(folder: Path) -> None:
    """What every reader makes of the undisturbed run, in `read`."""
    work = folder / "read"
    toy_runs.copy(folder / "plain", work)
    for name, (reader, _) in READERS.items():
        ended = reader(work)
        if ended.code:
            raise Wrong(Failure.LOSS, f"{name}: {ended.errors}")
        (work / f"{name}.txt").write_text(ended.said)


def _info(work: Path) -> Ended:
    return run(["info", toy_runs.RUN], work)


def _again(work: Path) -> Ended:
    return toy_runs.train(work)


def _evaluate(work: Path) -> Ended:
    more = ("--rollouts", "1", "--out", TABLE)
    return run(["evaluate", toy_runs.RUN, *toy_runs.ALLOWED, *more], work)


def _go_on(work: Path) -> Ended:
    words = ["train", toy_runs.CONFIG, *LONGER, "--from", toy_runs.RUN, "--out", "longer"]
    return run(words, work)


def _same_words(work: Path, undisturbed: Path, name: str, ended: Ended) -> str | None:
    told = "has no record.json" in ended.said  # a checkpoint without its record can be looked at
    same = ended.said == (undisturbed / f"{name}.txt").read_text()
    return None if same or told else "it says"


def _same_table(work: Path, undisturbed: Path, name: str, ended: Ended) -> str | None:
    same = (work / TABLE).read_bytes() == (undisturbed / TABLE).read_bytes()
    return None if same else "the evaluation's table has"


def _same_run(work: Path, undisturbed: Path, name: str, ended: Ended) -> str | None:
    toy_runs.check_same(work / "longer", undisturbed / "longer")
    return None


Check = Callable[[Path, Path, str, Ended], str | None]
READERS: dict[str, tuple[Callable[[Path], Ended], Check]] = {
    "info": (_info, _same_words),
    "again": (_again, _same_words),
    "evaluate": (_evaluate, _same_table),
    "go-on": (_go_on, _same_run),
}


def strike(trial: Trial, root: Path, but: Sequence[str] = ()) -> str:
    """Damage one file below a folder, sometimes two; returns what was done."""
    chance, done = trial.chance, []
    kinds = sorted({_kind(path, root) for path in toy_runs.plain_files(root, but)})
    for i in range(2 if chance.random() < 0.1 else 1):
        files = toy_runs.plain_files(root, but)
        kind = kinds[(trial.number // len(DAMAGES) + i) % len(kinds)]
        alike = [path for path in files if _kind(path, root) == kind]
        if not alike or len(files) < 2:
            break
        path = chance.choice(alike)
        damage = DAMAGES[(trial.number + i) % len(DAMAGES)]
        if damage is remove_the_folder and path.parent == root:
            damage = DAMAGES[0]
        damage(path, files, chance)
        done.append(f"{damage.__name__} {path.relative_to(root)}")
    return ", ".join(done)


def _kind(path: Path, root: Path) -> str:
    """What kind of file it is: its name without numbers, and the folder it is in."""
    inner = path.relative_to(root).as_posix()
    if "tensorboard" in inner:
        return "tensorboard"
    return "".join(letter for letter in inner if not letter.isdigit())


def _unfinished(trial: Trial) -> Outcome:
    """A file of a scratch folder is damaged; then the run is resumed."""
    work = trial.folder / "work"
    toy_runs.copy(trial.prepared / "stopped", work)
    what = strike(trial, work / toy_runs.SCRATCH)
    try:
        ended = toy_runs.train(work)
        check_manners(ended)
        if ended.code:
            sentence(ended)
            return Outcome.SENTENCE
        toy_runs.check_same(work / toy_runs.RUN, trial.prepared / "plain" / toy_runs.RUN)
    except Wrong as error:
        raise Wrong(error.failure, f"{what}: {error.what}") from None
    return Outcome.RESULT


def _finished(trial: Trial) -> Outcome:
    """A file of a finished run is damaged; then the run is read."""
    work, undisturbed = trial.folder / "work", trial.prepared / "read"
    toy_runs.write_config(work)
    toy_runs.copy(trial.prepared / "plain" / toy_runs.RUN, work / toy_runs.RUN)
    what = strike(trial, work / toy_runs.RUN)
    name = trial.chance.choice(["info", "info", "again", "evaluate", "go-on"])
    reader, check = READERS[name]
    try:
        ended = reader(work)
        check_manners(ended)
        if ended.code:
            sentence(ended)
            return Outcome.SENTENCE
        if other := check(work, undisturbed, name, ended):
            raise Wrong(Failure.SILENT, f"{other} other things: {ended.said[:500]}")
    except Wrong as error:
        raise Wrong(error.failure, f"{what}, {name}: {error.what}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Outcome.RESULT


KINDS = (
    Kind(
        "damage-unfinished",
        "Damaged file of an unfinished run, then resumed",
        count=700,
        short=4,
        trial=_unfinished,
        prepare=(toy_runs.prepare, prepare),
    ),
    Kind(
        "damage-finished",
        "Damaged file of a finished run, then read",
        count=800,
        short=4,
        trial=_finished,
        prepare=(toy_runs.prepare, prepare),
    ),
)
