"""Videos of a policy: what is shown, and what cannot be."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from amago2.agent.agent import make_agent
from amago2.env.spaces import ActionSpec
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
    value, length = video.film(player, Shown(), one, "left", 3, 100)
    assert length == LENGTH
    assert 0 <= value <= LENGTH
    shown = frames(one)
    assert len(shown) == LENGTH + 1
    assert shown[0].shape == (260, 520, 3)  # at least 256 pixels, by whole factors
    assert [int(frame.mean()) for frame in shown] == [40 * step for step in range(LENGTH + 1)]
    player.rng.manual_seed(0)
    video.film(player, Shown(), other, "left", 3, 100)
    assert one.read_bytes() == other.read_bytes()


def test_an_mp4_is_one(player: Player, tmp_path: Path) -> None:
    import cv2

    video.film(player, Shown(), tmp_path / "x.mp4", None, 0, 3)
    film = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert (film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (520, 260)


def test_what_cannot_be_filmed_is_said(player: Player, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Toy shows no images"):
        video.film(player, Toy(), tmp_path / "x.gif", None, 0, 3)
    with pytest.raises(ConfigError, match=r"x\.avi: a video ends in \.gif or \.mp4"):
        video.film(player, Shown(), tmp_path / "x.avi", None, 0, 3)
    with pytest.raises(ConfigError, match="unknown task up; its environment has left, right"):
        video.film(player, Shown(), tmp_path / "x.gif", "up", 0, 3)
    assert not list(tmp_path.iterdir())


def test_images_that_are_observed_are_shown() -> None:
    observed = np.zeros((64, 64, 4), np.uint8)
    observed[..., -1] = 9
    frame = video._frame(Toy(), {"image": observed})
    assert frame.shape == (256, 256, 3)
    assert (frame == 9).all()
