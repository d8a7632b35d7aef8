"""An environment whose spaces changed after training is refused wherever it meets the agent."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from amago2.errors import ConfigError
from amago2.training.amago_trainer import train
from tests.amago2.test_cli import amago2
from tests.amago2.toy import Toy, small

MODULE = __name__


class Edited(Toy):
    """Its author edits what is observed and done."""

    edits: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.key, size = self.edits.get("key", "o"), self.edits.get("size", 3)
        box = gym.spaces.Box(-9, 9, (size,), np.float32)
        self.observation_space = gym.spaces.Dict({self.key: box})
        self.action_space = self.edits.get("actions", self.action_space)

    def _observation(self) -> Any:
        (seen,) = super()._observation().values()
        return {self.key: np.resize(seen, self.observation_space[self.key].shape)}  # type: ignore[index]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    env = {"entry_point": f"{MODULE}:Edited"}
    return train(small(env=env, collector={"epochs": 1}), tmp_path_factory.mktemp("run") / "run")


EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"size": 4}, r"observations o (3,) float32, .* observations o (4,) float32"),
    "key": ({"key": "q"}, r"observations o (3,) float32, .* observations q (3,) float32"),
    "fewer": ({"actions": gym.spaces.Discrete(2)}, r"actions Discrete(3), .* actions Discrete(2)"),
    "kind": ({"actions": gym.spaces.Box(-1, 1, (3,))}, r"Discrete(3), .* Box(-1.0, 1.0, (3,)"),
}


@pytest.mark.parametrize("name", EDITS)
def test_one_sentence_says_what_changed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    edits, words = EDITS[name]
    pattern = "was made for .*" + words.replace("(", r"\(").replace(")", r"\)")
    monkeypatch.setattr(Edited, "edits", edits)
    for command in ("evaluate", "play"):
        video = ("--video", tmp_path / "x.gif") if command == "play" else ()
        done = amago2(command, run, *video, "--allow-env", MODULE)
        assert done.returncode == 2
        with pytest.raises(ConfigError, match=rf"^amago2: {run}: {pattern}"):
            raise ConfigError(done.stderr)
        assert done.stderr.count("\n") == 1
    assert amago2("info", run).returncode == 0
    longer = small(env={"entry_point": f"{MODULE}:Edited"}, collector={"epochs": 2})
    for continue_from in (run, None):  # the second one resumes what the first has begun
        with pytest.raises(ConfigError, match=pattern):
            train(longer, tmp_path / "more", continue_from=continue_from)
    monkeypatch.setattr(Edited, "edits", {})
    train(longer, tmp_path / "more")
