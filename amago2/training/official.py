"""Weights of the official AMAGO code, for networks that are equal in both.

Read are files that `torch.save` wrote of its agent's `state_dict()`, and safetensors of the same
names, as of the paper's posting and after (UT-Austin-RPL/amago, d7f2762 and later): a feed-forward
timestep encoder, the Transformer with sigma-reparametrisation and fixed positions, and either pair
of heads. Names and layouts are facts about those files; no code is shared.

| there | here |
|---|---|
| statistics `mu`, `nu`, `w`, `b`, each with an axis of 1 | `mean`, `square`, `weight`, `bias` |
| rows of `qkv_projection`: (3, d, heads) | (3, heads, d) |
| `u`, `v`, `gamma` of a sigma-reparametrised layer | `left`, `right`, `gain` |
| one-hot actions are clamped to .999 before the critic | its weights for them times .999 |
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from amago2.agent.agent import Agent
from amago2.errors import ConfigError
from amago2.nets.critic_ensemble import MAX_ACTION
from amago2.nets.critics import TwoHotCritic
from amago2.nets.timestep_encoders import VectorEncoder
from amago2.nets.transformer import Transformer

IGNORED = ("target_", "maximized_critics.")
"""Beginnings of names of copies."""
WRAPPERS = ("module.", "_orig_mod.")
"""Parts of names that come from how a model was wrapped while it was trained."""
NORMS = ("norm1", "norm2", "norm3", "norm4")
MOMENTS = {"mu": "mean", "nu": "square", "_t": "count"}


def read_official(path: Path, agent: Agent) -> dict[str, Tensor]:
    """Tensors of a file of the official code, by the names that they have in `agent`.

    Raises `ConfigError` if it is no such file, or has other networks than `agent`.
    """
    tensors = _read(path)
    parts = (
        (agent.timestep_encoder, VectorEncoder, "timestep_encoder.kind feed_forward"),
        (agent.trajectory_encoder, Transformer, "trajectory_encoder.kind transformer"),
    )
    for part, kind, needed in parts:
        if not isinstance(part, kind):
            raise ConfigError(f"{path}: weights of the official code can be read for {needed} only")
    return _Reading(path, tensors, agent).converted()


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Nothing in the file is run."""
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle may fail in any way
        raise ConfigError(
            f"{path}: is no file of weights: torch.save or safetensors wrote none like it, it is "
            "damaged, or it holds more than tensors"
        ) from None
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in content.items()
    ):
        raise ConfigError(f"{path}: is no file of weights: it must hold tensors by name")
    return {_unwrapped(name): x for name, x in content.items()}


