"""Environments in every form and with every space that is supported, for tests that train."""

from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env import MultiAttempt

S = gym.spaces
PICTURE = S.Box(0, 255, (36, 40, 3), np.uint8)
OBSERVATIONS: dict[str, gym.Space[Any]] = {
    "number": S.Box(-1, 1, (), np.float32),
    "matrix": S.Box(-1, 1, (2, 3), np.float32),
    "rank 4": S.Box(-1, 1, (2, 1, 3, 2), np.float32),
    "Discrete": S.Discrete(5, start=-2),
    "MultiDiscrete": S.MultiDiscrete(np.array([[2, 3], [4, 2]])),
    "MultiBinary": S.MultiBinary((2, 3)),
    "Text": S.Text(6, charset="abc "),
    "Tuple": S.Tuple((S.Discrete(3), S.Box(-1, 1, (2,), np.float32))),
    "nested Dict": S.Dict(
        {"hand": S.Dict({"left": S.Discrete(2)}), "eyes": S.Tuple([S.Discrete(2)])}
    ),
    "small picture": S.Box(0, 255, (7, 7, 3), np.uint8),
}
PICTURES: dict[str, gym.Space[Any]] = {
    "channels last": PICTURE,
    "channels first": S.Box(0, 255, (3, 36, 40), np.uint8),
    "floats, channels first": S.Box(0, 1, (3, 36, 40), np.float32),
    "no channels": S.Box(0, 255, (36, 40), np.uint8),
    "stacked frames": S.Box(0, 255, (4, 36, 40, 3), np.uint8),
    "beside others": S.Dict({"eye": PICTURE, "at": S.Discrete(4), "map": S.MultiBinary((2, 2))}),
}
ACTIONS: dict[str, gym.Space[Any]] = {
    "MultiDiscrete": S.MultiDiscrete([3, 2], start=[1, 0]),
    "MultiDiscrete of rank 2": S.MultiDiscrete(np.array([[3, 2], [2, 2]])),
    "MultiBinary of rank 2": S.MultiBinary((2, 2)),
    "Box of rank 2": S.Box(-2, 2, (2, 2), np.float32),
    "scalar Box": S.Box(-2, 2, (), np.float64),
    "Tuple": S.Tuple((S.Discrete(3), S.Box(0, 1, (2,), np.float32))),
    "Dict": S.Dict(
        {"go": S.Discrete(3), "buttons": S.MultiBinary(2), "at": S.Box(0, 1, (), np.float32)}
    ),
}


class Spaces(gym.Env[Any, Any]):
    """Rollouts of four steps that observe samples of a space, and refuse what is no action."""

    def __init__(self, observed: str = "", taken: str = "", start: int = 0) -> None:
        every = OBSERVATIONS | PICTURES
        self.observation_space = every.get(observed, S.Box(-1, 1, (2,), np.float32))
        self.action_space = ACTIONS.get(taken, S.Discrete(3, start=start))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.time += 1
        return self.observation_space.sample(), 1.0, self.time == 4, False, {}


class Masked(Spaces):
    """Allows some actions only, which it says where it is told to; refuses the others."""

    def __init__(self, where: str = "info", taken: str = "") -> None:
        super().__init__(taken=taken)
        self.where, counts = where, [3, 2] if taken else [3]
        self.size = sum(counts)
        if where == "observation":
            spaces = {
                "o": self.observation_space,
                "action_mask": S.Box(0, 1, (self.size,), np.int8),
            }
            self.observation_space = S.Dict(spaces)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        observation, _ = super().reset(seed=seed)
        return self._masked(observation)

    def step(self, action: Any) -> Any:
        chosen = np.ravel(action).astype(int)
        if isinstance(self.action_space, S.MultiDiscrete):
            chosen = chosen - self.action_space.start + [0, 3]
        assert self.mask[chosen].all(), (action, self.mask)
        observation, *rest, _ = super().step(action)
        observation, info = self._masked(observation)
        return observation, *rest, info

    def _masked(self, observation: Any) -> Any:
        self.mask = np.array([0, 1, 0] + [0, 1] * (self.size > 3), np.int8)
        self.mask[int(self.np_random.choice([0, 2]))] = 1
        if self.where == "observation":
            return observation | {"action_mask": self.mask}, {}
        return observation, {"action_mask": self.mask}


def made(attempts: int = 2) -> gym.Env[Any, Any]:
    """A function that makes an environment."""
    return MultiAttempt(gym.make("CartPole-v1", max_episode_steps=5), attempts)


def vectorized(num_envs: int, mode: str) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Environments that are one."""
    names = [lambda: gym.make("CartPole-v1")] * num_envs
    return gym.vector.SyncVectorEnv(names, autoreset_mode=mode)


def nothing() -> int:
    """A function that makes no environment."""
    return 3


gym.register(
    "Zoo/Spaces-v0", f"{__name__}:Spaces", kwargs={"observed": "Tuple"}, max_episode_steps=3
)
