"""Using a trained policy: `player = amago2.load(folder)`, then `reset` and `act`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from amago2.agent.agent import Agent
from amago2.env import boundary
from amago2.env.boundary import Observations
from amago2.env.spaces import Array, as_dict
from amago2.seeding import Stream, torch_rng
from amago2.training.checkpoint import load_policy


class Player:
    """Acts in one rollout at a time, remembering it as the agent did while it was trained."""

    def __init__(self, agent: Agent, seed: int = 0) -> None:
        """`seed` decides the draws from the policy."""
        self.agent = agent
        self._observations = Observations(gym.spaces.Dict({**agent.observations}))
        self.rng = torch_rng(seed, Stream.EVALUATION_ACTING, device=agent.device)
        self.reset()

    def reset(self) -> None:
        """Forget the rollout; call it whenever the environment is reset."""
        self.memory = self.agent.initial_memory(1)
        self.previous = np.array(self.agent.actions.blank())[None]

    def act(self, observation: Any, reward: float = 0.0) -> Any:
        """An action for the environment, after an observation and the reward that came with it.

        The observation is what the environment returned: an array, or a dict of arrays. Raises
        `ValueError` if it does not fit the space for which the agent was made.
        """
        seen = {
            key: np.reshape(value, 1) if np.ndim(value) == 0 else value  # a number alone
            for key, value in as_dict(observation).items()
        }
        checked = self._observations.read(seen)
        action = self.choose(checked, boundary.number("the reward", reward))
        return self.agent.actions.to_env(action)[0]

    def choose(self, observation: Mapping[str, Array], reward: float) -> Array:
        """The stored form, (1,) or (1, A), of an action; `observation` is checked already."""
        device, actions = self.agent.device, self.agent.actions
        chosen = self.agent.act(
            {key: torch.as_tensor(x)[None].to(device) for key, x in observation.items()},
            torch.tensor([reward], dtype=torch.float32, device=device),
            torch.from_numpy(actions.represent(self.previous)).to(device),
            self.memory,
            self.rng,
        )
        self.previous = actions.store(chosen.cpu().numpy())
        return self.previous


def load(folder: Path | str, device: str = "cpu", seed: int = 0) -> Player:
    """The policy of a run's or checkpoint's folder. Raises `CheckpointError` if it is damaged."""
    return Player(load_policy(folder, device), seed)
