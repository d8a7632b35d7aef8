"""SAC of stable-baselines3 on a single task, without memory: what a specialist reaches.

    python -m workflow.baselines.sac SETTINGS.yaml --out RUN

The library does the learning; environments, evaluation and what is kept are those of every run. It
sees what AMAGO-2 sees: the observation, the previous action and the previous reward, as one vector.
It draws from the process's global generators, which it seeds itself. A killed run starts again, to
the same bits: its replay is not kept.
"""

import sys
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
from amago2.seeding import Stream, integer
from amago2.training import checkpoint as ckpt
from amago2.training.learner import NotFinite
from amago2.training.trainer import Epoch, Run
from workflow.baselines import command
from workflow.baselines.config import SacConfig
from workflow.baselines.rollouts import Rollouts

LOGGED = {
    "train/actor_loss": "loss_actor",
    "train/critic_loss": "loss_critic",
    "train/ent_coef": "entropy_weight",
}
"""Of an epoch's last round, by the library's names: ours."""


def joined(observation: Mapping[str, Tensor], reward: Tensor, action: Tensor) -> Tensor:
    """One vector (N, D) of observation[k] (N, d_k) by key, reward (N,) and action (N, A)."""
    parts = [x.float() for _, x in sorted(observation.items())]
    return torch.cat([*parts, reward.unsqueeze(-1), action], -1)


class Actors(VecEnv):
    """Our environments as stable-baselines3 wants them: reset by themselves, seeded by us."""

    def __init__(self, rollouts: Rollouts) -> None:
        self.rollouts, self.envs = rollouts, rollouts.envs
        self.finished: list[FinishedRollout] = []
        self.chosen: Array = np.zeros(0)
        size = 1 + self.envs.actions.size
        size += sum(int(box.shape[0]) for box in self.envs.observations.values())
        vector = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        actions = gym.spaces.Box(-1, 1, (self.envs.actions.size,), np.float32)
        super().__init__(len(self.envs), vector, actions)

    def _observe(self) -> Array:
        here = torch.device("cpu")
        r = self.rollouts
        vectors: Array = joined(*policy_inputs(here, self.envs, r.reward, r.action)).numpy()
        return vectors

    def reset(self) -> Array:
        """Start the first rollouts."""
        self.rollouts.begin(range(self.num_envs))
        return self._observe()

    def step_async(self, actions: Array) -> None:
        """Take note of actions (N, A) in [-1, 1]."""
        self.chosen = actions.astype(np.float32)

    def step_wait(self) -> Any:
        """Observations (N, D), rewards, dones and infos; ended rollouts have been renewed."""
        reward, terminated, truncated = self.rollouts.step(self.chosen)
        last, done = self._observe(), terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(done).tolist()
        for row in ended:
            cut_short = bool(truncated[row] and not terminated[row])
            infos[row] = {"terminal_observation": last[row], "TimeLimit.truncated": cut_short}
        if ended:
            self.finished += self.rollouts.renew(ended)
            last = self._observe()
        return last, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Left to the run, whose environments they are."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Only `render_mode` is asked for: there is none."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise `AttributeError`."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Raise `AttributeError`."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """They are not."""
        return [False] * self.num_envs


class SacPolicy:
    """The policy for evaluations, sampled from as every other agent's is."""

    def __init__(self, model: SAC) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = self.model.device
        return device

    def initial_memory(self, rows: int) -> HiddenState:
        """It has none: one that only counts."""
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
        mean, log_std, _ = actor.get_action_dist_params(joined(observation, reward, action))
        noise = torch.randn(mean.shape, generator=rng, device=rng.device)
        return torch.tanh(mean + log_std.exp() * noise)

    def eval(self) -> object:
        """Stop learning for now."""
        self.model.policy.set_training_mode(False)
        return self


class SacRun(Run):
    """The library's own loop, an epoch at a time."""

    config: SacConfig

    def __init__(self, config: SacConfig, scratch: Path) -> None:
        super().__init__(config, scratch)
        kind, shapes = self.envs.actions.kind, self.envs.observations.values()
        if kind != "continuous" or any(len(box.shape) != 1 for box in shapes):
            raise ConfigError("sac is defined for Box actions and vector observations only")
        self.actors = Actors(Rollouts(self.envs, config.seed))
        self.model = _model(config, self.actors)
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.agent = SacPolicy(self.model)

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return int(self.model._n_updates)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """What is learned: actor, critics and the entropy's weight."""
        nets = (self.model.actor, self.model.critic)
        return [*(p for net in nets for p in net.parameters()), self._log_weight()]

    def _log_weight(self) -> Tensor:
        """Logarithm of the entropy's weight, (1,)."""
        learned = self.model.log_ent_coef
        assert learned is not None
        return learned

    def begin(self) -> None:
        """Left to the library."""

    def advance(self) -> Epoch:
        """Collecting and learning take turns within an epoch, so their times are not apart."""
        started, c = time.monotonic(), self.config.collector
        self.model.learn(
            c.steps_per_epoch * c.actors, log_interval=10**9, reset_num_timesteps=False
        )
        logged = self.model.logger.name_to_value
        metrics = {
            ours: torch.tensor(float(logged[theirs]))
            for theirs, ours in LOGGED.items()
            if theirs in logged
        }
        for name, value in metrics.items():
            if not bool(value.isfinite()):
                raise NotFinite(f"{name} is not finite by update {self.updates}")
        finished, self.actors.finished = self.actors.finished, []
        seconds = time.monotonic() - started
        return Epoch(finished, metrics, seconds, seconds)

    def save(self) -> None:
        """Nothing on the way: see the module."""

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        """See `Run.kept`; the library's own archive would hold pickles."""
        state = {name: x.clone() for name, x in self.model.policy.state_dict().items()}
        acting = {name: x for name, x in state.items() if name.startswith("actor.")}
        rest = {name: x for name, x in state.items() if name not in acting}
        return acting, rest | {"log_ent_coef": self._log_weight()}, {}

    def restore(self, kept: ckpt.Checkpoint, folder: Path) -> None:
        """Never asked for: see `save`."""
        raise AssertionError("a SAC run keeps no checkpoint on its way")


def _model(config: SacConfig, actors: Actors) -> SAC:
    s = config.sac
    return SAC(
        "MlpPolicy",
        actors,
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
    sys.exit(command.main(SacConfig, SacRun))
