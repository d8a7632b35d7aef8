"""SAC of stable-baselines3 on a single task, without memory: what a specialist achieves.

    python -m workflow.baselines.sac SETTINGS.yaml --out RUN

The library does the learning; environments, evaluation and published files are those of every run.
It sees what AMAGO-2 sees: the observation, the previous action and the previous reward, as one
vector. It draws from the process's global generators, which it seeds itself. It writes no
checkpoint while it trains, so a killed run starts again from the beginning, to the same bits.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from amago2.env.spaces import Array
from amago2.errors import ConfigError
from amago2.nets.recurrent import HiddenState
from amago2.rollout.acting import policy_inputs
from amago2.rollout.collector import FinishedRollout
from amago2.rollout.replaying import Replayed
from amago2.seeding import Stream, integer
from amago2.training import checkpoint as ckpt
from amago2.training.learner import NonFiniteError
from amago2.training.trainer import EpochResult, Trainer, TrainerState
from workflow.baselines import command
from workflow.baselines.actors import Actors
from workflow.baselines.config import SacConfig

METRICS = {
    "train/actor_loss": "loss_actor",
    "train/critic_loss": "loss_critic",
    "train/ent_coef": "entropy_weight",
}
"""Our names of the library's metrics; their values are those of an epoch's last round."""


def join_inputs(observation: Mapping[str, Tensor], reward: Tensor, action: Tensor) -> Tensor:
    """One vector (N, D) of observation[k] (N, d_k) by key, reward (N,) and action (N, A)."""
    parts = [x.float() for _, x in sorted(observation.items())]
    return torch.cat([*parts, reward.unsqueeze(-1), action], -1)


class VecEnvAdapter(VecEnv):
    """`Actors` with the interface of stable-baselines3, where environments reset by themselves."""

    def __init__(self, actors: Actors) -> None:
        self.actors, self.envs = actors, actors.envs
        self.finished: list[FinishedRollout] = []
        self.actions: Array = np.zeros(0)
        size = 1 + self.envs.actions.size
        size += sum(int(box.shape[0]) for box in self.envs.observations.values())
        vector = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        actions = gym.spaces.Box(-1, 1, (self.envs.actions.size,), np.float32)
        super().__init__(len(self.envs), vector, actions)

    def _observe(self) -> Array:
        cpu, a = torch.device("cpu"), self.actors
        vectors: Array = join_inputs(*policy_inputs(cpu, self.envs, a.reward, a.action)).numpy()
        return vectors

    def reset(self) -> Array:
        """Start the first rollouts."""
        self.actors.begin(range(self.num_envs))
        return self._observe()

    def step_async(self, actions: Array) -> None:
        """Remember actions (N, A) in [-1, 1] for `step_wait`."""
        self.actions = actions.astype(np.float32)

    def step_wait(self) -> Any:
        """Step, and renew ended rollouts. Returns observations (N, D), rewards, dones and infos."""
        reward, terminated, truncated = self.actors.step(self.actions)
        last, done = self._observe(), terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(done).tolist()
        for row in ended:
            timed_out = bool(truncated[row] and not terminated[row])
            infos[row] = {"terminal_observation": last[row], "TimeLimit.truncated": timed_out}
        if ended:
            self.finished += self.actors.renew(ended)
            last = self._observe()
        return last, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Do nothing: the trainer closes its environments."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """None for each environment: only `render_mode` is asked for."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise `AttributeError`."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Raise `AttributeError`."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """False for each environment."""
        return [False] * self.num_envs


class SacPolicy:
    """The policy in evaluations: actions are sampled, as those of every other agent."""

    def __init__(self, model: SAC) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = self.model.device
        return device

    def initial_memory(self, rows: int) -> HiddenState:
        """A memory that holds nothing but the count of timesteps."""
        steps = torch.zeros(rows, dtype=torch.int64)
        return HiddenState(torch.zeros(0, rows, 0), steps)

    @torch.inference_mode()
    def act(
        self,
        observation: Mapping[str, Tensor],
        reward: Tensor,
        action: Tensor,
        memory: HiddenState,
        rng: torch.Generator,
    ) -> Tensor:
        """Sampled actions (N, A): see `amago2.rollout.collector.Policy`."""
        actor = self.model.actor
        mean, log_std, _ = actor.get_action_dist_params(join_inputs(observation, reward, action))
        noise = torch.randn(mean.shape, generator=rng, device=rng.device)
        return torch.tanh(mean + log_std.exp() * noise)

    def eval(self) -> object:
        """Stop learning for now."""
        self.model.policy.set_training_mode(False)
        return self


class SacTrainer(Trainer):
    """The library's own loop, one epoch at a time."""

    config: SacConfig

    def __init__(self, config: SacConfig, scratch: Path) -> None:
        super().__init__(config, scratch)
        kind, shapes = self.envs.actions.kind, self.envs.observations.values()
        if kind != "continuous" or any(len(box.shape) != 1 for box in shapes):
            raise ConfigError("sac is defined for Box actions and vector observations only")
        self.vec_env = VecEnvAdapter(Actors(self.envs, config.seed))
        self.model = _make_model(config, self.vec_env)
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.agent = SacPolicy(self.model)

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return int(self.model._n_updates)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The learned parameters: actor, critics and the entropy's weight."""
        nets = (self.model.actor, self.model.critic)
        return [*(p for net in nets for p in net.parameters()), self._log_weight()]

    def _log_weight(self) -> Tensor:
        """Logarithm of the entropy's weight, (1,)."""
        learned = self.model.log_ent_coef
        assert learned is not None
        return learned

    def start(self) -> None:
        """Do nothing: the library starts the first rollouts."""

    def train_epoch(self) -> EpochResult:
        """Collect and learn in turns, many times in an epoch, so their times are not told apart."""
        started, c = time.monotonic(), self.config.collector
        self.model.learn(
            c.steps_per_epoch * c.actors, log_interval=10**9, reset_num_timesteps=False
        )
        logged = self.model.logger.name_to_value
        metrics = {
            ours: torch.tensor(float(logged[theirs]))
            for theirs, ours in METRICS.items()
            if theirs in logged
        }
        for name, value in metrics.items():
            if not bool(value.isfinite()):
                raise NonFiniteError(f"{name} is not finite by update {self.updates}")
        finished, self.vec_env.finished = self.vec_env.finished, []
        seconds = time.monotonic() - started
        return EpochResult(finished, metrics, seconds, seconds)

    def save_checkpoint(self) -> None:
        """Do nothing: see the module."""

    def state_dict(self) -> TrainerState:
        """See `Trainer.state_dict`; the library's own archive would hold pickles."""
        state = {name: x.clone() for name, x in self.model.policy.state_dict().items()}
        acting = {name: x for name, x in state.items() if name.startswith("actor.")}
        rest = {name: x for name, x in state.items() if name not in acting}
        return TrainerState(acting, rest | {"log_ent_coef": self._log_weight()}, {})

    def load_state_dict(self, checkpoint: ckpt.Checkpoint, folder: Path) -> Replayed:
        """Never called: see `save_checkpoint`."""
        raise AssertionError("a SAC run writes no checkpoint while it trains")


def _make_model(config: SacConfig, envs: VecEnv) -> SAC:
    s = config.sac
    return SAC(
        "MlpPolicy",
        envs,
        learning_rate=s.learning_rate,
        batch_size=s.batch_size,
        buffer_size=s.capacity,
        learning_starts=s.random_steps,
        train_freq=s.train_frequency,
        gradient_steps=s.gradient_steps,
        gamma=s.discount,
        tau=s.target_rate,
        policy_kwargs={"net_arch": list(s.hidden_sizes)},
        seed=integer(config.seed, Stream.INIT),
        device=config.device,
    )


if __name__ == "__main__":
    command.main(SacConfig, SacTrainer)
