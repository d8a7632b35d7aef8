"""Parts by import path: same bits after a stop, mistakes in a sentence, nothing for strangers."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import amago2
from amago2.config.schema import AmagoConfig
from amago2.env.spaces import Array
from amago2.errors import ConfigError, RunError
from amago2.training.amago_trainer import train
from tests.amago2.toy import small

HERE = __name__


class Encoder(nn.Module):
    def __init__(self, observations: Any, actions: Any, output_size: int, off: int = 0) -> None:
        super().__init__()
        self.net = nn.Linear(3 + 1 + actions.size, output_size + off)

    def forward(self, observation: dict[str, Tensor], reward: Tensor, action: Tensor) -> Tensor:
        encoded: Tensor = self.net(torch.cat([observation["o"], reward.unsqueeze(-1), action], -1))
        return encoded


class Sum(nn.Module):
    """Remembers the sum of what it saw."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.net, self.memory_size = nn.Linear(inputs, width), width

    def forward(self, tokens: Tensor, time: Tensor) -> Tensor:
        return self.net(tokens).cumsum(1)

    def step(self, tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        memory = memory + self.net(tokens)
        return memory, memory


def shift(actions: Array, steps: int, time: Array, rng: np.random.Generator) -> Array:
    return (actions + 1) % 3


def shifting() -> Any:
    return shift


class Stopping:
    seen: list[Any] = []

    def on_evaluation(self, steps: int, name: str, rows: Any) -> None:
        self.seen.append((steps, name, len(rows)))
        if steps == 36 * 4:
            raise KeyError("enough")

    def on_checkpoint(self, steps: int, folder: Path) -> None:
        self.seen.append((steps, folder.name))


class Nothing:
    memory_size = 1


def own(**over: Any) -> AmagoConfig:
    parts = {
        "timestep_encoder": {"kind": "own", "entry_point": f"{HERE}:Encoder", "output_size": 8},
        "trajectory_encoder": {
            "kind": "own",
            "entry_point": f"{HERE}:Sum",
            "width": 16,
            "context_length": 5,
        },
        "collector": {"exploration": {"entry_point": f"{HERE}:shifting"}, "epochs": 4},
    }
    return small(**(parts | over))


def test_a_run_of_own_parts_continues_to_the_same_bits(tmp_path: Path) -> None:
    once = train(own(), tmp_path / "once")
    stopped = own(callbacks=[f"{HERE}:Stopping"])
    assert stopped.hash == own().hash
    Stopping.seen.clear()
    with pytest.raises(RunError, match=r"callbacks: .*Stopping.on_evaluation: KeyError.*enough"):
        train(stopped, tmp_path / "twice")
    kinds = [(36, "epoch-00000001"), (72, "train", 4 * 3), (72, "epoch-00000002")]
    assert Stopping.seen[:3] == kinds
    twice = train(own(), tmp_path / "twice")
    name = "checkpoint/policy.safetensors"
    assert (once / name).read_bytes() == (twice / name).read_bytes()
    with pytest.raises(ConfigError, match=f"add --allow-env {HERE} if you trust it"):
        amago2.load(once)
    policy = amago2.load(once, allow_env=[HERE])
    assert policy.act({"o": np.zeros(3, np.float32)}) in range(3)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"timestep_encoder": {"entry_point": f"{HERE}:Nowhere"}}, "there is no Nowhere in"),
        ({"timestep_encoder": {"kwargs": {"x": 1}}}, "unexpected keyword argument 'x'"),
        ({"timestep_encoder": {"entry_point": f"{HERE}:Nothing"}}, "cannot be called: too many"),
        ({"timestep_encoder": {"kwargs": {"off": 1}}}, r"returned shape .*, 9\).*output_size is 8"),
        ({"trajectory_encoder": {"entry_point": f"{HERE}:Nothing"}}, "cannot be called"),
        ({"trajectory_encoder": {"entry_point": f"{HERE}:Encoder"}}, "missing a required argument"),
        (
            {"collector": {"exploration": {"entry_point": f"{HERE}:Nothing"}}},
            "nothing to be called",
        ),
        ({"callbacks": [f"{HERE}:Nothing"]}, "has neither on_evaluation nor on_checkpoint"),
        ({"callbacks": ["nowhere.Nothing"]}, "callbacks is 'nowhere:Nothing': cannot import"),
    ],
)
def test_a_part_that_does_not_fit_is_a_sentence(
    over: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    parts = own().model_dump()
    layers = {
        key: {**(parts[key] or {}), **o} if isinstance(o, dict) else o for key, o in over.items()
    }
    with pytest.raises((ConfigError, RunError), match=sentence):
        train(own(**layers), tmp_path / "run")


def test_a_strangers_callbacks_and_exploration_are_never_imported(tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('it ran')\n")
    run = train(small(collector={"epochs": 1}), tmp_path / "run")
    stored = run / "checkpoint" / "config.yaml"
    text = stored.read_text().replace("callbacks: null", "callbacks: [{'stranger:A': {}}]")
    stored.write_text(text.replace("entry_point: null", "entry_point: stranger:A", 2))
    assert "stranger" in stored.read_text()
    with pytest.raises((ConfigError, RunError)):
        amago2.evaluate(run / "checkpoint", allow_env=["tests.amago2.toy"])
    assert "stranger" not in sys.modules
