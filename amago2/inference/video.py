"""One rollout of a trained policy as a video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from amago2.env.boundary import Mismatch, described
from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError, RunError
from amago2.files import atomic, refuse_other_file
from amago2.inference.player import Player

FORMATS = (".gif", ".mp4")
FPS = 10
SIDE = 256
"""Smaller frames are enlarged to at least this many pixels, by whole factors."""


def film(
    player: Player, envs: VectorEnv, path: Path | None, task: str | None, seed: int, steps: int
) -> tuple[float, int]:
    """Play one rollout, of at most `steps` steps, into a GIF or MP4; returns its return and length.

    Without a path, whoever looks at the environment's own window sees it. It is played in the first
    of `envs`, which is in this process. Raises `ConfigError` for an unknown ending or task and for
    a file of another kind at `path`, `RunError` where nothing can be shown.
    """
    if path is not None:
        _check_path(path)
    if task is not None and task not in (envs.tasks or (envs.default_task,)):
        known = ", ".join(envs.tasks) or f"{envs.default_task} alone, as it declares no tasks"
        raise ConfigError(f"unknown task {task}; its environment has {known}")
    frames: list[Array] = []
    value, options = 0.0, {"task": task} if task in envs.tasks else None
    if path is None:
        rewards = [reward for _, reward in _rollout(player, envs, options, seed, steps, False)]
        return sum(rewards), len(rewards) - 1
    for shown, reward in _rollout(player, envs, options, seed, steps):
        if frames and shown.shape != frames[0].shape:
            raise RunError(
                f"{envs.origin.name}: its pictures differ in size, {frames[0].shape} and "
                f"{shown.shape}, so they are no video"
            )
        frames.append(shown)
        value += reward
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        _write(frames, partial, path.suffix.lower())
    return value, len(frames) - 1


def _check_path(path: Path) -> None:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ConfigError(f"{path}: a video ends in {' or '.join(FORMATS)}")
    refuse_other_file(path, f"{ending} video", _is_gif if ending == ".gif" else _is_mp4)


def _is_gif(start: bytes) -> bool:
    return start.startswith(b"GIF8")


def _is_mp4(start: bytes) -> bool:
    return start[4:8] == b"ftyp"


def _rollout(
    player: Player,
    envs: VectorEnv,
    options: dict[str, Any] | None,
    seed: int,
    steps: int,
    filmed: bool = True,
) -> Iterator[tuple[Array, float]]:
    """Frames, empty ones unless it is `filmed`, each with the reward that came with it."""
    empty = np.zeros(0)
    player.reset()
    envs.reset([0], [seed], [options])
    yield frame(envs) if filmed else empty, 0.0
    reward = 0.0
    for _ in range(steps):
        observation = {key: array[0] for key, array in envs.observation.items()}
        action = player.choose(observation, reward)
        rewards, terminated, truncated = envs.step(action, np.array([0]))
        reward = float(rewards[0])
        yield frame(envs) if filmed else empty, reward
        if terminated[0] or truncated[0]:
            return


def frame(envs: VectorEnv) -> Array:
    """What the first environment renders, else the picture that it shows: (height, width, 3) uint8.

    Raises `RunError` if there is neither.
    """
    if not envs.envs:
        raise RunError(f"{envs.origin.name}: environments that are stepped together show no images")
    env = envs.envs[0]
    if env.render_mode == "rgb_array":
        with envs.calling("render"):
            return _enlarged(_checked(env.render()))
    for array in envs.observation.values():
        value = array[0]
        if value.dtype == np.uint8 and value.ndim == 3 and min(value.shape[:2]) >= 32:
            channels = value if value.shape[2] == 3 else np.repeat(value[..., -1:], 3, axis=2)
            return _enlarged(channels)
    raise RunError(
        f"{type(env.unwrapped).__name__} shows no images: it neither renders (its render_mode is "
        f"{env.render_mode!r}, not 'rgb_array') nor observes any, so there is no video of it"
    )


def _checked(rendered: Any) -> Array:
    """What `render` returned, if it is a picture; floats in [0, 1] as bytes. Raises `Mismatch`."""
    given: Array = rendered if isinstance(rendered, np.ndarray) else np.empty(0)
    shares = given.dtype.kind == "f" and bool(((given >= 0) & (given <= 1)).all())
    picture = (given * 255).round().astype(np.uint8) if shares else given
    fine = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    if not fine or not picture.size:
        raise Mismatch(
            f"render returned {described(rendered)}; with render_mode 'rgb_array' it must return "
            "a picture, (height, width, 3) of uint8, or of floats from 0 to 1"
        )
    return np.array(picture)  # a copy: it may be drawn into again


def _enlarged(picture: Array) -> Array:
    factor = -(-SIDE // min(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


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
    if not encoder.isOpened():
        raise RunError(f"{named}: OpenCV cannot write it as an MP4; name a .gif")
    for shown in frames:
        encoder.write(np.ascontiguousarray(shown[..., ::-1]))
    encoder.release()
    named.replace(path)
