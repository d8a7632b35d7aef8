"""What a policy must offer to act, and how it acts in a vector of environments."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.nets.transfer import to_device


class Policy(Protocol):
    """Anything that acts in N rollouts at once: the AMAGO-2 agent, or a baseline's."""

    @property
    def device(self) -> torch.device:
        """The device it computes on."""
        ...

    def initial_memory(self, rows: int) -> Any:
        """Empty memory of `rows` rollouts; its `reset(row)` clears that of one."""
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
        """Switch to evaluation mode, as `torch.nn.Module.eval` does."""
        ...


def act(
    agent: Policy, envs: VectorEnv, reward: Array, action: Array, memory: Any, rng: torch.Generator
) -> Array:
    """Let the policy act in every environment.

    `reward` (N,) and `action`, in stored form, are the previous ones. Returns actions in stored
    form, (N,) or (N, A).
    """
    seen = policy_inputs(agent.device, envs, reward, action)
    return envs.actions.store(agent.act(*seen, memory, rng).cpu().numpy())


def policy_inputs(
    device: torch.device, envs: VectorEnv, reward: Array, action: Array
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Policy inputs: observation[k] (N, ...), previous reward (N,), previous action (N, A).

    `reward` (N,) and `action`, in stored form, are the previous ones.
    """
    observation = {k: to_device(torch.from_numpy(v), device) for k, v in envs.observation.items()}
    represented = to_device(torch.from_numpy(envs.actions.represent(action)), device)
    previous = to_device(torch.from_numpy(reward.astype(np.float32)), device)
    return observation, previous, represented
