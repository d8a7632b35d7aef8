"""PPO and SAC of stable-baselines3 with RL Zoo's settings, for `workflow.bench.starters`.

The settings are those of DLR-RM/rl-baselines3-zoo, `hyperparams/`, for the environment or, where it
has none, for the one that `ZOO` names.
"""

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

EVALUATED_AT_ONCE = 10


class Settings(NamedTuple):
    """Of an algorithm in an environment."""

    environments: int
    steps: int
    arguments: dict[str, Any]
    normalise: bool = False
    """Whether observations and rewards are divided by their running standard deviation."""


def _falling(start: float) -> Callable[[float], float]:
    return lambda left: left * start


_CARTPOLE = Settings(8, 100_000, {
    "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20,
    "ent_coef": 0.0, "learning_rate": _falling(1e-3), "clip_range": _falling(0.2),
})  # fmt: skip
_DOOR_KEY = Settings(8, 100_000, {
    "n_steps": 128, "batch_size": 64, "gae_lambda": 0.95, "gamma": 0.99, "n_epochs": 10,
    "ent_coef": 0.0, "learning_rate": 2.5e-4, "clip_range": 0.2,
}, normalise=True)  # fmt: skip
ZOO: dict[tuple[str, str], Settings] = {
    ("CartPole-v1", "ppo"): _CARTPOLE,
    ("Pendulum-v1", "ppo"): Settings(4, 100_000, {
        "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0,
        "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4,
    }),
    ("Pendulum-v1", "sac"): Settings(1, 20_000, {"learning_rate": 1e-3}),
    ("Acrobot-v1", "ppo"): Settings(16, 1_000_000, {
        "n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0,
    }, normalise=True),
    ("MountainCarContinuous-v0", "ppo"): Settings(1, 20_000, {
        "n_steps": 8, "batch_size": 256, "gae_lambda": 0.9, "gamma": 0.9999, "n_epochs": 10,
        "ent_coef": 0.00429, "learning_rate": 7.77e-5, "clip_range": 0.1, "max_grad_norm": 5,
        "vf_coef": 0.19, "use_sde": True,
        "policy_kwargs": {"log_std_init": -3.29, "ortho_init": False},
    }, normalise=True),
    ("MountainCarContinuous-v0", "sac"): Settings(1, 50_000, {
        "learning_rate": 3e-4, "buffer_size": 50_000, "batch_size": 512, "ent_coef": 0.1,
        "train_freq": 32, "gradient_steps": 32, "gamma": 0.9999, "tau": 0.01, "learning_starts": 0,
        "use_sde": True, "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64]},
    }),
    ("memory", "ppo"): _DOOR_KEY,
    ("two scales", "ppo"): _CARTPOLE,
}  # fmt: skip
"""By environment and algorithm. `memory` has those of MiniGrid-DoorKey-5x5-v0, and `two scales`
those of CartPole-v1."""


class _Limits(BaseCallback):
    """Ends training when the CPU time is used, and keeps the policy as it was after some steps."""

    def __init__(self, steps: int, seconds: float) -> None:
        super().__init__()
        self.steps, self.seconds = steps, seconds
        self.began = time.process_time()
        self.cpu_s = 0.0
        self.early: dict[str, Any] | None = None
        self.statistics: Any = None

    def _on_step(self) -> bool:
        self.cpu_s = time.process_time() - self.began
        if self.early is None and self.num_timesteps >= self.steps:
            self.early = copy.deepcopy(self.model.policy.state_dict())
            self.statistics = _statistics(self.model)
        return self.cpu_s < self.seconds


def _statistics(model: BaseAlgorithm) -> Any:
    """Running mean and variance of what the policy observes, to be used later."""
    normalised = model.get_vec_normalize_env()
    return None if normalised is None else copy.deepcopy(normalised.obs_rms)


def train_and_evaluate(
    name: str,
    method: str,
    seed: int,
    environments: Mapping[str, Callable[[], Any]],
    limits: tuple[int, float],
    evaluation: tuple[int, int],
) -> dict[str, Any]:
    """Train with the settings of `name` until they end, or the CPU seconds of `limits` do.

    `environments` has "" for training, and what to evaluate in by task. `limits` are the steps
    after which the policy is evaluated too, and CPU seconds; `evaluation` is the number of rollouts
    of each task and their seed. Returns what `workflow.bench.starters` calls a row.
    """
    settings = ZOO[name, method]
    envs: VecEnv = make_vec_env(environments[""], settings.environments, seed=seed)
    if settings.normalise:
        envs = VecNormalize(envs, gamma=settings.arguments["gamma"])
    policy = "MultiInputPolicy" if hasattr(envs.observation_space, "spaces") else "MlpPolicy"
    algorithm = {"ppo": PPO, "sac": SAC}[method]
    model = algorithm(policy, envs, seed=seed, device="cpu", **settings.arguments)
    limit = _Limits(*limits)
    model.learn(settings.steps, callback=limit)

    def returns(statistics: Any) -> dict[str, float]:
        found = {}
        for task, make in environments.items():
            if task or len(environments) == 1:
                fresh: VecEnv = make_vec_env(make, EVALUATED_AT_ONCE, seed=evaluation[1])
                if statistics is not None:
                    fresh = VecNormalize(fresh, training=False, norm_reward=False)
                    fresh.obs_rms = statistics
                each, _ = evaluate_policy(model, fresh, evaluation[0], warn=False)
                found[task] = round(float(np.mean(each)), 3)
        return found

    row: dict[str, Any] = {
        "steps": int(model.num_timesteps),
        "cpu_s": round(limit.cpu_s, 1),
        "returns": returns(_statistics(model)),
    }
    if limit.early is not None:
        model.policy.load_state_dict(limit.early)
        row["returns_at_equal_steps"] = returns(limit.statistics)
    return row
