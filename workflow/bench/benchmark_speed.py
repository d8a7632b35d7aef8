"""Facts about each benchmark, and how fast it steps: the bare simulator and our environments.

    python -m workflow benchmark-table --out docs/benchmarks.md        (make benchmark-table)

Both sides play the same rollouts: tasks, variants, random actions, resets, one process or several.
They take turns, and the turn with the median loss counts. Time is CPU time, which other load on the
machine disturbs little. Where environments live in worker processes, a step takes the time of our
own process plus that of the slowest worker, as if each worker had a core of its own: that workers
wait for each other counts, as it would by the clock on a free machine.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from amago2.config.schema import EnvironmentConfig
from amago2.env.make import make_env, make_vector_env
from amago2.env.spaces import ActionSpec, Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from workflow.bench.raw_simulators import PLAYERS, Play
from workflow.benchmarks.lookup import benchmark, benchmarks
from workflow.config.parameters import Parameters
from workflow.config.requirements import lacking
from workflow.docs.marked_section import around, machine, publish

LIMIT = 500
"""Agent steps after which a rollout is cut off."""
ENVS = 8
"""Environments per process, if the simulator allows several."""
PROCESSES = (1, 2)
REPEATS = 5
SECONDS = 0.5
"""Minimum duration of the simulator's turn."""
PROCESS_OFFSET = 1_000_000
"""Added to the rollout number from one process to the next, so that no two play the same."""
COMMAND = "make benchmark-table"


@dataclass(frozen=True)
class RolloutSchedule:
    """The rollouts 0, 1, 2, ... of a benchmark, one task after the other."""

    config: EnvironmentConfig
    tasks: tuple[str, ...]
    actions: ActionSpec
    limit: int = LIMIT

    def rollout(self, number: int) -> tuple[str, int, Array]:
        """Task, seed, and actions (limit, ...) as replay stores them."""
        rng, blank = np.random.default_rng(number), self.actions.blank()
        size = (self.limit, *blank.shape)
        if self.actions.kind == "continuous":
            drawn: Array = rng.uniform(-1, 1, size)
        else:
            drawn = rng.integers(self.actions.size if blank.ndim == 0 else 2, size=size)
        return self.tasks[number % len(self.tasks)], number, drawn.astype(blank.dtype)


def envs_per_process(config: EnvironmentConfig) -> int:
    """Environments per process: one if the parameter file asks for worker processes."""
    return ENVS if config.processes is None else 1


class Timed(NamedTuple):
    """Number of rollouts and steps, and the CPU seconds that they took."""

    rollouts: int
    steps: int
    seconds: float


class Speed(NamedTuple):
    """Steps per second and core of the bare simulator and of our environment, and the loss.

    Without a simulator, `simulator` and `loss` are None. The loss is a fraction of the simulator's.
    """

    simulator: float | None
    ours: float
    loss: float | None


# --- the bare simulator --------------------------------------------------------------------------


@cache
def player(entry: str, args: str) -> Play:
    """The function that plays a benchmark's rollouts in this process, built once."""
    return PLAYERS[entry](json.loads(args))


def play_simulator(schedule: RolloutSchedule, first: int, minimum: int, seconds: float) -> Timed:
    """Play whole rollouts from number `first` on: at least `minimum`, and for at least `seconds`.

    Their number is a multiple of the environments that we run side by side.
    """
    play, steps = player(schedule.config.name, json.dumps(schedule.config.kwargs)), 0
    began = time.process_time()
    for begun, number in enumerate(count(first), 1):
        for _ in play(*schedule.rollout(number)):
            steps += 1
        seconds_so_far = time.process_time() - began
        if (
            begun >= minimum
            and begun % envs_per_process(schedule.config) == 0
            and seconds_so_far >= seconds
        ):
            return Timed(begun, steps, seconds_so_far)
    raise AssertionError("there is always a next rollout")


# --- through our environments --------------------------------------------------------------------


