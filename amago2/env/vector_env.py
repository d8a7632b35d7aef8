"""Many environments stepped together, each reset on its own with a seed of its own.

Every call of an environment is made here, in whatever process it lives: what it returns passes the
checks of `amago2.env.boundary`, what it raises becomes one sentence, and a call that never returns
ends the process.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from amago2.env import boundary
from amago2.env.boundary import FLOAT32_MAX, Attempt, Mismatch, Observations
from amago2.env.failures import (
    CLOSE_LIMIT_S,
    at_most,
    report_to_stderr,
    restore_torch,
    told,
    torch_state,
    watch,
)
from amago2.env.spaces import ActionSpec, Array
from amago2.env.wrapped import check_signatures, registered_limit, tasks_of
from amago2.errors import ConfigError, RunError
from amago2.printing import warn

Make = Callable[[int], gym.Env[Any, Any]]
CHANGED_TORCH = (
    "changes PyTorch's settings (default type, gradients or threads), which is undone after each "
    "call; with env.processes it keeps its own"
)
BOUNDS_EVERY = 16
"""Steps between two looks at floats' bounds, which take longer than the other checks."""


class Origin(NamedTuple):
    """How errors call some environments, and what holds for all of them."""

    name: str
    """The entry point, and the evaluation set if they are of one."""
    first: int = 0
    """Actor number of the first one."""
    worker: int | None = None
    """Number of the worker process in which they live."""
    max_episode_steps: int | None = None
    """Timesteps after which a rollout is truncated."""
    step_timeout_s: float | None = None
    """Seconds that a call may take before it is taken to hang."""
    metrics: tuple[str, ...] = ()
    """Keys of infos whose numbers are kept."""


