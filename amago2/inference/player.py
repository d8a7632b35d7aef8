"""Using a trained policy: `player = amago2.load(folder)`, then `reset` and `act`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from amago2.agent.agent import Agent
from amago2.env.spaces import as_dict
from amago2.seeding import Stream, torch_rng
from amago2.training.checkpoint import load_policy


class Player:
    """Acts in one rollout at a time, remembering it as the agent did while it was trained."""

    def __init__(self, agent: Agent, seed: int = 0) -> None:
        """`seed` decides the draws from the policy."""
        self.agent = agent
        self.rng = torch_rng(seed, Stream.EVALUATION_ACTING, device=agent.device)
        self.reset()

    def reset(self) -> None:
        """Forget the rollout; call it whenever the environment is reset."""
        self.memory = self.agent.initial_memory(1)
        self.previous = np.array(self.agent.actions.blank())[None]

    def act(self, observation: Any, reward: float = 0.0) -> Any:
        """An action for the environment, after an observation and the reward that came with it.

        The observation is what the environment returned: an array, or a dict of arrays.
        """
        device, actions = self.agent.device, self.agent.actions
        seen = {
            key: torch.as_tensor(np.asarray(value))[None]
            for key, value in as_dict(observation).items()
        }
        chosen = self.agent.act(
            {key: value.to(device) for key, value in seen.items()},
            torch.tensor([reward], dtype=torch.float32, device=device),
            torch.from_numpy(actions.represent(self.previous)).to(device),
            self.memory,
            self.rng,
        )
        self.previous = actions.store(chosen.cpu().numpy())
        return actions.to_env(self.previous)[0]


def load(folder: Path | str, device: str = "cpu", seed: int = 0) -> Player:
    """The policy of a run's or checkpoint's folder. Raises `CheckpointError` if it is damaged."""
    return Player(load_policy(folder, device), seed)
