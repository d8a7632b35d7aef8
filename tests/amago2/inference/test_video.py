"""Videos of a policy: what is shown, and what cannot be."""

from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from amago2.agent.agent import make_agent
from amago2.config.environment import EnvironmentConfig
from amago2.env.make import make_vector_env
from amago2.env.rendering import rendered
from amago2.env.spaces import ActionSpec
from amago2.env.vector_env import VectorEnv
from amago2.errors import ConfigError, RunError
from amago2.inference import video
from amago2.inference.player import Player
from tests.amago2.toy import LENGTH, Toy, small

BOXES = {"o": gym.spaces.Box(-9, 9, (3,), np.float32)}


class Shown(Toy):
    """Renders its time as brightness."""

    render_mode = "rgb_array"

    def render(self) -> Any:
        return np.full((10, 20, 3), 40 * self.time, np.uint8)


def one_of(env: gym.Env[Any, Any]) -> VectorEnv:
    return VectorEnv(lambda _: env, 1)


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(make_agent(small(), BOXES, ActionSpec("discrete", 3)))


def frames(path: Path) -> list[Any]:
    with Image.open(path) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
        return found


def test_a_gif_shows_every_step_and_is_the_same_each_time(player: Player, tmp_path: Path) -> None:
    one, other = tmp_path / "one.gif", tmp_path / "other.gif"
    player.rng.manual_seed(0)
    value, length = video.film(player, one_of(Shown()), one, "left", 3, 100)
    assert length == LENGTH
    assert 0 <= value <= LENGTH
    shown = frames(one)
    assert len(shown) == LENGTH + 1
    assert shown[0].shape == (260, 520, 3)  # at least 256 pixels, by whole factors
    assert [int(frame.mean()) for frame in shown] == [40 * step for step in range(LENGTH + 1)]
    player.rng.manual_seed(0)
    video.film(player, one_of(Shown()), other, "left", 3, 100)
    assert one.read_bytes() == other.read_bytes()


def test_an_mp4_is_one(player: Player, tmp_path: Path) -> None:
    import cv2

    video.film(player, one_of(Shown()), tmp_path / "x.mp4", None, 0, 3)
    film = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert (film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (520, 260)


def test_what_cannot_be_filmed_is_said(player: Player, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Toy shows no images"):
        video.film(player, one_of(Toy()), tmp_path / "x.gif", None, 0, 3)
    with pytest.raises(ConfigError, match=r"x\.avi: a video ends in \.gif or \.mp4"):
        video.film(player, one_of(Shown()), tmp_path / "x.avi", None, 0, 3)
    with pytest.raises(ConfigError, match="unknown task up; its environment has left, right"):
        video.film(player, one_of(Shown()), tmp_path / "x.gif", "up", 0, 3)
    assert not list(tmp_path.iterdir())


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """The tasks are those of what is inside."""

    def __init__(self) -> None:
        super().__init__(gym.wrappers.TimeLimit(Shown(), 3))


def test_a_task_of_a_wrapped_environment_is_played(player: Player, tmp_path: Path) -> None:
    envs = one_of(Wrapped())
    _, length = video.film(player, envs, tmp_path / "x.gif", "right", 0, 100)
    assert (length, envs.task(0)) == (3, "right")


class Lone(gym.Wrapper[Any, Any, Any, Any]):
    """Declares no tasks, so tables call its only one by the name of the class."""

    tasks: tuple[str, ...] = ()


def test_the_only_task_of_an_environment_may_be_named(player: Player, tmp_path: Path) -> None:
    envs = one_of(Lone(Shown()))
    assert video.film(player, envs, tmp_path / "x.gif", "Shown", 0, 2)[1] == 2
    with pytest.raises(ConfigError, match=r"task left; its environment has Shown alone"):
        video.film(player, envs, tmp_path / "x.gif", "left", 0, 2)


class Odd(Toy):
    """Renders what it is given, by time."""

    render_mode = "rgb_array"

    def __init__(self, *rendered: Any) -> None:
        super().__init__()
        self.rendered = rendered

    def render(self) -> Any:
        found = self.rendered[min(self.time, len(self.rendered) - 1)]
        if isinstance(found, Exception):
            raise found
        return found


GREY = np.zeros((9, 9), np.uint8)


@pytest.mark.parametrize(
    ("rendered", "words"),
    [
        ([None], "render returned None"),
        ([GREY], r"render returned an array \(9, 9\)"),
        ([np.full((9, 9, 3), 2, np.float32)], "float32"),
        ([np.full((9, 9, 3), np.nan)], "float64"),
        ([np.zeros((0, 9, 3), np.uint8)], r"\(0, 9, 3\)"),
        ([[GREY]], "render returned a list"),
        ([np.zeros((9, 9, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "differ in size"),
        ([KeyError("colour")], r"render .*KeyError: 'colour' \(.*test_video.py, line"),
    ],
)
def test_odd_pictures_cost_a_sentence_and_leave_no_file(
    player: Player, tmp_path: Path, rendered: list[Any], words: str
) -> None:
    with pytest.raises(RunError, match=words) as failed:
        video.film(player, one_of(Odd(*rendered)), tmp_path / "x.gif", None, 0, 3)
    assert "\n" not in str(failed.value)
    assert not list(tmp_path.iterdir())


def test_pictures_of_floats_are_shown(player: Player) -> None:
    envs = one_of(Odd(np.full((9, 9, 3), [0, 0.5, 1])))
    envs.reset([0], [0])
    assert video.frame(envs)[0, 0].tolist() == [0, 128, 255]


def test_a_file_of_another_kind_is_not_replaced(player: Player, tmp_path: Path) -> None:
    path = tmp_path / "x.gif"
    path.write_text("my notes")
    with pytest.raises(ConfigError, match=r"x\.gif: exists and is no \.gif video"):
        video.film(player, one_of(Shown()), path, None, 0, 3)
    assert path.read_text() == "my notes"
    path.unlink()
    for _ in range(2):
        video.film(player, one_of(Shown()), path, None, 0, 3)


class Passing(Shown):
    """Takes `render_mode` as MiniGrid's do: among keyword arguments of what is below."""

    metadata = {"render_modes": ["rgb_array", "human"]}

    def __init__(self, length: int = LENGTH, **kwargs: Any) -> None:
        super().__init__(length=length)
        self.render_mode = kwargs.pop("render_mode", None)
        assert not kwargs


class Swallowing(Passing):
    """Says that it renders nothing."""

    metadata: dict[str, Any] = {"render_modes": []}


def made_of(**kwargs: Any) -> gym.Env[Any, Any]:
    return Passing(**kwargs)


@pytest.mark.parametrize(
    ("name", "mode"), [("Passing", "rgb_array"), ("Swallowing", None), ("made_of", None)]
)
def test_pictures_are_asked_for_where_they_can_be(name: str, mode: str | None) -> None:
    entry = {"entry_point": f"{__name__}:{name}"}
    for given in (entry, {"mixture": [entry, entry | {"kwargs": {"length": 3}}]}):
        config = rendered(EnvironmentConfig.model_validate(given), None)
        with closing(make_vector_env(config, 1)) as envs:
            assert envs.envs[0].render_mode == mode


class Seen(gym.Env[Any, Any]):
    """Four frames as channels, of which the last is the newest."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 4), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        observed = np.zeros((64, 64, 4), np.uint8)
        observed[..., -1] = 9
        return observed, {}


def test_images_that_are_observed_are_shown() -> None:
    envs = one_of(Seen())
    envs.reset([0], [0])
    frame = video.frame(envs)
    assert frame.shape == (256, 256, 3)
    assert (frame == 9).all()
