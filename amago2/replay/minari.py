"""Minari data sets (https://minari.farama.org) as replay."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from amago2 import files
from amago2.env.boundary import FLOAT32_MAX, Mismatch, Observations, task_label
from amago2.env.observations import EncodedBox, observation_space
from amago2.env.recorded import at, stored_actions
from amago2.env.spaces import ActionSpec, Array
from amago2.env.stored_spaces import check_data, describe_spaces
from amago2.errors import ConfigError
from amago2.replay.buffer import Replay

Boxes = Mapping[str, gym.spaces.Box]


def load(name: str, dataset_id: str) -> Any:
    """The data set of this id. `ConfigError`, which begins with `name`, if it is not here."""
    try:
        import minari
    except ImportError as error:
        raise ConfigError(
            f"{name}: needs the package {error.name}; pip install 'amago2[minari]'"
        ) from None
    try:
        return minari.load_dataset(dataset_id)
    except FileNotFoundError:
        raise ConfigError(
            f"{name} is {dataset_id!r}: no such data set on this machine; `minari list local` "
            f"shows what is, and `minari download {dataset_id}` fetches one of Minari's own"
        ) from None
    except (ValueError, KeyError, ImportError, OSError) as error:
        raise ConfigError(f"{name} is {dataset_id!r}: cannot be read: {error}") from None


def digest(dataset: Any) -> str:
    """SHA-256 of the names and digests of all its files."""
    folder = Path(dataset.storage.data_path)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {str(path.relative_to(folder)): files.sha256(path) for path in paths}
    return sha256(json.dumps(sums).encode()).hexdigest()


def copy_into(
    replay: Replay, name: str, dataset: Any, observations: Boxes, actions: ActionSpec
) -> None:
    """Add all episodes of a data set to replay, whole. Its task is what an episode's infos say.

    Raises `ConfigError`, which begins with `name`, unless the spaces are these, and all that was
    recorded is of them.
    """
    try:
        boxes, taken = observation_space(dataset.observation_space), dataset.action_space
        made_for = describe_spaces(_alike(boxes, observations), ActionSpec.of(taken))
    except ConfigError as error:
        raise ConfigError(f"{name} is {dataset.id!r}: {error}") from None
    check_data(f"{name} is {dataset.id!r}", made_for, observations, actions)
    for episode in dataset.iterate_episodes():
        try:
            tokens = _tokens(episode, observations, actions, replay.record)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            where = f"{name} is {dataset.id!r}: episode {episode.id}"
            raise ConfigError(f"{where}: {error}") from None
        replay.add(tokens, _task(episode.infos) or str(dataset.id))


def _alike(boxes: Boxes, others: Boxes) -> dict[str, gym.spaces.Box]:
    """The boxes, but the other one for each that encodes an equal space.

    Equal spaces of texts may list their characters in another order.
    """

    def origin(box: gym.spaces.Box | None) -> Any:
        return box.origin if isinstance(box, EncodedBox) else box

    pairs = ((key, box, others.get(key)) for key, box in boxes.items())
    return {k: other if other and origin(box) == origin(other) else box for k, box, other in pairs}


def _tokens(episode: Any, observations: Boxes, actions: ActionSpec, record: np.dtype[Any]) -> Array:
    """Records (T + 1,) of an episode of T steps. Raises `ValueError` if there is none."""
    steps = len(episode.rewards)
    if steps == 0:
        raise ValueError("it has no step")
    seen = Observations(gym.spaces.Dict({**observations}), rows=steps + 1, any_scalar=True)
    try:
        for step in range(steps + 1):
            seen.store(step, at(episode.observations, step))
        seen.check(bounds=False)
    except IndexError:
        raise ValueError(f"it has {steps} steps, and not one observation more") from None
    except Mismatch as error:
        raise ValueError(str(error)) from None
    try:
        taken = stored_actions(actions, episode.actions)
    except ValueError as error:
        raise ValueError(f"its actions {error}") from None
    rewards = np.asarray(episode.rewards, np.float64).reshape(-1)
    if not (np.abs(rewards) <= FLOAT32_MAX).all():
        raise ValueError("a reward is not finite")
    tokens = np.zeros(steps + 1, record)
    for key, values in seen.arrays.items():
        tokens[f"observation.{key}"] = values
    tokens["action"][0] = actions.blank()
    tokens["action"][1:], tokens["reward"][1:] = taken, rewards
    tokens["terminated"][1:] = np.asarray(episode.terminations, bool).reshape(-1)
    tokens["time"] = np.arange(steps + 1)
    return tokens


def _task(infos: Any) -> str | None:
    """The task that the first of an episode's infos names, if any does."""
    try:
        task = infos["task"][0]
    except (KeyError, IndexError, TypeError):
        return None
    return task_label(task.decode() if isinstance(task, bytes) else task)
