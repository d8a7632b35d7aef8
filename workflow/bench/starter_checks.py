"""What starter configurations are tried on: environments, goals, and who else learns them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym

from amago2.env.mixture import TaskMixture

HERE = "workflow.bench.starter_checks"


class Check(NamedTuple):
    """An environment, as `amago2 init` is given it, and the least return of each task."""

    environment: str
    goals: Mapping[str, float]
    """By task; "" where there is one."""
    methods: tuple[str, ...]
    make: Callable[..., gym.Env[Any, Any]]
    memory: int | None = None
    """What `amago2 init --memory` is given, if it is."""
    least: int = 0
    """Of five seeds, those that must reach the goals."""

    def environments(self) -> dict[str, Callable[[], gym.Env[Any, Any]]]:
        """What makes the environment for training (""), and to evaluate in each task."""
        tasks = {task: partial(self.make, tasks=[task]) for task in self.goals if task}
        return {"": self.make, **tasks}


def memory() -> gym.Env[Any, Any]:
    """MiniGrid's corridor: at its end, choose the object that was seen at its beginning."""
    from minigrid.wrappers import ImgObsWrapper

    seen: gym.Env[Any, Any] = ImgObsWrapper(gym.make("MiniGrid-MemoryS7-v0"))  # type: ignore[no-untyped-call]
    return seen


def two_scales(tasks: list[str] | None = None) -> TaskMixture:
    """CartPole and, with rewards times 1000, its mirror image: which it is, only rewards tell."""
    plain, other = gym.make("CartPole-v1"), gym.make("CartPole-v1")
    mirrored = gym.wrappers.TransformAction(other, lambda action: 1 - action, other.action_space)
    scaled = gym.wrappers.TransformReward(mirrored, lambda reward: 1000 * float(reward))
    return TaskMixture({"CartPole x1": plain, "mirrored x1000": scaled}, tasks=tasks)


def _gymnasium(name: str, goal: float, *methods: str, least: int = 0) -> Check:
    make = partial(gym.make, name)
    return Check(name, {"": goal}, ("amago2", *methods), make, least=least)


CHECKS = {
    "CartPole-v1": _gymnasium("CartPole-v1", 475.0, "ppo", least=4),
    "Pendulum-v1": _gymnasium("Pendulum-v1", -200.0, "ppo", "sac", least=4),
    "Acrobot-v1": _gymnasium("Acrobot-v1", -100.0, "ppo"),
    "MountainCarContinuous-v0": _gymnasium("MountainCarContinuous-v0", 90.0, "ppo", "sac"),
    "memory": Check(f"{HERE}:memory", {"": 0.9}, ("amago2", "ppo"), memory, memory=64),
    "two scales": Check(
        f"{HERE}:two_scales",
        {"CartPole x1": 475.0, "mirrored x1000": 475_000.0},
        ("amago2", "ppo"),
        two_scales,
        memory=0,  # from the second timestep on the last reward, an input, tells the task
    ),
}
"""By name. Goals are Gymnasium's own thresholds where it has one (`reward_threshold`)."""
