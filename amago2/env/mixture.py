"""Several environments as one with many tasks, whose spaces hold those of all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.boundary import Observations, task_label
from amago2.env.observations import MASK_KEY
from amago2.env.pictures import is_large_picture
from amago2.env.spaces import ActionSpec, Array
from amago2.env.wrapped import tasks_of
from amago2.errors import ConfigError

Member = gym.Env[Any, Any] | Callable[[], gym.Env[Any, Any]]


class TaskMixture(gym.Env[Any, Any]):
    """Each rollout is one of several environments', drawn by weight; each of them is a task.

    Observations are a Dict of all keys: vectors are padded with zeros to the longest one, what an
    environment does not observe is zeros, and everything else must have one shape. Actions must be
    of one kind; where some environments have fewer, the rest has no effect, and Discrete ones are
    masked (`action_mask`). Rewards are left as they are.
    """

    def __init__(
        self,
        envs: Mapping[str, Member],
        weights: Sequence[float] | None = None,
        tasks: Sequence[str] | None = None,
    ) -> None:
        """Mix `envs` by name, each an environment or a function that makes one.

        `weights` says how often each is drawn, relative to the others; `tasks` restricts it to some
        of `self.tasks`. Raises `ConfigError` if they do not go together.
        """
        if len(envs) < 1 or (weights is not None and len(weights) != len(envs)):
            raise ConfigError("a mixture must have environments, and as many weights if any")
        self.members = {
            name: env if isinstance(env, gym.Env) else env() for name, env in envs.items()
        }
        inner = {name: tasks_of(env) for name, env in self.members.items()}
        shares = dict(zip(envs, weights or [1.0] * len(envs), strict=True))
        self._weights = {}
        """By task: the name of its environment comes first, then its own name if it has one."""
        self._inner: dict[str, tuple[str, str | None]] = {}
        for name, own in inner.items():
            for task in own or (None,):
                label = name if task is None else f"{name}/{task}"
                self._inner[label] = name, task
                self._weights[label] = shares[name] / max(1, len(own))
        self.tasks = tuple(self._inner) if tasks is None else tuple(tasks)
        if unknown := [task for task in self.tasks if task not in self._inner]:
            known = ", ".join(list(self._inner)[:10])
            raise ConfigError(f"a mixture has no task {unknown[0]!r}; it has {known}")
        if not self.tasks:
            raise ConfigError("a mixture must have at least one task")
        modes = {env.render_mode for env in self.members.values()}
        self.render_mode = modes.pop() if len(modes) == 1 else None
        self._read = {
            name: Observations(env.observation_space) for name, env in self.members.items()
        }
        self._specs = {name: ActionSpec.of(env.action_space) for name, env in self.members.items()}
        self.action_space, self._masks = _common_actions(
            self._specs, next(iter(self.members.values())).action_space
        )
        boxes = {name: read.boxes for name, read in self._read.items()}
        if any(MASK_KEY in own for own in boxes.values()) or self._masks is not None:
            size = ActionSpec.of(self.action_space).size
            self._masks = self._masks or {name: np.ones(size, np.uint8) for name in boxes}
        self.boxes = _common_observations(boxes, self._masks)
        """What is observed, by key."""
        self.observation_space = gym.spaces.Dict({**self.boxes})
        self._now = next(iter(self.members))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a rollout of the task that `options["task"]` names, else of a drawn one."""
        super().reset(seed=seed)
        rest = dict(options or {})
        label = rest.pop("task", None)
        if label is None:
            weights = np.array([self._weights[task] for task in self.tasks])
            label = self.tasks[self.np_random.choice(len(weights), p=weights / weights.sum())]
        if label not in self._inner:
            raise ValueError(f"there is no task {label!r}")
        self._now, task = self._inner[label]
        if task is not None:
            rest["task"] = task
        begun = int(self.np_random.integers(2**31))
        observation, info = self.members[self._now].reset(seed=begun, options=rest or None)
        return self._common(observation), self._named(info)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the rollout's environment."""
        spec = self._specs[self._now]
        if spec.kind == "discrete":
            own = (int(action) - self._start) % spec.size + spec.start
        elif self.action_space == self.members[self._now].action_space:
            own = action
        else:
            own = spec.to_env(np.asarray(action)[None, : spec.size])[0]
        observation, reward, terminated, truncated, info = self.members[self._now].step(own)
        return self._common(observation), reward, terminated, truncated, self._named(info)

    @property
    def _start(self) -> int:
        """The first action of a Discrete space."""
        return int(getattr(self.action_space, "start", 0))

    def render(self) -> Any:
        """What the rollout's environment shows."""
        return self.members[self._now].render()

    def close(self) -> None:
        """Close all environments."""
        for env in self.members.values():
            env.close()

    def _named(self, info: Mapping[str, Any]) -> dict[str, Any]:
        inner = task_label(info.get("task")) if tasks_of(self.members[self._now]) else None
        label = self._now if inner is None else f"{self._now}/{inner}"
        return {**info, "task": label}

    def _common(self, observation: Any) -> dict[str, Array]:
        """An observation of the rollout's environment in the space of all."""
        own = self._read[self._now].read(observation)
        if self._masks is not None:
            own.setdefault(MASK_KEY, self._masks[self._now])
        common = {}
        for key, box in self.boxes.items():
            made: Array = np.zeros(box.shape, box.dtype)
            if key in own:
                made[tuple(slice(n) for n in own[key].shape)] = own[key]
            common[key] = made
        return common