class Clock:
    """CPU seconds of this process, plus those of the slowest worker in every lap."""

    def __init__(self, workers: Sequence[int]) -> None:
        """Start the clock; `workers` are process ids."""
        # The system's numbers of other processes' CPU clocks: clock_getcpuclockid(3).
        self._clocks = [(~worker << 3) | 2 for worker in workers]
        self._waited = 0.0
        self._workers, self._began = self._read(), time.process_time()

    def _read(self) -> list[float]:
        return [time.clock_gettime(clock) for clock in self._clocks]

    def lap(self) -> None:
        """End a lap: all workers have answered what they were asked since the last one."""
        before, self._workers = self._workers, self._read()
        spent = (now - then for now, then in zip(self._workers, before, strict=True))
        self._waited += max(spent, default=0.0)

    @property
    def seconds(self) -> float:
        """CPU seconds since the start."""
        return time.process_time() - self._began + self._waited


def play_ours(
    envs: VectorEnv, clock: Clock, schedule: RolloutSchedule, numbers: Iterator[int]
) -> Timed:
    """Play rollouts until one ends and `numbers` has no next one to start."""
    steps, begun, rows = 0, 0, np.arange(len(envs))
    at, ended = np.zeros(len(envs), int), rows
    plan = np.stack([schedule.rollout(0)[2]] * len(envs))
    while True:
        jobs = [schedule.rollout(number) for number in islice(numbers, len(ended))]
        if len(jobs) < len(ended):
            return Timed(begun, steps, clock.seconds)
        if jobs:
            tasks, seeds, plan[ended] = zip(*jobs, strict=True)
            envs.reset(ended.tolist(), seeds, [{"task": task} for task in tasks])
            clock.lap()
            at[ended], begun = 0, begun + len(jobs)
        _, terminated, truncated = envs.step(plan[rows, at])
        clock.lap()
        at, steps = at + 1, steps + len(rows)
        ended = np.flatnonzero(terminated | truncated | (at == schedule.limit))


def numbers_for(seconds: float, first: int) -> Iterator[int]:
    """Rollout numbers from `first` on, until `seconds` of CPU time are over."""
    began, numbers = time.process_time(), count(first)
    while time.process_time() - began < seconds:
        yield next(numbers)


# --- both ----------------------------------------------------------------------------------------


class Comparison:
    """A bare simulator and our environments, each in the same number of processes."""

    def __init__(self, stack: ExitStack, config: EnvironmentConfig, processes: int) -> None:
        self._processes, others = processes, set(multiprocessing.active_children())
        ours = config.model_copy(update={"processes": processes if processes > 1 else None})
        self.envs = stack.enter_context(
            closing(make_vector_env(ours, processes * envs_per_process(config)))
        )
        self._workers = [
            worker.pid or 0 for worker in multiprocessing.active_children() if worker not in others
        ]
        context = multiprocessing.get_context("spawn")
        self._simulators = [
            stack.enter_context(ProcessPoolExecutor(1, context))
            for _ in range(processes if config.name in PLAYERS else 0)
        ]

    def run(
        self, schedule: RolloutSchedule, first: int, minimum: int, seconds: float
    ) -> tuple[int, Speed]:
        """Time both from rollout `first` on; returns the next rollout's number and the speeds."""
        starts = [first + PROCESS_OFFSET * i for i in range(len(self._simulators))]
        pending = [
            simulator.submit(play_simulator, schedule, begin, minimum, seconds)
            for simulator, begin in zip(self._simulators, starts, strict=True)
        ]
        timings = [each.result() for each in pending]
        played = [range(i, i + timed.rollouts) for i, timed in zip(starts, timings, strict=True)]
        numbers = chain(*played) if played else numbers_for(seconds, first)
        ours = play_ours(self.envs, Clock(self._workers), schedule, numbers)
        rate = ours.steps / ours.seconds / self._processes
        if not timings:
            return first + ours.rollouts, Speed(None, rate, None)
        simulator = sum(timed.steps for timed in timings) / sum(timed.seconds for timed in timings)
        following = max(len(each) for each in played) + first
        return following, Speed(simulator, rate, 1 - rate / simulator)


