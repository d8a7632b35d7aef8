"""The collector: N actors explore, and what they see becomes replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.replay.buffer import Replay, record_type
from amago2.rollout.exploration import epsilon, explore
from amago2.seeding import Stream, integer, numpy_rng, torch_rng


class Policy(Protocol):
    """What acts: an agent of any make, on N rollouts at once."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def initial_memory(self, rows: int) -> Any:
        """Empty memory of `rows` rollouts; its `reset(row)` forgets one."""
        ...

    def act(
        self,
        observation: Mapping[str, Tensor],
        reward: Tensor,
        action: Tensor,
        memory: Any,
        rng: torch.Generator,
    ) -> Tensor:
        """Actions (N, A) after observation[k] (N, ...), reward (N,), action (N, A)."""
        ...

    def eval(self) -> object:
        """Stop learning for now."""
        ...


class Store(Protocol):
    """Where trajectories go: replay."""

    def add(self, tokens: Array, task: str) -> None:
        """Take a trajectory of T + 1 records."""
        ...


@dataclass(frozen=True)
class Finished:
    """A finished training rollout."""

    task: str
    value: float  # sum of rewards


class Collector:
    """Steps the actors and cuts their rollouts into trajectories.

    Its memory outlives epochs, as keys and values of older weights. An unfinished rollout is kept
    as its number (hence seed) and actions, and stepped again when a run resumes.
    """

    def __init__(self, config: AmagoConfig, envs: VectorEnv, agent: Agent, replay: Store) -> None:
        self.config, self.envs, self.agent, self.replay = config, envs, agent, replay
        self.device = agent.device
        n = len(envs)
        self.memory = agent.initial_memory(n)
        self.rows = np.arange(n)
        self.staged = np.zeros((n, 64), record_type(envs.observations, envs.actions))
        self.rollout = np.zeros(n, np.int64)  # number of each actor's present rollout
        self.time = np.zeros(n, np.int64)  # its timesteps so far
        self.value = np.zeros(n)  # its rewards so far
        self.scale = np.ones(n)  # of its epsilon
        self.piece_start = np.zeros(n, np.int64)  # time at which the staged trajectory begins
        self.piece_limit = np.full(n, np.iinfo(np.int64).max)  # and how long it may become
        self.history: list[list[Array]] = [[] for _ in range(n)]  # its actions

    def begin(self) -> None:
        """Start every actor's first rollout."""
        self._begin_rollouts(range(len(self.envs)))

    def collect(self, epoch: int) -> list[Finished]:
        """One epoch of steps. Returns the rollouts that finished, in order."""
        c, seed = self.config.collector, self.config.seed
        acting = torch_rng(seed, Stream.ACTING, epoch, device=self.device)
        exploring = numpy_rng(seed, Stream.EXPLORATION, epoch)
        finished: list[Finished] = []
        self.agent.eval()
        for step in range(c.steps_per_epoch):
            taken = epoch * c.steps_per_epoch + step
            eps = epsilon(c.exploration, taken, self.time, self.scale)
            actions = explore(self.envs.actions, self._policy_actions(acting), eps, exploring)
            finished += self._advance(actions)
        return finished

    def _policy_actions(self, rng: torch.Generator) -> Array:
        at = self.rows, self.time - self.piece_start
        previous = self.staged["reward"][at], self.staged["action"][at]
        return act(self.agent, self.envs, *previous, self.memory, rng)

    def _advance(self, actions: Array) -> list[Finished]:
        reward, terminated, truncated = self.envs.step(actions)
        if not np.isfinite(reward).all():
            row = int(np.flatnonzero(~np.isfinite(reward))[0])
            raise RunError(
                f"{self.config.env.entry_point} gave a reward of {reward[row]} (task "
                f"{self.envs.task(row)}, timestep {self.time[row] + 1}); rewards must be finite"
            )
        self._stage(self.rows, actions, reward, terminated)
        for history, action in zip(self.history, actions, strict=True):
            history.append(action)
        over = terminated | truncated
        full = self.time - self.piece_start >= self.piece_limit
        for row in np.flatnonzero(over | full).tolist():
            self._store_piece(row)
            if not over[row]:
                self._begin_piece(row)
        ended = np.flatnonzero(over).tolist()
        finished = [Finished(self.envs.task(row), float(self.value[row])) for row in ended]
        if ended:
            self.rollout[ended] += 1
            self._begin_rollouts(ended)
        return finished

    def _begin_rollouts(self, rows: Sequence[int]) -> None:
        """Reset the environments of some rows, all at once."""
        seed, seeds = self.config.seed, []
        for row in rows:
            rollout = int(self.rollout[row])
            self.memory.reset(row)
            self.history[row] = []
            self.time[row] = self.piece_start[row] = 0
            self.value[row] = 0.0
            if self.config.collector.exploration.randomize:
                self.scale[row] = numpy_rng(seed, Stream.EPSILON, row, rollout).random()
            self._draw_limit(row)
            self.staged[row, 0] = np.zeros((), self.staged.dtype)
            self.staged["action"][row, 0] = self.envs.actions.blank()
            seeds.append(integer(seed, Stream.ROLLOUT, row, rollout))
        self.envs.reset(rows, seeds)
        self._stage_observation(np.array(rows))

    def _stage(self, rows: Array, actions: Array, reward: Array, terminated: Array) -> None:
        """Store the tokens after a step of `rows`."""
        self.time[rows] += 1
        self.value[rows] += reward
        at = self.time[rows] - self.piece_start[rows]
        if at.max() >= self.staged.shape[1]:
            grown = np.zeros((len(self.envs), 2 * self.staged.shape[1]), self.staged.dtype)
            grown[:, : self.staged.shape[1]] = self.staged
            self.staged = grown
        self.staged["action"][rows, at] = actions
        self.staged["reward"][rows, at] = reward
        self.staged["terminated"][rows, at] = terminated
        self._stage_observation(rows)

    def _stage_observation(self, rows: Array) -> None:
        at = self.time[rows] - self.piece_start[rows]
        self.staged["time"][rows, at] = self.time[rows]
        for key, value in self.envs.observation.items():
            self.staged[f"observation.{key}"][rows, at] = value[rows]

    def _store_piece(self, row: int) -> None:
        length = int(self.time[row] - self.piece_start[row]) + 1
        self.replay.add(self.staged[row, :length], self.envs.task(row))

    def _begin_piece(self, row: int) -> None:
        """Go on with a new trajectory whose first token is the last one of the old."""
        self.staged[row, 0] = self.staged[row, int(self.time[row] - self.piece_start[row])]
        self.piece_start[row] = self.time[row]
        self._draw_limit(row)

    def _draw_limit(self, row: int) -> None:
        """Lengths vary, so that the cuts of different rollouts do not align."""
        piece, context = (
            self.config.replay.chunk_length,
            self.config.trajectory_encoder.context_length,
        )
        if piece is not None:
            where = (row, int(self.rollout[row]), int(self.piece_start[row]))
            draw = numpy_rng(self.config.seed, Stream.PIECE, *where)
            spread = min(context, piece - 1)
            self.piece_limit[row] = draw.integers(piece - spread, piece + spread, endpoint=True)

    # --- keeping --------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a resumed run needs: tensors, and plain values."""
        tensors = {f"memory.{k}": v for k, v in self.memory.tensors().items()}
        for row, history in enumerate(self.history):
            if history:
                tensors[f"history.{row}"] = torch.from_numpy(np.stack(history))
        return tensors, {
            "rollout": self.rollout.tolist(),
            "piece_start": self.piece_start.tolist(),
        }

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Step every unfinished rollout again, and take over the memory."""
        self.rollout[:] = values["rollout"]
        self.begin()
        for row, start in enumerate(values["piece_start"]):
            actions = tensors.get(f"history.{row}")
            for action in [] if actions is None else actions.numpy():
                reward, terminated, _ = self.envs.step(action[None], np.array([row]))
                self._stage(np.array([row]), action[None], reward, terminated)
                self.history[row].append(action)
                if self.time[row] == start:
                    self._begin_piece(row)
        for name, tensor in self.memory.tensors().items():
            tensor.copy_(tensors[f"memory.{name}"])


def act(
    agent: Policy, envs: VectorEnv, reward: Array, action: Array, memory: Any, rng: torch.Generator
) -> Array:
    """Stored-form actions (N,) or (N, A) of the policy, after reward (N,) and stored action."""
    seen = inputs(agent.device, envs, reward, action)
    return envs.actions.store(agent.act(*seen, memory, rng).cpu().numpy())


def inputs(
    device: torch.device, envs: VectorEnv, reward: Array, action: Array
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """What a policy sees: observation[k] (N, ...), previous reward (N,), represented action (N, A).

    `reward` (N,) and the stored `action` are the previous ones.
    """
    observation = {k: torch.from_numpy(v).to(device) for k, v in envs.observation.items()}
    represented = torch.from_numpy(envs.actions.represent(action)).to(device)
    previous = torch.from_numpy(reward.astype(np.float32)).to(device)
    return observation, previous, represented


def make_replay(config: AmagoConfig, envs: VectorEnv, folder: Path) -> Replay:
    """Empty replay for the environments' records."""
    record = record_type(envs.observations, envs.actions)
    r = config.replay
    return Replay(folder, record, r.capacity, r.unit, r.shard_size)
