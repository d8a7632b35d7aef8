"""Meta-World ML45: 45 robot arm tasks, goals hidden, three attempts of 500 steps at one variant.

A variant fixes where objects and goal are. Each task has 50, as in the published benchmark; a
rollout draws one and all its attempts have it. An attempt always lasts 500 steps and is a success
if the task was solved at any of them. Rewards are the simulator's dense ones, 0 to 10 a step
(reward version "v2", also in the installed tasks named v3). The soft reset takes no step: the last
reward of an attempt comes with the next one's first observation.

Observation {"observation": (40,) float32}:

    [0:18]   hand (3), gripper opening (1), positions and quaternions of up to two objects (14)
    [18:36]  the same, one step earlier
    [36:39]  zeros: the goal is hidden
    [39]     1 at the first step of each attempt, else 0

Actions are Box(-1, 1, (4,)): the hand's motion (3) and the gripper's force; others are clipped.

Two splits. "train" has the 45 training tasks; "eval" the 5 held-out ones. Where `tasks` names the
tasks, both splits have those, and "eval" other variants of them than "train" (as ML1).

The variants are our own draws from the tasks' own distributions, fixed by `variant_seed`: the
package's task tables depend on which tasks are built together, and take the global NumPy generator
and 20 seconds to build.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.contract import (
    MultiTaskEnv,
    Observation,
    SimulatorMissing,
    StepResult,
    choose_tasks,
    require,
    unbounded,
)
from envs.sawyer import FASTER

OBSERVATION_SIZE = 40
VARIANTS = 50
MAX_ATTEMPT_STEPS = 500
REWARD_VERSION = "v2"

TRAIN_TASKS = (
    "assembly-v3", "basketball-v3", "button-press-topdown-v3", "button-press-topdown-wall-v3",
    "button-press-v3", "button-press-wall-v3", "coffee-button-v3", "coffee-pull-v3",
    "coffee-push-v3", "dial-turn-v3", "disassemble-v3", "door-close-v3", "door-open-v3",
    "drawer-close-v3", "drawer-open-v3", "faucet-open-v3", "faucet-close-v3", "hammer-v3",
    "handle-press-side-v3", "handle-press-v3", "handle-pull-side-v3", "handle-pull-v3",
    "lever-pull-v3", "pick-place-wall-v3", "pick-out-of-hole-v3", "push-back-v3", "pick-place-v3",
    "plate-slide-v3", "plate-slide-side-v3", "plate-slide-back-v3", "plate-slide-back-side-v3",
    "peg-insert-side-v3", "peg-unplug-side-v3", "soccer-v3", "stick-push-v3", "stick-pull-v3",
    "push-wall-v3", "push-v3", "reach-wall-v3", "reach-v3", "shelf-place-v3", "sweep-into-v3",
    "sweep-v3", "window-open-v3", "window-close-v3",
)  # fmt: skip
TEST_TASKS = ("bin-picking-v3", "box-close-v3", "hand-insert-v3", "door-lock-v3", "door-unlock-v3")
ALL_TASKS = TRAIN_TASKS + TEST_TASKS
SPLITS = ("train", "eval")


def _require(module: str) -> ModuleType:
    """MuJoCo looks for a renderer at once if MUJOCO_GL asks for one, though nothing here draws."""
    try:
        return require(module, "metaworld")
    except SimulatorMissing as error:
        backend, cause = os.environ.get("MUJOCO_GL"), error.__cause__
        if "GLFW3" in str(cause):
            raise SimulatorMissing(
                "the simulator package `mujoco` finds no libX11, which its window library loads "
                "though nothing here opens one: install it (Debian: apt-get install libx11-6)"
            ) from error
        if not backend or isinstance(cause, ModuleNotFoundError):
            raise
        raise SimulatorMissing(
            f"the simulator package `mujoco` finds no renderer for MUJOCO_GL={backend} ({cause}): "
            "unset MUJOCO_GL, or install EGL or OSMesa (Debian: apt-get install libegl1 libosmesa6)"
        ) from error


@cache
def compiled(path: str) -> Any:
    """The model in an XML file; it takes 0.1 s and 20 MB, and several tasks share one."""
    return _require("mujoco").MjModel.from_xml_path(path)


def _initialize_simulation(env: Any) -> tuple[Any, Any]:
    """As Gymnasium's own, but from a copy of the compiled model (tasks change theirs)."""
    model = copy(compiled(env.fullpath))
    return model, _require("mujoco").MjData(model)


def bare_class(task: str) -> Any:
    """Meta-World's class of a task."""
    return _require("metaworld.env_dict").ALL_V3_ENVIRONMENTS[task]


@cache
def quick_class(task: str) -> Any:
    """The same, made so that it begins and steps faster."""
    original = bare_class(task)
    own = {"_initialize_simulation": _initialize_simulation, **FASTER}
    return type(original.__name__, (original,), own)


