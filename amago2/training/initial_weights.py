"""Training that starts from the weights of another run (fine-tuning), or of the official code.

Taken are all tensors that acting and the critics need, with the running statistics of inputs and
returns. The optimiser begins anew, and the target networks begin as copies.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.config.validation import differences
from amago2.env.stored_spaces import check_same_spaces
from amago2.errors import ConfigError, RunError
from amago2.files import sha256, write_atomically
from amago2.printing import say
from amago2.training import checkpoint as ckpt
from amago2.training.official import read_official
from amago2.training.state import check_tensors

NOTE = "initial_weights.json"
"""In a scratch folder: which weights the run began with."""
NETWORKS = ("agent", "timestep_encoder", "trajectory_encoder")
"""Sections that decide the sizes of networks."""
KEY = "initial_weights"


class _Weights(NamedTuple):
    tensors: Mapping[str, Tensor]
    file: Path
    """Whose digest identifies them."""
    config: AmagoConfig | None
    """They were trained with; None if that is not known."""


def load_initial_weights(agent: Agent, config: AmagoConfig, scratch: Path, base: Path) -> None:
    """Load `config.initial_weights` into the agent, say what differs, and note where it is from.

    A relative path is one from `base`. Raises `ConfigError` or `RunError` if the weights cannot be
    read, or are not of the agent's spaces and sizes.
    """
    given = Path(str(config.initial_weights))
    path = base / given
    if path.is_file():
        try:
            found = _Weights(read_official(path, agent), path, None)
        except ConfigError as error:
            raise ConfigError(f"{KEY}: {error}") from None
    else:
        found = _of_checkpoint(given, ckpt.checkpoint_folder(path), agent)
    _check_sizes(given, found, agent, config)
    agent.load_state_dict({**found.tensors}, strict=False)
    agent.target_actor.load_state_dict(agent.actor.state_dict())
    agent.target_critic.load_state_dict(agent.critic.state_dict())
    note: dict[str, Any] = {"path": str(given), "sha256": sha256(found.file)}
    if found.config:
        note["hash"] = found.config.hash
    write_atomically(scratch / NOTE, json.dumps(note) + "\n")
    say(f"starting from the weights of {given}; all that differs from how they were trained:")
    known = differences(found.config.hashed, _compared(config)) if found.config else ["not known"]
    for clause in known or ["nothing"]:
        say(f"  {clause}")


def _of_checkpoint(given: Path, folder: Path, agent: Agent) -> _Weights:
    if not folder.is_dir():
        raise ConfigError(
            f"{KEY} is {given}: no run, checkpoint or file of weights here; name the folder of a "
            "run or of a checkpoint"
        )
    checkpoint = ckpt.read(folder, trainer=False)
    assert isinstance(checkpoint.config, AmagoConfig)
    check_same_spaces(f"{KEY}: {given}", checkpoint.spaces, agent.observations, agent.actions)
    return _Weights(checkpoint.policy, folder / ckpt.MANIFEST, checkpoint.config)


def _check_sizes(given: Path, found: _Weights, agent: Agent, config: AmagoConfig) -> None:
    """Raise `ConfigError` unless the weights are those of networks like the agent's."""
    wanted = ckpt.split_state(agent)[0]
    try:
        check_tensors(given, found.tensors, wanted)
        if surplus := sorted(found.tensors.keys() - wanted.keys()):
            raise RunError(f"{given}: there is no {surplus[0]} in the networks to be trained")
    except RunError as error:
        if found.config is None:
            raise ConfigError(f"{KEY}: {error}") from None
        there, here = (
            {key: hashed.get(key) for key in NETWORKS}
            for hashed in (found.config.hashed, _compared(config))
        )
        raise ConfigError(
            f"{KEY}: {given}: its networks are others: {'; '.join(differences(there, here)[:6])}; "
            f"networks must be of the same kinds and sizes ({error})"
        ) from None


def _compared(config: AmagoConfig) -> dict[str, Any]:
    content = config.hashed
    content.pop(KEY, None)
    return content
