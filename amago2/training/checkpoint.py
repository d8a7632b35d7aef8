"""Checkpoints: safetensors and JSON, whole or absent, with a SHA-256 of every file.

A checkpoint folder holds `policy.safetensors` (what acting needs), `trainer.safetensors` (target
networks, optimiser, the actors' memory), `state.json`, `config.yaml` and, while a run is
unfinished, the open replay shard. `manifest.json` is written last; a folder without it does not
count as a checkpoint.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from amago2 import run_record
from amago2.agent.agent import Agent, make_agent
from amago2.config.named_code import modules_of_networks, refuse_foreign
from amago2.config.schema import AmagoConfig, RunConfig, load_as
from amago2.env import present_folder
from amago2.env.stored_spaces import read_spaces
from amago2.errors import ConfigError, RunError
from amago2.files import check_sums, sha256, sync, write_atomically
from amago2.training.state import (
    CheckpointError as CheckpointError,
)
from amago2.training.state import (
    State,
    check_state,
    check_tensors,
    read_digests,
    read_object,
    read_tensors,
)

MANIFEST = "manifest.json"
SCHEMA = 3
"""Increased when files, keys or names of tensors change; other schemas are refused."""
REQUIRED = {"policy.safetensors", "trainer.safetensors", "state.json", "config.yaml"}
TARGETS = ("target_actor.", "target_critic.")


@dataclass
class Checkpoint:
    """All that a run needs to continue to the same bits."""

    config: RunConfig
    spaces: dict[str, Any]
    policy: dict[str, Tensor]
    trainer: dict[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)


def split_state(agent: Agent) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split an agent's tensors into those that acting needs and those of the target networks."""
    state = agent.state_dict()
    targets = {key: value for key, value in state.items() if key.startswith(TARGETS)}
    return {key: value for key, value in state.items() if key not in targets}, targets


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write into `folder`, the manifest last; it covers whatever else is in the folder too.

    Then all of it has reached the disk, but for the folder's own name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in (("policy", checkpoint.policy), ("trainer", checkpoint.trainer)):
        copied = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_atomically(folder / f"{name}.safetensors", save(copied))
    write_atomically(folder / "config.yaml", checkpoint.config.to_yaml())
    state = {"schema": SCHEMA, "spaces": checkpoint.spaces, **checkpoint.state}
    write_atomically(folder / "state.json", json.dumps(state, indent=1, sort_keys=True) + "\n")
    names = sorted(p.name for p in folder.iterdir() if p.name != MANIFEST)
    sums = {name: sha256(folder / name) for name in names}
    write_atomically(folder / MANIFEST, json.dumps(sums, indent=1) + "\n")


def move_into_place(path: Path, final: Path) -> None:
    """Rename a written file or folder to its final path, replacing what is there."""
    if final.is_dir():
        shutil.rmtree(final)
    os.replace(path, final)
    sync(final.parent)


def verify(folder: Path) -> None:
    """Check every file against the manifest, and it against the record of the run around it.

    Raises `CheckpointError`.
    """
    expected = _manifest(folder)
    try:
        check_sums(folder, expected)
    except (RunError, ConfigError) as error:
        raise CheckpointError(str(error)) from None
    for path in sorted(folder.iterdir()):
        if path.name not in {*expected, MANIFEST} and not path.name.startswith("."):
            raise CheckpointError(
                f"{folder}: {path.name} is not part of the checkpoint ({MANIFEST} does not list it)"
            )


def _manifest(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint, by name."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no checkpoint here")
    if not os.path.lexists(path):
        raise CheckpointError(f"{folder}: {MANIFEST} is missing, so the checkpoint is not whole")
    if (known := _recorded_digest(folder)) and sha256(path) != known:
        raise CheckpointError(
            f"{folder}: {MANIFEST} is damaged (its SHA-256 is not the recorded one)"
        )
    content = read_digests(path)
    if not REQUIRED <= content.keys():
        missing = sorted(REQUIRED - content.keys())[0]
        raise CheckpointError(f"{folder}: {MANIFEST} is damaged (it does not list {missing})")
    return content


