"""One rollout of a trained policy as a video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from amago2.env.spaces import Array, as_dict
from amago2.errors import ConfigError, RunError
from amago2.files import atomic
from amago2.inference.player import Player

FORMATS = (".gif", ".mp4")
FPS = 10
SIDE = 256
"""Smaller frames are enlarged to at least this many pixels, by whole factors."""


def film(
    player: Player, env: gym.Env[Any, Any], path: Path, task: str | None, seed: int, steps: int
) -> tuple[float, int]:
    """Play one rollout, of at most `steps` steps, into a GIF or MP4; returns its return and length.

    Raises `ConfigError` for an unknown ending or task, `RunError` where nothing can be shown.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path}: a video ends in {' or '.join(FORMATS)}")
    tasks = getattr(env, "tasks", ())
    if task is not None and task not in tasks:
        known = ", ".join(tasks) or "none that have a name"
        raise ConfigError(f"unknown task {task}; its environment has {known}")
    frames: list[Array] = []
    value = 0.0
    for frame, reward in _rollout(player, env, {"task": task} if task else None, seed, steps):
        frames.append(frame)
        value += reward
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        _write(frames, partial, path.suffix.lower())
    return value, len(frames) - 1


def _rollout(
    player: Player, env: gym.Env[Any, Any], options: dict[str, Any] | None, seed: int, steps: int
) -> Iterator[tuple[Array, float]]:
    """Frames, each with the reward that came with it."""
    player.reset()
    observation, _ = env.reset(seed=seed, options=options)
    yield _frame(env, observation), 0.0
    reward = 0.0
    for _ in range(steps):
        action = player.act(observation, reward)
        observation, given, terminated, truncated, _ = env.step(action)
        reward = float(given)
        yield _frame(env, observation), reward
        if terminated or truncated:
            return


def _frame(env: gym.Env[Any, Any], observation: Any) -> Array:
    """(height, width, 3) uint8: what the environment renders, else the image that it shows."""
    if env.render_mode == "rgb_array":
        return _enlarged(np.asarray(env.render()))
    for value in as_dict(observation).values():
        if value.dtype == np.uint8 and value.ndim == 3 and min(value.shape[:2]) >= 32:
            channels = value if value.shape[2] == 3 else np.repeat(value[..., -1:], 3, axis=2)
            return _enlarged(channels)
    raise RunError(
        f"{type(env.unwrapped).__name__} shows no images: it neither renders (its render_mode is "
        f"{env.render_mode!r}, not 'rgb_array') nor observes any, so there is no video of it"
    )


def _enlarged(frame: Array) -> Array:
    factor = -(-SIDE // min(frame.shape[:2]))
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _write(frames: list[Array], path: Path, ending: str) -> None:
    if ending == ".gif":
        from PIL import Image

        first, *rest = (Image.fromarray(frame) for frame in frames)
        first.save(path, "GIF", save_all=True, append_images=rest, duration=1000 // FPS, loop=0)
        return
    try:
        import cv2
    except ImportError:
        raise RunError(
            "MP4 needs the extra `amago2[video]`, which is not installed; a GIF does not"
        ) from None
    named = path.with_suffix(".mp4")  # OpenCV goes by it
    encoder = cv2.VideoWriter(
        str(named), cv2.VideoWriter.fourcc(*"mp4v"), FPS, frames[0].shape[1::-1]
    )
    for frame in frames:
        encoder.write(np.ascontiguousarray(frame[..., ::-1]))
    encoder.release()
    named.replace(path)