def _common_actions(
    specs: Mapping[str, ActionSpec], first: gym.Space[Any]
) -> tuple[gym.Space[Any], dict[str, Array] | None]:
    """An action space for all, and a mask (A,) for each if their Discrete spaces differ in size."""
    kinds = {spec.kind for spec in specs.values()}
    sizes = [spec.size for spec in specs.values()]
    kind, most = kinds.pop(), max(sizes)
    if kinds or (kind == "product" and len({str(spec) for spec in specs.values()}) > 1):
        told = ", ".join(f"{spec.kind} ({spec.size}) of {name}" for name, spec in specs.items())
        raise ConfigError(
            "the environments of a mixture must have actions of one kind, Discrete, Box or "
            f"MultiBinary (others must be equal), but there are {told}; a gymnasium.ActionWrapper "
            "turns one kind into another"
        )
    if len({str(spec) for spec in specs.values()}) == 1:
        return first, None
    if kind == "continuous":
        return gym.spaces.Box(-1, 1, (most,), np.float32), None
    if kind == "multibinary":
        return gym.spaces.MultiBinary(most), None
    masks = {name: (np.arange(most) < spec.size).astype(np.uint8) for name, spec in specs.items()}
    return gym.spaces.Discrete(most), masks if len(set(sizes)) > 1 else None


def _common_observations(
    boxes: Mapping[str, Mapping[str, gym.spaces.Box]], masks: Mapping[str, Array] | None
) -> dict[str, gym.spaces.Box]:
    """Boxes by key, each of which can hold the observations of all environments."""
    spaces: dict[str, gym.spaces.Box] = {}
    for key in dict.fromkeys(key for own in boxes.values() for key in own):
        having = {name: own[key] for name, own in boxes.items() if key in own}
        spaces[key] = _common_box(key, having, len(having) < len(boxes))
    if masks is not None:
        size = len(next(iter(masks.values())))
        spaces[MASK_KEY] = gym.spaces.Box(0, 1, (size,), np.uint8)
    return spaces


def _common_box(key: str, having: Mapping[str, gym.spaces.Box], padded: bool) -> gym.spaces.Box:
    shapes = {box.shape for box in having.values()}
    dtype: Any = np.result_type(*(box.dtype for box in having.values()))
    if len(shapes) > 1:
        if any(len(shape) != 1 for shape in shapes):
            told = ", ".join(f"{box.shape} of {name}" for name, box in having.items())
            raise ConfigError(
                f"the environments of a mixture differ in observation {key}: {told}; "
                f"{_remedy(having)}"
            )
        shapes, padded = {max(shapes)}, True
    (shape,) = shapes
    low = min(float(box.low.min()) for box in having.values())
    high = max(float(box.high.max()) for box in having.values())
    low, high = (min(low, 0.0), max(high, 0.0)) if padded else (low, high)
    return gym.spaces.Box(_kept(low, dtype), _kept(high, dtype), shape, dtype.type)


def _remedy(having: Mapping[str, gym.spaces.Box]) -> str:
    """What would make boxes of one, that are not all vectors, go together."""
    pictures = [name for name, box in having.items() if is_large_picture(box)]
    if not pictures:
        flat = ", ".join(name for name, box in having.items() if len(box.shape) != 1)
        return (
            "only vectors are padded to one length: put gymnasium.wrappers.FlattenObservation "
            f"among the wrappers of {flat}"
        )
    if len(pictures) < len(having):
        return (
            "pictures can share a key with pictures alone: let a wrapper (your own "
            f"gymnasium.ObservationWrapper) turn what {', '.join(pictures)} observes into a Dict "
            "with another key"
        )
    if len({box.shape[2] for box in having.values()}) > 1:
        return (
            "pictures must have as many channels (gymnasium.wrappers.GrayscaleObservation makes "
            "one of three)"
        )
    return "pictures must have one size (gymnasium.wrappers.ResizeObservation)"


def _kept(bound: float, dtype: np.dtype[Any]) -> Any:
    """A bound in a type whose whole numbers may be fewer than a float's."""
    if dtype.kind not in "iu":
        return bound
    limits = np.iinfo(dtype.name)
    return int(min(max(bound, limits.min), limits.max))