def _unwrapped(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


class _Reading:
    """One file being read for one agent; every tensor must be used, and in its shape."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor], agent: Agent) -> None:
        self.path, self.agent = path, agent
        self.left = {k: x for k, x in tensors.items() if not k.startswith(IGNORED)}
        self.wanted = {k: x for k, x in agent.state_dict().items() if not k.startswith("target_")}

    def converted(self) -> dict[str, Tensor]:
        """All tensors of the agent but those of target networks."""
        found = {}
        for theirs, ours in self._pairs():
            found[ours] = self._take(theirs, ours)
        if self.left:
            raise ConfigError(
                f"{self.path}: has {sorted(self.left)[0]}, for which the configured networks have "
                "no place"
            )
        return found

    def _take(self, theirs: str, ours: str) -> Tensor:
        if theirs not in self.left:
            raise ConfigError(
                f"{self.path}: has no {theirs}, which would be {ours} here; is it a file of the "
                "official code, of networks as configured?"
            )
        x, like = self.left.pop(theirs), self.wanted[ours]
        if ours.endswith(("qkv.weight", "qkv.left")):
            x = self._heads_first(x)
        if ours.endswith(".count"):
            x = x.flatten()[:1]  # the same for each discount
        # Axes of 1 stand in other places.
        if [n for n in x.shape if n > 1] != [n for n in like.shape if n > 1]:
            raise ConfigError(
                f"{self.path}: {theirs} has shape {list(x.shape)}, and {ours} has "
                f"{list(like.shape)} here; configure networks and environment as they were"
            )
        x = x.reshape(like.shape).to(like.dtype)
        if ours == "critic.net.weights.0":
            x = self._without_clamp(x)
        return x.contiguous()

    def _heads_first(self, rows: Tensor) -> Tensor:
        encoder = self.agent.trajectory_encoder
        assert isinstance(encoder, Transformer)
        heads = encoder.config.heads
        if len(rows) % (3 * heads):
            return rows  # whose shape is then refused
        return rows.unflatten(0, (3, -1, heads)).transpose(1, 2).flatten(0, 2)

    def _without_clamp(self, weight: Tensor) -> Tensor:
        """The critics' first layer (C, D + 1 + A, H), of actions that nobody clamps."""
        actions = self.agent.actions
        if actions.kind == "continuous" or not isinstance(self.agent.critic, TwoHotCritic):
            return weight
        scaled = weight.clone()
        scaled[:, -actions.size :] *= MAX_ACTION
        return scaled

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Names of each tensor there and here."""
        for there, here in MOMENTS.items():
            yield f"tstep_encoder.in_norm.{there}", f"timestep_encoder.norm.{here}"
        yield from self._layers("tstep_encoder.base", "timestep_encoder.net")
        yield from _affine("tstep_encoder.out_norm.norm", "timestep_encoder.out_norm")
        yield from _affine("traj_encoder.tformer.inp", "trajectory_encoder.input")
        blocks = sum(".norm1.weight" in name for name in self.wanted)
        for i in range(blocks):
            yield from self._block(
                f"traj_encoder.tformer.layers.{i}", f"trajectory_encoder.blocks.{i}"
            )
        yield from _affine("traj_encoder.tformer.norm.norm", "trajectory_encoder.norm")
        for there, here in {**MOMENTS, "w": "weight", "b": "bias"}.items():
            yield f"popart.{there}", f"popart.{here}"
        yield from self._layers("actor.base", "actor.net")
        yield from self._ensemble()

    def _block(self, there: str, here: str) -> Iterator[tuple[str, str]]:
        for norm in NORMS:
            yield from _affine(f"{there}.{norm}.norm", f"{here}.{norm}")
        yield f"{there}.self_attention.head_scaler", f"{here}.head_scale"
        projections = {
            "self_attention.qkv_projection": "qkv",
            "self_attention.out_projection": "out",
            "ff1": "ff1",
            "ff2": "ff2",
        }
        for theirs, ours in projections.items():
            names = {"weight": "weight", "gamma": "gain", "u": "left", "v": "right"}
            if ours != "qkv":
                names["bias"] = "bias"
            for name, own in names.items():
                yield self._sigma_name(f"{there}.{theirs}.", name), f"{here}.{ours}.{own}"

    def _sigma_name(self, layer: str, name: str) -> str:
        """Older layers call their weight W and their bias b."""
        older = {"weight": "W", "bias": "b"}.get(name, name)
        return layer + (older if layer + older in self.left else name)

    def _layers(self, there: str, here: str) -> Iterator[tuple[str, str]]:
        """Linear layers of an MLP: here every other module is an activation."""
        count = sum(name.startswith(f"{here}.") and name.endswith(".bias") for name in self.wanted)
        names = ["in_layer", *(f"layers.{i}" for i in range(count - 2)), "out_layer"]
        for i, name in enumerate(names):
            yield from _affine(f"{there}.{name}", f"{here}.{2 * i}")

    def _ensemble(self) -> Iterator[tuple[str, str]]:
        count = sum(name.startswith("critic.net.weights.") for name in self.wanted)
        names = ["inp_layer", *(f"core_layers.{i}" for i in range(count - 2)), "output_layer"]
        for i, name in enumerate(names):
            yield f"critics.net.{name}.weight", f"critic.net.weights.{i}"
            yield f"critics.net.{name}.bias", f"critic.net.biases.{i}"


def _affine(there: str, here: str) -> Iterator[tuple[str, str]]:
    for name in ("weight", "bias"):
        yield f"{there}.{name}", f"{here}.{name}"