class VectorEnv:
    """N environments in this process. Nothing resets by itself.

    All its methods raise `RunError` for what an environment does wrong.
    """

    independent = True
    """Whether one environment can be reset and stepped alone."""

    def __init__(
        self,
        make: Make,
        count: int,
        origin: Origin | None = None,
        report: Callable[[str], None] = report_to_stderr,
    ) -> None:
        """Make environments `make(row)` for each row; `report` is told of one that hangs.

        Raises `ConfigError` if they cannot be learned from, or differ in their spaces.
        """
        self._begin(count, origin or Origin("the environment"), report)
        try:
            with self.calling("constructor"):
                for row in range(count):
                    self._at[0] = row
                    self.envs.append(make(row))
            with self.calling("spaces"):
                self._read_spaces()
        except BaseException:
            self.close()
            raise
        first = self.envs[0].unwrapped
        self._end_beginning(first.spec.id if first.spec else type(first).__name__)
        self.max_episode_steps = self.origin.max_episode_steps or registered_limit(self.envs[0])

    def _begin(self, count: int, origin: Origin, report: Callable[[str], None]) -> None:
        """What is needed before environments are made."""
        self.origin = origin
        self._at = _view(np.zeros(1, np.int32))  # row of the environment that is called
        self._call: str | None = None  # what it is asked for
        self._calls = 0
        self.steps = np.zeros(count, np.int64)  # timestep of each rollout
        self._rows = range(count)
        self._seeds: list[int | None] = [None] * count
        self.envs: list[gym.Env[Any, Any]] = []
        self.warn: Callable[[str], None] = lambda text: warn(f"amago2: warning: {text}")
        self._restored = False
        watch(self, self.origin.step_timeout_s, report)

    def _end_beginning(self, default_task: str) -> None:
        """What is known of environments that are made."""
        count = len(self.steps)
        self.share(
            self.checks.arrays, (np.zeros(count), np.zeros(count, bool), np.zeros(count, bool))
        )
        self.attempts: list[Attempt | None] = [None] * count  # that the last step ended
        self.default_task = default_task
        self.labels = [default_task] * count
        self._named: list[Any] = [None] * count  # what `info` called each task
        self.relabelled: set[int] = set()  # rows of changed labels, until someone clears it
        self.measured: list[dict[str, float]] = [{} for _ in range(count)]  # of each rollout

    def share(
        self,
        observation: Mapping[str, Array],
        returned: tuple[Array, ...],
        at: Array | None = None,
    ) -> None:
        """Write to these arrays from now on: in memory that another process reads, say.

        `returned` are reward, terminated and truncated, each (N,). `at` (1,), int32, is the row of
        the environment that is called.
        """
        self.checks.use(observation)
        self.returned = returned
        # Python writes a number to a memory view in a third of the time that it takes for an array.
        self._reward, self._terminated, self._truncated = (_view(array) for array in returned)
        if at is not None:
            self._at = _view(at)

    def _read_spaces(self) -> None:
        self._at[0] = 0
        spaces = self.envs[0].observation_space, self.envs[0].action_space
        for row, env in enumerate(self.envs):
            self._at[0] = row
            if (env.observation_space, env.action_space) != spaces:
                raise ConfigError(
                    f"{self._place()}: it has the observation space {env.observation_space} and "
                    f"the action space {env.action_space}, but the first one {spaces[0]} and "
                    f"{spaces[1]}; all must have the same"
                )
        try:
            check_signatures(self.envs[0])
            self.checks = Observations(spaces[0], len(self.envs))
            self.observations, self.actions = self.checks.boxes, ActionSpec.of(spaces[1])
            self._tasks = tasks_of(self.envs[0])
        except ConfigError as error:
            raise ConfigError(f"{self.origin.name}: {error}") from None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def observation(self) -> dict[str, Array]:
        """Observations (N, ...) by key, as of the last reset or step."""
        return self.checks.arrays

    def reset(
        self,
        rows: Sequence[int],
        seeds: Sequence[int],
        options: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Start a rollout in each of some environments."""
        with self.calling("reset"):
            for row, seed, chosen in zip(rows, seeds, options or [None] * len(rows), strict=True):
                self._at[0], self.steps[row], self._seeds[row] = row, 0, seed
                self._named[row], self.labels[row] = None, self.default_task
                self.measured[row] = {}
                returned = self.envs[row].reset(seed=seed, options=dict(chosen) if chosen else None)
                observation, info = boundary.read_reset(returned)
                self.checks.store(row, observation)
                self._name(row, info.get("task"))
            if len(rows):
                self._check(np.asarray(rows))

    def step(self, actions: Array, rows: Array | None = None) -> tuple[Array, Array, Array]:
        """Step all environments (or the given rows) with stored-form actions.

        Returns reward float64, terminated, truncated, each (N,) or (len(rows),).
        """
        if rows is None:
            chosen: Sequence[int] = self._rows
            self.steps += 1
        else:
            chosen = rows.tolist()
            self.steps[rows] += 1
        self.attempts = [None] * len(self._rows)
        envs, at, take = self.envs, self._at, self._take
        before = torch_state()
        self._call = "step"
        self._calls += 1
        try:
            for row, action in zip(chosen, self.actions.to_env(actions), strict=True):
                at[0] = row
                take(row, envs[row].step(action))
            self._check(rows, bounds=self._calls % BOUNDS_EVERY == 0)
        except BaseException as error:
            raise self._failure(error) from None
        finally:
            self._call = None
        if before != torch_state():
            self._restore(before)
        if self.max_episode_steps is not None:
            self.returned[2][self.steps >= self.max_episode_steps] = True
        return self._results(rows)

    def _take(self, row: int, returned: Any) -> None:
        """Check and keep what one environment's step returned, which is called often."""
        try:
            observation, reward, terminated, truncated, info = returned
        except (TypeError, ValueError):
            raise boundary.not_a_step(returned) from None
        if type(reward) is not float or not -FLOAT32_MAX <= reward <= FLOAT32_MAX:
            reward = boundary.number("the reward", reward)
        if type(terminated) is not bool:
            terminated = boundary.flag("terminated", terminated)
        if type(truncated) is not bool:
            truncated = boundary.flag("truncated", truncated)
        if type(info) is not dict:
            info = boundary.mapping(info)
        self._reward[row] = reward
        self._terminated[row] = terminated
        self._truncated[row] = truncated
        self.checks.store(row, observation)
        if (task := info.get("task")) is not self._named[row]:
            self._name(row, task)
        if "attempt_return" in info:
            self.attempts[row] = boundary.attempt(info)
        for key in self.origin.metrics:
            if key in info:
                self.measured[row][key] = boundary.number(f"info[{key!r}]", info[key])

    def _check(self, rows: Array | None, bounds: bool = True) -> None:
        """Check the observations of all rows, or of some."""
        for warning, row in self.checks.check(rows, bounds):
            self.warn(f"{self._place(row)}: {warning}")

    def _name(self, row: int, task: Any) -> None:
        """Label a row's task, if it has a name; what is named once stays."""
        if type(task) is str and task == self._named[row]:
            return
        label = boundary.task_label(task)
        if label is not None:
            self._named[row] = task
            if label != self.labels[row]:
                self.labels[row] = label
                self.relabelled.add(row)

    def _results(self, rows: Array | None) -> tuple[Array, Array, Array]:
        """Copies of what the last step of some rows returned."""
        reward, terminated, truncated = self.returned
        if rows is None:
            return reward.copy(), terminated.copy(), truncated.copy()
        return reward[rows], terminated[rows], truncated[rows]

    # --- failures -------------------------------------------------------------------------------

    @contextmanager
    def calling(self, call: str) -> Iterator[None]:
        """What an environment does wrong inside becomes an error that names it."""
        before = torch_state()
        self._call = call
        self._calls += 1
        try:
            yield
        except BaseException as error:
            raise self._failure(error) from None
        finally:
            self._call = None
        if before != torch_state():
            self._restore(before)

    def _restore(self, before: tuple[Any, bool, int] | None) -> None:
        """Undo what an environment changed of PyTorch, and say so once."""
        if before is not None:
            restore_torch(before)
            if not self._restored:
                self.warn(f"{self.origin.name} {CHANGED_TORCH}")
            self._restored = True

    def _failure(self, error: BaseException) -> BaseException:
        """What to raise for what came out of a call."""
        if isinstance(error, Mismatch):
            return RunError(f"{self._place(error.row)}: {error}")
        interruptible = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        if isinstance(error, KeyboardInterrupt) and interruptible:
            return error
        if isinstance(error, ConfigError | RunError) and self._call in ("constructor", "spaces"):
            return error
        return RunError(f"{self._place()}: {told(error)}")

    def _place(self, row: int | None = None) -> str:
        """The environment that is called, or that of a row, and what it is asked for."""
        row = int(self._at[0]) if row is None else row
        return place(
            self.origin,
            row,
            self._call or "",
            int(self.steps[row]),
            self.task(row) if self._call == "step" else None,
            self._seeds[row],
        )

    def current_call(self) -> object | None:
        """See `Watched`."""
        return None if self._call is None else (self._calls, int(self._at[0]))

    def describe_call(self) -> str:
        """See `Watched`."""
        return self._place()

    # --- what is known of them ------------------------------------------------------------------

    def task(self, row: int) -> str:
        """The task that one environment's `info` names, else the environment's class."""
        return self.labels[row]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The environments' tasks; empty if they name none."""
        return self._tasks

    def close(self) -> None:
        """Close every environment. One that cannot be closed does no harm: it is a warning."""
        end = time.monotonic() + CLOSE_LIMIT_S
        for row, env in enumerate(self.envs):
            try:
                with at_most(end - time.monotonic()):
                    env.close()
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                where = place(self.origin, row, "close")
                self.warn(f"{where}: {told(error)}")
        self.envs = []


def _view(array: Any) -> Any:
    return memoryview(array)


def place(
    origin: Origin,
    row: int,
    call: str,
    step: int = 0,
    task: str | None = None,
    seed: int | None = None,
) -> str:
    """Name an environment and a call of it."""
    actor = f"actor {origin.first + row}"
    if origin.worker is not None:
        actor += f" in worker {origin.worker}"
    asked = f"step {step}" if call == "step" else call
    known = {"task": task, "seed": seed}
    about = [f"{name} {value}" for name, value in known.items() if value is not None]
    return f"{origin.name}, {actor}, {asked}{' (' + ', '.join(about) + ')' if about else ''}"
