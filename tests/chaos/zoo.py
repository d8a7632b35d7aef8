"""Environments that misbehave, in the trainer's own process and in workers."""

from collections.abc import Callable
from pathlib import Path

from tests.amago2.toy import small
from tests.chaos import toy_runs
from tests.chaos.children import Ended, run
from tests.chaos.trial import Failure, Kind, Outcome, Trial, Wrong, check_manners, sentence
from tests.chaos.zoo_env import EITHER, REFUSED, ZOO

LONGEST_ROLLOUT = 200
"""Steps after which an evaluation gives up; the real limit takes minutes to reach."""
LIMIT_S = 60.0
IMPOSSIBLE = {(name, False) for name in ("ExitsHard", "Crashes")}
"""What ends the trainer's own process cannot be told by it."""
ALONE = [
    (odd.__name__, processes)
    for processes in (False, True)
    for odd in ZOO
    if (odd.__name__, processes) not in IMPOSSIBLE
]


def _configure(work: Path, name: str, processes: bool) -> None:
    env = {"entry_point": f"tests.chaos.zoo_env:{name}", "step_timeout_s": 2}
    more = {"processes": 2} if processes else {}
    config = small(env=env | more, collector={"epochs": 2, "actors": 3})
    work.mkdir(parents=True)
    (work / toy_runs.CONFIG).write_text(config.to_yaml())


def _less_patience() -> None:
    from amago2.rollout import evaluate

    evaluate.LONGEST_ROLLOUT = LONGEST_ROLLOUT


def _train(trial: Trial) -> Outcome:
    """Train in it: refused in one sentence that names it, or a whole run."""
    name, processes = ALONE[trial.number % len(ALONE)]
    work = trial.folder / "work"
    _configure(work, name, processes)
    ended = toy_runs.train(work, limit=LIMIT_S, before=_less_patience)
    return _judge(work, name, ended, f"{name}{' in workers' if processes else ''}")


def _judge(work: Path, name: str, ended: Ended, where: str) -> Outcome:
    expected = next(odd.expected for odd in ZOO if odd.__name__ == name)
    try:
        check_manners(_without_its_own_words(ended))
        if ended.code:
            told = sentence(ended)
            if expected not in (REFUSED, EITHER):
                raise Wrong(Failure.LOSS, f"refused, though nothing is wrong: {told}")
            interrupted = name == "Interrupts" and "stopped; run the same command" in told  # Ctrl-C
            if name not in told and not interrupted:
                raise Wrong(Failure.TRACEBACK, f"the sentence does not name it: {told}")
            if (work / toy_runs.RUN / "record.json").exists():
                raise Wrong(Failure.SILENT, "refused, but there is a finished run")
            return Outcome.SENTENCE
        if expected == REFUSED:
            raise Wrong(Failure.SILENT, f"trained without a word: {ended.said}")
        return _used(work)
    except Wrong as error:
        raise Wrong(error.failure, f"{where}: {error.what}") from None


def _without_its_own_words(ended: Ended) -> Ended:
    return Ended(ended.code, ended.said.replace("one more step\n", ""), ended.errors, ended.seconds)


def _used(work: Path) -> Outcome:
    """Whoever trained in it can also look at the run and evaluate it."""
    allowed = ("--allow-env", "tests.chaos.zoo_env", "--rollouts", "1")
    commands: tuple[Callable[[], Ended], ...] = (
        lambda: run(["info", toy_runs.RUN], work),
        lambda: run(["evaluate", toy_runs.RUN, *allowed], work),
    )
    for command in commands:
        ended = command()
        check_manners(ended)
        if ended.code:
            raise Wrong(Failure.LOSS, f"it cannot be used: {ended.errors[-400:]}")
    return Outcome.RESULT


KINDS = (
    Kind(
        "environment",
        "Environment that misbehaves",
        count=len(ALONE),
        short=3,
        trial=_train,
    ),
)
