"""Environments that are one `gymnasium.vector.VectorEnv`, stepped as they are.

It steps and, depending on its autoreset mode, resets its environments by itself:

| mode | a rollout ends | seeds |
|---|---|---|
| DISABLED | and waits for its reset, which is that of one environment | decide each rollout |
| SAME_STEP | and the next one's first observation comes with it | decide the first rollouts |
| NEXT_STEP | and the next step only resets: that is a timestep of reward 0 after zeros | likewise |
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from amago2.env.boundary import Mismatch, Observations, described
from amago2.env.failures import report_to_stderr, told
from amago2.env.spaces import ActionSpec, Array
from amago2.env.vector_env import BOUNDS_EVERY, Origin, VectorEnv
from amago2.errors import ConfigError, RunError

GymVectorEnv = gym.vector.VectorEnv[Any, Any, Any]
READ = ("task", "attempt_return", "attempt", "success")


class VectorizedEnv(VectorEnv):
    """The environments of a `gymnasium.vector.VectorEnv`. Tasks are known by info alone."""

    independent = False

    def __init__(
        self,
        make: Callable[[int], GymVectorEnv],
        count: int,
        origin: Origin,
        report: Callable[[str], None] = report_to_stderr,
    ) -> None:
        """Make `make(count)`. Raises `ConfigError` if it cannot be learned from."""
        self.vector: GymVectorEnv | None = None
        self._begin(count, origin, report)
        try:
            with self.calling("constructor"):
                self.vector = vector = make(count)
            with self.calling("spaces"):
                self._read(vector, count)
        except BaseException:
            self.close()
            raise
        self._tasks = ()
        name = vector.spec.id if vector.spec else type(vector.unwrapped).__name__
        self._end_beginning(str(name))
        self.max_episode_steps = origin.max_episode_steps
        self._over = np.ones(count, bool)
        """Of which a rollout has ended, or none begun."""
        self._first: list[Any] = [None] * count
        """First observations of rollouts that have begun by themselves."""
        self._lists = True  # whether reset takes a list of seeds

    def _read(self, vector: GymVectorEnv, count: int) -> None:
        if vector.num_envs != count:
            raise ConfigError(
                f"{self.origin.name}: it has {vector.num_envs} environments, but num_envs={count} "
                "were asked for"
            )
        mode = vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        if self.origin.max_episode_steps and self.mode is not AutoresetMode.DISABLED:
            raise ConfigError(
                f"{self.origin.name}: env.max_episode_steps truncates rollouts, which cannot be "
                f"reset alone with autoreset mode {self.mode.name}; set its own limit in env.kwargs"
            )
        try:
            self.checks = Observations(vector.single_observation_space, count)
            self.observations = self.checks.boxes
            self.actions = ActionSpec.of(vector.single_action_space)
        except ConfigError as error:
            raise ConfigError(f"{self.origin.name}: {error}") from None
        self._batch: Any = create_empty_array(vector.single_action_space, count)

    @property
    def _vector(self) -> Any:
        assert self.vector is not None
        return self.vector

    def reset(
        self,
        rows: Sequence[int],
        seeds: Sequence[int],
        options: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Start a rollout in each of some environments. There are no options for single ones."""
        if not len(rows):
            return
        asked = np.zeros(len(self), bool)
        asked[list(rows)] = True
        with self.calling("reset"):
            for row, seed in zip(rows, seeds, strict=True):
                self.steps[row], self._seeds[row] = 0, seed
                self._named[row], self.labels[row] = None, self.default_task
                self.measured[row] = {}
            given = dict(zip(rows, seeds, strict=True))
            if (self._over | asked).all():
                self._reset_all(given, asked)
            elif self.mode is AutoresetMode.DISABLED:
                self._reset_masked(given, asked)
            else:
                self._go_on(asked)
            self._check(np.flatnonzero(asked))
        self._over &= ~asked

    def _reset_masked(self, seeds: Mapping[int, int], asked: Array) -> None:
        given = [seeds.get(row) for row in range(len(self))]
        options = {"reset_mask": asked}
        returned = self._vector.reset(seed=given, options=options)
        self._take_first(returned, asked)

    def _reset_all(self, seeds: Mapping[int, int], asked: Array) -> None:
        first = next(iter(seeds.values()))
        self._first = [None] * len(self)
        given = [seeds.get(row, first + row) for row in range(len(self))]
        returned: Any = None
        if self._lists:
            try:
                returned = self._vector.reset(seed=given)
            except (gym.error.Error, TypeError, ValueError):
                self._lists = False  # it takes one seed for all, perhaps
        if returned is None:
            returned = self._vector.reset(seed=first)
        self._take_first(returned, asked)

    def _take_first(self, returned: Any, asked: Array) -> None:
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise Mismatch(f"reset returned {described(returned)}, not (observations, infos)")
        observations = list(iterate(self._vector.observation_space, returned[0]))
        for row in np.flatnonzero(asked).tolist():
            self.checks.store(row, observations[row])
            self._name(row, self._info(returned[1], row).get("task"))

    def _go_on(self, asked: Array) -> None:
        """Begin rollouts that begin by themselves."""
        for row in np.flatnonzero(asked).tolist():
            self._at[0] = row
            if not self._over[row]:
                raise RunError(f"{self._place()}: it cannot be reset alone (autoreset mode)")
            if self.mode is AutoresetMode.SAME_STEP and self._first[row] is not None:
                self.checks.store(row, self._first[row])
                self._first[row] = None
            else:  # the next step only resets it
                for key, box in self.observations.items():
                    self.checks.arrays[key][row] = np.clip(0, box.low, box.high)

    def step(self, actions: Array, rows: Array | None = None) -> tuple[Array, Array, Array]:
        """See `VectorEnv.step`. Those of which no step is asked for act like the first one."""
        active = np.zeros(len(self), bool)
        active[slice(None) if rows is None else rows] = True
        self.steps[active] += 1
        self.attempts = [None] * len(self)
        for array in self.returned:
            array[~active] = 0
        with self.calling("step"):
            if self.mode is AutoresetMode.DISABLED and (idle := self._over & ~active).any():
                self._vector.reset(options={"reset_mask": idle})
                self._over[idle] = False
            returned = self._vector.step(self._all_actions(actions, active))
            self._take_all(returned, active)
            self._check(np.flatnonzero(active), bounds=self._calls % BOUNDS_EVERY == 0)
        if self.max_episode_steps is not None:
            self.returned[2][active & (self.steps >= self.max_episode_steps)] = True
        return self._results(rows)

    def _all_actions(self, actions: Array, active: Array) -> Any:
        given = self.actions.to_env(actions)
        chosen = iter(given)
        each = [next(chosen) if on else given[0] for on in active]
        return concatenate(self._vector.single_action_space, each, self._batch)

    def _take_all(self, returned: Any, active: Array) -> None:
        if not (isinstance(returned, tuple) and len(returned) == 5):
            raise Mismatch(f"step returned {described(returned)}, not five values")
        observations, rewards, terminated, truncated, infos = returned
        each = list(iterate(self._vector.observation_space, observations))
        for row in range(len(self)):
            over = bool(terminated[row] or truncated[row])
            self._over[row] |= over
            if not active[row]:
                continue
            self._at[0] = row
            observation, info = each[row], self._info(infos, row)
            if over and self.mode is AutoresetMode.SAME_STEP:
                self._first[row] = observation
                observation = infos["final_obs"][row]
                info = self._info(infos.get("final_info", infos), row)
            flags = bool(terminated[row]), bool(truncated[row])
            self._take(row, (observation, float(rewards[row]), *flags, info))

    def close(self) -> None:
        """See `VectorEnv.close`."""
        if self.vector is not None:
            try:
                self.vector.close()
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.warn(f"{self.origin.name}, close: {told(error)}")
        self.vector = None

    def _info(self, infos: Mapping[str, Any], row: int) -> dict[str, Any]:
        """What infos of many environments tell of one."""
        return {
            key: infos[key][row]
            for key in (*READ, *self.origin.metrics)
            if key in infos and (f"_{key}" not in infos or infos[f"_{key}"][row])
        }
