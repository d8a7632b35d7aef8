"""The collector: N actors explore, and their rollouts are stored in replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.env.observations import MASK_KEY
from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import RunError
from amago2.replay.buffer import Replay
from amago2.replay.local_copies import LocalCopies
from amago2.replay.shards import record_type
from amago2.rollout.acting import act
from amago2.rollout.exploration import checked, epsilon, explore, make_exploration
from amago2.rollout.replaying import (
    ROW,
    LastFinished,
    Replayed,
    fingerprint,
    read_actions,
    step_again,
)
from amago2.seeding import Stream, integer, numpy_rng, torch_rng


class Store(Protocol):
    """Where trajectories are stored: replay, or a list of them in another process."""

    def add(self, tokens: Array, task: str) -> None:
        """Store a trajectory of T + 1 records."""
        ...


@dataclass(frozen=True)
class FinishedRollout:
    """A finished training rollout."""

    task: str
    value: float  # sum of rewards


class Collector:
    """Steps the actors and stores their rollouts in replay, whole or in chunks.

    The policy's memory is not recomputed when an epoch ends: it then holds keys and values of older
    weights. The state of an unfinished rollout is its number, which gives its seed, and its
    actions; resuming a run steps it again.
    """

    def __init__(self, config: AmagoConfig, envs: VectorEnv, agent: Agent, replay: Store) -> None:
        self.config, self.envs, self.agent, self.replay = config, envs, agent, replay
        self.device = agent.device
        self.explore = make_exploration(config.collector.exploration)
        n = len(envs)
        self.memory = agent.initial_memory(n)
        self.rows = np.arange(n)
        self.tokens = np.zeros((n, 64), record_type(envs.observations, envs.actions))
        self.rollout = np.zeros(n, np.int64)  # number of each actor's current rollout
        self.time = np.zeros(n, np.int64)  # its timesteps so far
        self.returns = np.zeros(n)  # sum of its rewards so far
        self.scale = np.ones(n)  # of its epsilon
        self.chunk_start = np.zeros(n, np.int64)  # timestep at which the current chunk starts
        self.chunk_limit = np.full(n, np.iinfo(np.int64).max)  # and its largest length
        self.history: list[list[Array]] = [[] for _ in range(n)]  # its actions
        self.last_finished = LastFinished()

    def reset(self) -> None:
        """Start every actor's first rollout."""
        self._reset_rollouts(range(len(self.envs)))

    def collect(self, epoch: int) -> list[FinishedRollout]:
        """Collect for one epoch. Returns the finished rollouts, in order."""
        c, seed = self.config.collector, self.config.seed
        acting = torch_rng(seed, Stream.ACTING, epoch, device=self.device)
        exploring = numpy_rng(seed, Stream.EXPLORATION, epoch)
        finished: list[FinishedRollout] = []
        self.agent.eval()
        for step in range(c.steps_per_epoch):
            taken = epoch * c.steps_per_epoch + step
            eps = epsilon(c.exploration, taken, self.time, self.scale)
            chosen = self._policy_actions(acting)
            mask = self.envs.observation[MASK_KEY] if self.agent.masked else None
            spec = self.envs.actions
            if self.explore is None:
                actions = explore(spec, chosen, eps, exploring, mask)
            else:
                returned = self.explore(chosen.copy(), taken, self.time.copy(), exploring)
                actions = checked(spec, returned, chosen, str(c.exploration.entry_point))
            finished += self._advance(actions)
        return finished

    def _policy_actions(self, rng: torch.Generator) -> Array:
        at = self.rows, self.time - self.chunk_start
        previous = self.tokens["reward"][at], self.tokens["action"][at]
        return act(self.agent, self.envs, *previous, self.memory, rng)

    def _advance(self, actions: Array) -> list[FinishedRollout]:
        reward, terminated, truncated = self.envs.step(actions)
        self._stage(self.rows, actions, reward, terminated)
        for history, action in zip(self.history, actions, strict=True):
            history.append(action)
        over = terminated | truncated
        complete = over | (self.time - self.chunk_start >= self.chunk_limit)
        if not complete.any():
            return []
        for row in np.flatnonzero(complete).tolist():
            self._store_chunk(row)
            if not over[row]:
                self._start_chunk(row)
        ended = np.flatnonzero(over).tolist()
        finished = [FinishedRollout(self.envs.task(row), float(self.returns[row])) for row in ended]
        if over[ROW]:
            seed, value = self._rollout_seed(ROW), float(self.returns[ROW])
            self.last_finished.remember(self.envs, seed, self.history[ROW], value)
        if ended:
            self.rollout[ended] += 1
            self._reset_rollouts(ended)
        return finished

    def _reset_rollouts(self, rows: Sequence[int]) -> None:
        """Start a new rollout in some rows, resetting their environments together."""
        seed, seeds = self.config.seed, []
        for row in rows:
            rollout = int(self.rollout[row])
            self.memory.reset(row)
            self.history[row] = []
            self.time[row] = self.chunk_start[row] = 0
            self.returns[row] = 0.0
            if self.config.collector.exploration.randomize:
                self.scale[row] = numpy_rng(seed, Stream.EPSILON, row, rollout).random()
            self._draw_limit(row)
            self.tokens[row, 0] = np.zeros((), self.tokens.dtype)
            self.tokens["action"][row, 0] = self.envs.actions.blank()
            seeds.append(self._rollout_seed(row))
        self.envs.reset(rows, seeds)
        started = np.array(rows)
        self._stage_observation(started, np.zeros_like(started))

    def _rollout_seed(self, row: int) -> int:
        return integer(self.config.seed, Stream.ROLLOUT, row, int(self.rollout[row]))

    def _stage(self, rows: Array, actions: Array, reward: Array, terminated: Array) -> None:
        """Write the tokens after a step of `rows` to the current chunks."""
        self.time[rows] += 1
        self.returns[rows] += reward
        at = self.time[rows] - self.chunk_start[rows]
        if at.max() >= self.tokens.shape[1]:
            grown = np.zeros((len(self.envs), 2 * self.tokens.shape[1]), self.tokens.dtype)
            grown[:, : self.tokens.shape[1]] = self.tokens
            self.tokens = grown
        self.tokens["action"][rows, at] = actions
        self.tokens["reward"][rows, at] = reward
        self.tokens["terminated"][rows, at] = terminated
        self._stage_observation(rows, at)

    def _stage_observation(self, rows: Array, at: Array) -> None:
        """Write what `rows` see now to the tokens `at` of their current chunks."""
        self.tokens["time"][rows, at] = self.time[rows]
        for key, value in self.envs.observation.items():
            self.tokens[f"observation.{key}"][rows, at] = value[rows]

    def _store_chunk(self, row: int) -> None:
        length = int(self.time[row] - self.chunk_start[row]) + 1
        self.replay.add(self.tokens[row, :length], self.envs.task(row))

    def _start_chunk(self, row: int) -> None:
        """Start a chunk whose first token is the last one of the chunk before it."""
        self.tokens[row, 0] = self.tokens[row, int(self.time[row] - self.chunk_start[row])]
        self.chunk_start[row] = self.time[row]
        self._draw_limit(row)

    def _draw_limit(self, row: int) -> None:
        """Draw the length of the next chunk: varied, so that chunks of rollouts do not align."""
        length = self.config.replay.chunk_length
        if length is not None:
            where = (row, int(self.rollout[row]), int(self.chunk_start[row]))
            draw = numpy_rng(self.config.seed, Stream.CHUNK, *where)
            spread = min(self.config.trajectory_encoder.context_length, length - 1)
            self.chunk_limit[row] = draw.integers(length - spread, length + spread, endpoint=True)

    # --- state dictionary -------------------------------------------------------------------------

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a resumed run needs: tensors, and JSON values."""
        tensors, values = self.last_finished.state_dict()
        tensors |= {f"memory.{k}": v for k, v in self.memory.state_dict().items()}
        for row, history in enumerate(self.history):
            if history:
                tensors[f"history.{row}"] = torch.from_numpy(np.stack(history))
        return tensors, {
            "rollout": self.rollout.tolist(),
            "chunk_start": self.chunk_start.tolist(),
            "fingerprint": [self._fingerprint(row) for row in range(len(self.envs))],
            "last_finished": values,
        }

    def load_state_dict(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> Replayed:
        """Step every unfinished rollout again, and restore the memory.

        A rollout that does not repeat is dropped, and its actor begins the next one; so are those
        of environments that cannot be stepped alone.
        """
        self.last_finished.load_state_dict(self.envs, tensors, values["last_finished"])
        if not self.envs.independent:
            self.rollout[:] = np.add(values["rollout"], 1)
            self.reset()
            return Replayed(len(self.envs), exact=False)
        exact = self.last_finished.repeats(self.envs)
        self.rollout[:] = values["rollout"]
        self.reset()
        dropped = []
        expected = zip(values["chunk_start"], values["fingerprint"], strict=True)
        for row, (chunk_start, known) in enumerate(expected):
            actions = read_actions(self.envs, tensors, f"history.{row}")
            if not self._replay(row, actions, chunk_start) or self._fingerprint(row) != known:
                dropped.append(row)
        for name, tensor in self.memory.state_dict().items():
            tensor.copy_(tensors[f"memory.{name}"])
        if dropped:
            self.rollout[dropped] += 1
            self._reset_rollouts(dropped)
        if not self.memory.fits(self.time.tolist()):
            raise RunError("memory in the checkpoint is not that of its unfinished rollouts")
        return Replayed(len(dropped), exact and not dropped)

    def _replay(self, row: int, actions: Array, chunk_start: int) -> bool:
        """Step a rollout that has just begun again; False if it ends, as it did not before."""
        for action, reward, terminated, over in step_again(self.envs, row, actions):
            if over:
                return False
            self._stage(np.array([row]), action, reward, terminated)
            self.history[row].append(action[0])
            if self.time[row] == chunk_start:
                self._start_chunk(row)
        return len(self.history[row]) == len(actions)

    def _fingerprint(self, row: int) -> str:
        """Of the present rollout: what is not in replay yet, and what goes on being used."""
        length = int(self.time[row] - self.chunk_start[row]) + 1
        return fingerprint(self.envs, row, float(self.returns[row]), self.tokens[row, :length])


class NoCollector:
    """In a collector's place where a run learns from data alone."""

    def reset(self) -> None:
        """See `Collector.reset`."""

    def collect(self, epoch: int) -> list[FinishedRollout]:
        """See `Collector.collect`."""
        return []

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Collector.state_dict`."""
        return {}, {}

    def load_state_dict(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> Replayed:
        """See `Collector.load_state_dict`."""
        return Replayed(0, exact=True)


def make_replay(
    config: AmagoConfig, envs: VectorEnv, folder: Path, copies: LocalCopies | None = None
) -> Replay:
    """Create an empty replay buffer for the records of the environments."""
    record = record_type(envs.observations, envs.actions)
    r = config.replay
    return Replay(folder, record, r.capacity, r.unit, r.shard_size, copies)