class Simulator:
    """One Meta-World task; every attempt repeats exactly."""

    def __init__(self, task: str, made: Any = None) -> None:
        """Make one, of the class `made` instead of `quick_class` if that is given."""
        self.env = (made or quick_class(task))(reward_function_version=REWARD_VERSION)
        # What `set_task` would do, without its pickle; goals are hidden by default.
        self.env._set_task_called = True
        self.env.seeded_rand_vec = True
        self._renderer: Any = None

    def draw_variant(self, generator: np.random.Generator) -> None:
        """Draw the random vector (positions of objects and goal) that later resets repeat."""
        self.env.np_random = generator
        self.env._freeze_rand_vec = False
        # Rejects vectors that put things on top of each other. What it returns is no start of an
        # attempt: some tasks first show what was there before.
        self.env.reset()
        self.env._freeze_rand_vec = True

    @property
    def variant(self) -> NDArray[np.float64]:
        """The random vector, of a length that depends on the task."""
        vector: NDArray[np.float64] = self.env._last_rand_vec
        return vector

    def picture(self) -> NDArray[np.uint8]:
        """The arm and its table, (240, 320, 3). Raises `SimulatorMissing` without OpenGL."""
        if self._renderer is None:
            try:
                self._renderer = _require("mujoco").Renderer(self.env.model, 240, 320)
            except SimulatorMissing:
                raise
            except Exception as error:  # whatever its libraries raise where there is no screen
                raise SimulatorMissing(
                    f"MuJoCo cannot draw here ({error}): without a screen, set MUJOCO_GL=egl or "
                    "MUJOCO_GL=osmesa (Debian: apt-get install libegl1 libosmesa6)"
                ) from error
        self._renderer.update_scene(self.env.data, camera="corner4")
        # That camera hangs upside down.
        return np.ascontiguousarray(self._renderer.render()[::-1, ::-1])


class MultiTaskMetaWorld(MultiTaskEnv):
    """Rollouts of `attempts` attempts at one variant of one Meta-World task.

    Args:
        split: "train" or "eval", see the module.
        tasks: names out of `ALL_TASKS`; the split's own if None.
        attempts: attempts in a rollout.
        attempt_steps: steps in an attempt, at most 500.
        variants: number of variants of each task.
        variant_seed: fixes the variants.
        reward_scales: factor on the rewards that the agent gets, by task; 1 where left out.
    """

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"
    soft_reset_takes_step: ClassVar[bool] = False

    def __init__(
        self,
        *,
        split: str = "train",
        tasks: Sequence[str] | None = None,
        attempts: int = 3,
        attempt_steps: int = MAX_ATTEMPT_STEPS,
        variants: int = VARIANTS,
        variant_seed: int = 0,
        reward_scales: Mapping[str, float] | None = None,
    ) -> None:
        if not 1 <= attempt_steps <= MAX_ATTEMPT_STEPS:
            raise ValueError(
                f"attempt_steps: expected 1 to {MAX_ATTEMPT_STEPS}, not {attempt_steps}"
            )
        if variants < 1:
            raise ValueError(f"variants: expected a whole number of at least 1, not {variants}")
        own_tasks = TEST_TASKS if split == "eval" else TRAIN_TASKS
        names = own_tasks if tasks is None else choose_tasks(tasks, ALL_TASKS)
        horizon = attempts * attempt_steps
        super().__init__(
            tasks=names,
            split=split,
            attempts=attempts,
            horizon=horizon,
            reward_scales=reward_scales,
        )
        _require("metaworld.env_dict")
        self.observation_space = spaces.Dict({"observation": unbounded(OBSERVATION_SIZE)})
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._attempt_steps, self._variants, self._variant_seed = (
            attempt_steps,
            variants,
            variant_seed,
        )
        self._held: Simulator | None = None
        self._step = 0
        self._solved = False

    @property
    def known_tasks(self) -> tuple[str, ...]:
        """All 50, training and held-out."""
        return ALL_TASKS

    def _draw_variant(self) -> None:
        variant = int(self.np_random.integers(self._variants))
        self._held = None  # first, for the new one to use its memory again
        self._held = Simulator(self._task)
        key = (SPLITS.index(self._split), ALL_TASKS.index(self._task), variant)
        self._held.draw_variant(np.random.default_rng([self._variant_seed, *key]))

    def _begin_attempt(self) -> Observation:
        self._step, self._solved = 0, False
        values, _ = self._simulator.env.reset()
        return self._observe(values)

    def _play(self, action: Any) -> StepResult:
        clipped = np.minimum(np.maximum(np.asarray(action, np.float32), -1.0), 1.0)
        # In float64: NumPy 2 would count the parts of rewards that have the grip in float32.
        values, reward, _, _, info = self._simulator.env.step(clipped.astype(np.float64))
        self._step += 1
        self._solved = self._solved or bool(info["success"])
        over = self._step == self._attempt_steps
        return StepResult(self._observe(values), float(reward), over, success=self._solved)

    def _observe(self, values: NDArray[np.float64]) -> Observation:
        vector = np.empty(OBSERVATION_SIZE, np.float32)
        vector[:-1] = values
        vector[-1] = self._step == 0
        return {"observation": vector}

    def render(self) -> Any:
        """The arm and its table, (240, 320, 3) uint8. Raises `SimulatorMissing` without OpenGL."""
        return self._simulator.picture()

    @property
    def _simulator(self) -> Simulator:
        assert self._held is not None
        return self._held

    def close(self) -> None:
        """Drop the simulator."""
        self._held, self._running = None, False
