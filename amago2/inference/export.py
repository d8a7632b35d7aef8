"""A policy as a program that needs PyTorch alone: `torch.export` (.pt2) or TorchScript (.pt).

It reads the last timesteps of a rollout, of which the window may be as long as the context, and
must be so for trajectory encoders that loop over it (a GRU, one's own):
observation[k] (B, L, ...), the previous reward (B, L), the previous action (B, L, A) as the agent
represents it (`amago2.env.spaces`), and the time (B, L) since the rollout's start. It gives the
likeliest action (B, L, A) and the parameters (B, L, P) of its distribution after each of them:
logits of discrete actions and buttons; of a Box, means before the tanh and raw log deviations.
"""

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amago2.agent.agent import Agent
from amago2.env.observations import MASK_KEY
from amago2.env.stored_spaces import describe_spaces
from amago2.errors import ConfigError, RunError
from amago2.files import atomic, refuse_other_file
from amago2.nets.distributions import make_distribution
from amago2.nets.own_trajectory_encoder import OwnTrajectoryEncoder
from amago2.nets.recurrent import Gru
from amago2.nets.timestep_encoders import GridLanguageEncoder, ImageEncoder
from amago2.training.checkpoint import load_policy

SEE_PICTURES = ImageEncoder, GridLanguageEncoder
FORMATS = {".pt2": "torch.export", ".pt": "TorchScript"}
INFO = "amago2.json"
"""Extra file in what is written: the spaces, and the longest window."""
TOLERANCE = 1e-4
Inputs = tuple[dict[str, Tensor], Tensor, Tensor, Tensor]


class PolicyProgram(nn.Module):
    """An agent's policy of the last discount as a function of a window of timesteps."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.timestep_encoder = agent.timestep_encoder
        self.trajectory_encoder = agent.trajectory_encoder
        self.actor = agent.actor
        self.actions, self.masked = agent.actions, agent.masked

    def forward(
        self, observation: Mapping[str, Tensor], reward: Tensor, action: Tensor, time: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See this module."""
        encoded = self._encoded(observation, reward, action)
        outputs = self.actor.net(self.trajectory_encoder(encoded, time, None))
        outputs = outputs.unflatten(-1, (self.actor.discounts, -1))[..., -1, :]
        mask = observation[MASK_KEY] if self.masked else None
        limits = self.actor.probability_limits
        return make_distribution(self.actions, outputs, limits, mask).mode(), outputs

    def _encoded(self, observation: Mapping[str, Tensor], reward: Tensor, action: Tensor) -> Tensor:
        if not isinstance(self.timestep_encoder, SEE_PICTURES):
            return self.timestep_encoder(observation, reward, action)
        flat = {key: value.flatten(0, 1) for key, value in observation.items()}  # CNNs want frames
        encoded = self.timestep_encoder(flat, reward.flatten(0, 1), action.flatten(0, 1))
        return encoded.view(*reward.shape, -1)


def export(run: Path | str, out: Path | str, allow_env: Sequence[str] = ()) -> dict[str, str]:
    """Write the policy of a run's or checkpoint's folder to `out`, a .pt2 or .pt file.

    The program is read back and compared on other inputs: `RunError` if it differs. Returns facts
    about it. Raises `ConfigError` for another kind of file. `allow_env`: see `amago2.load`.
    """
    run, out = Path(run), Path(out)
    if out.suffix not in FORMATS:
        raise ConfigError(f"{out}: must end in .pt2 (torch.export) or .pt (TorchScript)")
    refuse_other_file(out, "exported policy", lambda start: start.startswith(b"PK"))
    agent = load_policy(run, allowed=allow_env)
    if out.suffix == ".pt2" and isinstance(agent.timestep_encoder, SEE_PICTURES):
        # torch.export takes a window of one timestep for a case of its own there.
        raise ConfigError(
            f"{out}: an agent that sees pictures is exported to .pt (TorchScript) only"
        )
    length = agent.context_length
    policy = PolicyProgram(copy.deepcopy(agent))  # a copy has no weights packed for this processor
    policy.training = False
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    about = {**describe_spaces(agent.observations, agent.actions), "context_length": length}
    out.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), atomic(out) as partial:
        warnings.simplefilter("ignore")  # of PyTorch, about its own future
        named = partial.with_suffix(out.suffix)
        try:
            _write(policy, agent, length, named, json.dumps(about))
            worst = _compare(policy, agent, length, named)
            named.replace(partial)
        finally:
            named.unlink(missing_ok=True)
    inputs = {key: tuple(box.shape) for key, box in agent.observations.items()}
    return {
        "file": str(out),
        "format": FORMATS[out.suffix],
        "observations": ", ".join(f"{key} (B, L, {_joined(s)})" for key, s in inputs.items()),
        "actions": f"(B, L, {agent.actions.size})",
        "window": f"{'' if _has_fixed_window(agent) else 'up to '}{length} timesteps",
        "largest difference": f"{worst:.1e}",
    }


def _joined(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _has_fixed_window(agent: Agent) -> bool:
    """Whether the program's loop over timesteps is of one length."""
    return isinstance(agent.trajectory_encoder, Gru | OwnTrajectoryEncoder)


def _example(agent: Agent, batch: int, length: int, seed: int) -> Inputs:
    """Random inputs of the right shapes and types."""
    rng = torch.Generator().manual_seed(seed)
    observation = {}
    for key, box in agent.observations.items():
        drawn = torch.rand((batch, length, *box.shape), generator=rng)
        like = torch.from_numpy(box.low[None]).dtype
        limit = 255 if like == torch.uint8 and len(box.shape) == 3 else 1
        scaled = (drawn * (limit + 1)).floor() if not like.is_floating_point else drawn
        observation[key] = scaled.clamp(max=limit).to(like)
    reward = torch.rand((batch, length), generator=rng)
    action = torch.rand((batch, length, agent.actions.size), generator=rng)
    time = torch.arange(length).expand(batch, length).contiguous() + seed
    return observation, reward, action, time


def _write(policy: PolicyProgram, agent: Agent, length: int, path: Path, about: str) -> None:
    fixed = _has_fixed_window(agent)
    example = _example(agent, 2, length if fixed else max(2, length - 1), 0)
    if path.suffix == ".pt":
        traced = torch.jit.trace(policy, example, strict=False, check_trace=False)
        torch.jit.save(traced, path, _extra_files={INFO: about})
        return
    batch = torch.export.Dim("batch", min=1)
    window = torch.export.Dim("window", min=1, max=max(2, length))
    axes = {0: batch} if fixed else {0: batch, 1: window}
    shapes = (dict.fromkeys(example[0], axes), axes, axes, axes)
    program = torch.export.export(policy, example, dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={INFO: about})


@torch.inference_mode()
def _compare(policy: PolicyProgram, agent: Agent, length: int, path: Path) -> float:
    """The largest difference of what the file and the agent give for other inputs."""
    if path.suffix == ".pt":
        read: Any = torch.jit.load(path)
    else:
        read = torch.export.load(path).module()
    worst = 0.0
    windows = [length] * 3 if _has_fixed_window(agent) else [1, length, max(1, length // 2)]
    for seed, (batch, window) in enumerate(zip((1, 3, 2), windows, strict=True)):
        inputs = _example(agent, batch, window, 1 + seed)
        wanted, found = policy(*inputs), read(*inputs)
        worst = max(worst, float((wanted[1] - found[1]).abs().max()))
    if not worst <= TOLERANCE:
        raise RunError(f"{path.name}: the exported policy differs from the agent's by {worst:.1e}")
    return worst