def _recorded_digest(folder: Path) -> str | None:
    """SHA-256 of the manifest itself by the record of the run around it, if there is one."""
    run = folder.parent
    if folder.name != "checkpoint" or not (run / run_record.NAME).exists():
        return None
    return str(run_record.read(run)["checkpoint_sha256"].get(MANIFEST))


def read(folder: Path, trainer: bool = True, config: type[RunConfig] = AmagoConfig) -> Checkpoint:
    """Load a verified checkpoint; without `trainer`, only the tensors that acting needs.

    `config` is the class of its configuration. Raises `CheckpointError`.
    """
    verify(folder)
    state = _read_state(folder)
    try:
        configured = load_as(config, folder / "config.yaml")
    except (ConfigError, OSError) as error:
        raise CheckpointError(f"{folder}: cannot be read: {error}") from None
    if state["epoch"] > configured.collector.epochs:
        raise CheckpointError(
            f"{folder / 'state.json'}: epoch: is {state['epoch']}, and its configuration has "
            f"{configured.collector.epochs}"
        )
    policy = read_tensors(folder / "policy.safetensors")
    rest = read_tensors(folder / "trainer.safetensors") if trainer else {}
    return Checkpoint(configured, state.pop("spaces"), policy, rest, state)


def _read_state(folder: Path) -> dict[str, Any]:
    """What `state.json` says, checked, but for its schema."""
    path = folder / "state.json"
    state = read_object(path)
    if (schema := state.pop("schema", None)) != SCHEMA:
        raise CheckpointError(
            f"{folder}: has checkpoint schema {schema}, but this version reads schema {SCHEMA} "
            "only; use the version that wrote it (the run's record.json names the commit)"
        )
    check_state(path, state, State)
    try:
        read_spaces(state["spaces"])
    except ValueError as error:
        raise CheckpointError(f"{path}: spaces: {error}") from None
    return state


def read_described_spaces(folder: Path) -> dict[str, Any]:
    """The description of the spaces for which a checkpoint was made. Raises `CheckpointError`."""
    verify(folder)
    spaces: dict[str, Any] = _read_state(folder)["spaces"]
    return spaces


def checkpoint_folder(run: Path) -> Path:
    """The checkpoint's folder in a run's folder; a checkpoint's own folder is returned as it is."""
    return run if (run / MANIFEST).exists() else run / "checkpoint"


def load_policy(folder: Path | str, device: str = "cpu", allowed: Sequence[str] = ()) -> Agent:
    """The agent of a checkpoint's or a run's folder, ready to act.

    `allowed` are modules whose encoders it may have. Raises `CheckpointError` if it is missing or
    damaged, and `ConfigError` if it has encoders of other modules.
    """
    folder = checkpoint_folder(Path(folder))
    checkpoint = read(folder, trainer=False)
    assert isinstance(checkpoint.config, AmagoConfig)
    config = checkpoint.config.model_copy(update={"device": device})
    modules = modules_of_networks(config)
    refuse_foreign(str(folder), "its networks are of one's own", modules, allowed)
    for module in modules:
        present_folder.allow(module)
    try:
        agent = make_agent(config, *read_spaces(checkpoint.spaces))
    except ValueError as error:
        raise CheckpointError(f"{folder}: no agent can be made of it: {error}") from None
    path = folder / "policy.safetensors"
    wanted = split_state(agent)[0]
    check_tensors(path, checkpoint.policy, wanted)
    if surplus := sorted(checkpoint.policy.keys() - wanted.keys()):
        raise CheckpointError(f"{path}: {surplus[0]} does not fit its configuration")
    agent.load_state_dict(checkpoint.policy, strict=False)
    return agent.eval()