def measure(
    config: EnvironmentConfig, tasks: Sequence[str], processes: int, seconds: float = SECONDS
) -> Speed:
    """Speeds of the turn with the median loss, or without a simulator with the median speed."""
    with ExitStack() as stack:
        comparison = Comparison(stack, config, processes)
        schedule = RolloutSchedule(config, tuple(tasks), comparison.envs.actions)
        # The first turn is a warm-up: what is built once is not timed.
        first, _ = comparison.run(replace(schedule, limit=2), 0, minimum=len(tasks), seconds=0.1)
        turns = []
        for _ in range(REPEATS):
            first, speed = comparison.run(schedule, first, minimum=1, seconds=seconds)
            turns.append(speed)
    turns.sort(key=lambda turn: turn.ours if turn.loss is None else turn.loss)
    return turns[REPEATS // 2]


# --- the table -----------------------------------------------------------------------------------

HEADER = (
    "| benchmark | tasks | observation | actions | attempts | horizon "
    + "".join(f"| simulator, {n} | ours, {n} | loss " for n in PROCESSES)
    + "|\n|---|---:|---|---|---:|---:"
    + "|---:|---:|---:" * len(PROCESSES)
    + "|"
)


def row(name: str, config: EnvironmentConfig) -> str:
    """A benchmark's row. Raises `RunError` if its simulator is missing."""
    env: Any = make_env(config)
    tasks, cells = env.tasks, [str(len(env.tasks)), _observation(env), _actions(env)]
    cells += [str(env.attempts), f"{env.horizon:,}" if env.horizon else "-"]
    env.close()
    for processes in PROCESSES:
        speed = measure(config, tasks, processes)
        print(f"{name}, {processes} processes: {speed}", file=sys.stderr, flush=True)
        cells += [_rate(speed.simulator), _rate(speed.ours), _percent(speed.loss)]
    alike = [each.name for each in benchmarks().values() if each.same_except_rewards == name]
    names = [name, *alike]
    return f"| {', '.join(f'`{each}`' for each in names)} | {' | '.join(cells)} |"


def _observation(env: Any) -> str:
    boxes = env.observation_space.spaces
    return ", ".join(f"{key} {'x'.join(map(str, box.shape))}" for key, box in boxes.items())


def _actions(env: Any) -> str:
    size, space = ActionSpec.of(env.action_space).size, type(env.action_space).__name__
    return f"{space}({size})"


def _rate(steps_per_s: float | None) -> str:
    """To three digits: a measurement on a shared machine is no more precise."""
    return "-" if steps_per_s is None else f"{float(f'{steps_per_s:.3g}'):,.0f}"


def _percent(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.0%}"


def report(configs: Mapping[str, EnvironmentConfig]) -> tuple[str, list[str], list[str]]:
    """Measure; returns (Markdown, benchmarks left out for lack of ROMs, benchmarks that failed)."""
    rows, left_out, failed = [], [], []
    for name, config in configs.items():
        if sentence := lacking(name):
            left_out.append(f"{name}: {sentence}")
            continue
        try:
            rows.append(row(name, config))
        except RunError as error:
            failed.append(f"{name}: {error}")
    lines = [HEADER, *rows, "", f"Measured on {machine()}, turns in {REPEATS} pairs."]
    lines += [f"\nNot measured: {sentence}." for sentence in left_out + failed]
    return "\n".join(lines), left_out, failed


def write(out: Path | None, only: Sequence[str] = ()) -> list[str]:
    """Measure all benchmarks, or only some, into a page between its two marks, or print the table.

    Returns a sentence for each that could not run; one that lacks ROMs is none. Raises
    `ConfigError`.
    """
    parameters = Parameters()
    names = only or [
        name for name in parameters.names("benchmarks") if not benchmark(name).same_except_rewards
    ]
    if out:
        around(out, COMMAND)  # before minutes of measuring
    configs = {
        name: parameters.resolve(name, "ind_actor_ind_critic", "paper").env for name in names
    }
    text, _, failed = report(configs)
    if out:
        publish(out, COMMAND, text)
    else:
        print(text)
    return failed
