"""Using a trained policy: `policy = amago2.load(folder)`, then `reset` and `act`."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from amago2.agent.agent import Agent
from amago2.env import boundary
from amago2.env.boundary import Observations
from amago2.env.observations import MASK_KEY
from amago2.env.spaces import ActionSpec, Array
from amago2.nets.distributions import ActionDistribution, Bernoulli, Categorical, Product
from amago2.seeding import Stream, torch_rng
from amago2.training.checkpoint import load_policy

SAMPLES = 64
"""Actions that are drawn for the value of a state where they cannot all be listed."""


class Player:
    """Acts in one rollout at a time, remembering it as the agent did while it was trained."""

    def __init__(self, agent: Agent, seed: int = 0, greedy: bool = False) -> None:
        """`seed` decides the draws from the policy; if `greedy`, the likeliest action is taken."""
        self.agent = agent
        agent.greedy = greedy
        space = gym.spaces.Dict({**agent.observations})
        self._observations = Observations(space, any_scalar=True)
        self.rng = torch_rng(seed, Stream.EVALUATION_ACTING, device=agent.device)
        self.reset()

    def reset(self) -> None:
        """Forget the rollout; call it whenever the environment is reset."""
        self.memory = self.agent.initial_memory(1)
        self.previous = np.array(self.agent.actions.blank())[None]

    def act(self, observation: Any, reward: float = 0.0) -> Any:
        """An action for the environment, after an observation and the reward that came with it.

        The observation is what the environment returned; with `env.action_mask: info` it is a dict
        of that and the mask. Raises `ValueError` if it does not fit the space for which the agent
        was made.
        """
        action = self.choose(*self._checked(observation, reward))
        return self.agent.actions.to_env(action)[0]

    def choose(self, observation: Mapping[str, Array], reward: float) -> Array:
        """The stored form, (1,) or (1, A), of an action; `observation` is checked already."""
        seen = self._inputs(observation, reward)
        chosen = self.agent.act(*seen, self.memory, self.rng)
        self.previous = self.agent.actions.store(chosen.cpu().numpy())
        return self.previous

    @torch.inference_mode()
    def values(self, observation: Any, reward: float = 0.0) -> Array:
        """Expected returns after an observation, in the environment's units, for the last discount.

        Discrete actions: of each action, (A,). Others: of the policy's own, (1,), by a sample. The
        mean over critics. Nothing is remembered: `act` comes next, or another question.
        """
        agent = self.agent
        state, policy = self._look(observation, reward)
        if agent.actions.kind == "discrete":
            actions = torch.eye(agent.actions.size, device=agent.device)
        else:
            rng = torch_rng(0, Stream.EVALUATION_ACTING, device=agent.device)
            actions = policy.sample(rng, SAMPLES)[0]
        embedded = agent.critic.embed_states(state)
        every = agent.critic.values(agent.critic.outputs(embedded, actions[None, None]))
        found = every[:, 0, -1].mean(0) / agent.config.reward_multiplier  # (K,)
        values = found if agent.actions.kind == "discrete" else found.mean(0, keepdim=True)
        return values.cpu().numpy()

    @torch.inference_mode()
    def action_probabilities(self, observation: Any, reward: float = 0.0) -> Any:
        """Probabilities of the actions after an observation, of which nothing is remembered.

        Discrete: of each action, (A,). MultiBinary: of each button to be pressed. MultiDiscrete,
        Tuple: a list of those of the parts; Dict: by key. Raises `ValueError` where there are none.
        """
        _, policy = self._look(observation, reward)
        return _probabilities(self.agent.actions, policy)

    def _checked(self, observation: Any, reward: float) -> tuple[dict[str, Array], float]:
        try:
            seen = self._observations.read(observation)
        except boundary.Mismatch:
            if MASK_KEY not in self.agent.observations or _has_mask(observation):
                raise
            rest = "**observation" if isinstance(observation, Mapping) else "'observation': ..."
            raise boundary.Mismatch(
                f"the observation lacks {MASK_KEY!r}, for the agent was made for actions that are "
                f"masked; if info has the mask, give {{{rest}, {MASK_KEY!r}: info[{MASK_KEY!r}]}}"
            ) from None
        return seen, boundary.number("the reward", reward)

    def _inputs(
        self, observation: Mapping[str, Array], reward: float
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        device = self.agent.device
        return (
            {key: torch.as_tensor(x)[None].to(device) for key, x in observation.items()},
            torch.tensor([reward], dtype=torch.float32, device=device),
            torch.from_numpy(self.agent.actions.represent(self.previous)).to(device),
        )

    def _look(self, observation: Any, reward: float) -> tuple[Tensor, ActionDistribution]:
        """State (1, D) and policy (1,) after an observation, with the memory left as it is."""
        agent = self.agent
        seen = self._inputs(*self._checked(observation, reward))
        encoded = agent.timestep_encoder(*seen)
        memory: Any = copy.deepcopy(self.memory)
        state = agent.trajectory_encoder.step(encoded, memory)
        return state, agent.actor(state, acting=True, mask=seen[0].get(MASK_KEY))


def _has_mask(observation: Any) -> bool:
    return isinstance(observation, Mapping) and MASK_KEY in observation


def _probabilities(actions: ActionSpec, policy: ActionDistribution) -> Any:
    if isinstance(policy, Categorical):
        return policy.probabilities[0].cpu().numpy()
    if isinstance(policy, Bernoulli):
        return policy.logits[0].sigmoid().cpu().numpy()
    if isinstance(policy, Product):
        each = [
            _probabilities(spec, part)
            for spec, part in zip(actions.parts, policy.parts, strict=True)
        ]
        return each if actions.keys is None else dict(zip(actions.keys, each, strict=True))
    raise ValueError("actions of a Box have densities and no probabilities")


def load(
    folder: Path | str,
    device: str = "cpu",
    seed: int = 0,
    greedy: bool = False,
    allow_env: Sequence[str] = (),
) -> Player:
    """The policy of a run's or checkpoint's folder. Raises `CheckpointError` if it is damaged.

    It needs no environment, and imports none; encoders of one's own need their modules to be in
    `allow_env`, or it raises `ConfigError`.
    """
    return Player(load_policy(folder, device, allow_env), seed, greedy)
