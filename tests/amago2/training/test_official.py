"""Files of the official code: networks here give what networks there would give.

The official code is not at hand. `write` makes files with its names and layouts, and `Official`
computes what it computes from them, written from the description of its networks, not from ours.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from amago2.agent.agent import Agent, make_agent
from amago2.config.schema import AmagoConfig
from amago2.env.spaces import ActionSpec
from amago2.errors import ConfigError
from amago2.training.initial_weights import load_initial_weights
from tests.amago2.agent.test_agent import BOXES, CONTINUOUS, DISCRETE
from tests.amago2.toy import small

WIDTH, HEADS, HIDDEN, INNER, LAYERS, CRITICS, BINS = 16, 2, 16, 32, 2, 4, 16
DISCOUNTS = torch.tensor([0.5, 0.9])
Tensors = dict[str, Tensor]


class Writer:
    """Random tensors with the official code's names."""

    def __init__(self, seed: int) -> None:
        self.rng, self.found = torch.Generator().manual_seed(seed), Tensors()

    def random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.rng) / math.sqrt(shape[-1])

    def linear(self, name: str, inputs: int, outputs: int) -> None:
        self.found |= {f"{name}.weight": self.random(outputs, inputs)}
        self.found |= {f"{name}.bias": self.random(outputs)}

    def norm(self, name: str, size: int) -> None:
        self.found |= {f"{name}.norm.weight": 1 + self.random(size)}
        self.found |= {f"{name}.norm.bias": self.random(size)}

    def mlp(self, name: str, inputs: int, outputs: int) -> None:
        self.linear(f"{name}.in_layer", inputs, HIDDEN)
        if not name.startswith("tstep"):
            self.linear(f"{name}.layers.0", HIDDEN, HIDDEN)
        self.linear(f"{name}.out_layer", HIDDEN, outputs)

    def sigma(self, name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        u, v = self.random(outputs), self.random(inputs)
        self.found |= {f"{name}.weight": self.random(outputs, inputs)}
        self.found |= {f"{name}.gamma": 1 + self.random(1), f"{name}.u": u, f"{name}.v": v}
        if bias:
            self.found[f"{name}.bias"] = self.random(outputs)

    def ensemble(self, name: str, inputs: int, outputs: int) -> None:
        sizes = {"inp_layer": (inputs, HIDDEN), "core_layers.0": (HIDDEN, HIDDEN)}
        for layer, (fan_in, fan_out) in {**sizes, "output_layer": (HIDDEN, outputs)}.items():
            self.found[f"{name}.net.{layer}.weight"] = self.random(CRITICS, fan_in, fan_out)
            self.found[f"{name}.net.{layer}.bias"] = self.random(1, 1, CRITICS, fan_out)


def write(actions: ActionSpec, two_hot: bool) -> Tensors:
    """A whole agent's `state_dict`, with the copies that nobody needs."""
    w, size, count = Writer(0), actions.size, len(DISCOUNTS)
    discrete, inputs = actions.kind == "discrete", 3 + 1 + actions.size
    norm = "tstep_encoder.in_norm"
    w.found |= {f"{norm}.mu": w.random(inputs), f"{norm}.nu": 2 + w.random(inputs)}
    w.found[f"{norm}._t"] = torch.full((1,), 70.0)
    w.mlp("tstep_encoder.base", inputs, 8)
    w.norm("tstep_encoder.out_norm", 8)
    w.linear("traj_encoder.tformer.inp", 8, WIDTH)
    for i in range(LAYERS):
        layer = f"traj_encoder.tformer.layers.{i}"
        w.sigma(f"{layer}.self_attention.qkv_projection", WIDTH, 3 * WIDTH, bias=False)
        w.sigma(f"{layer}.self_attention.out_projection", WIDTH, WIDTH)
        w.found[f"{layer}.self_attention.head_scaler"] = w.random(1, 1, HEADS, 1)
        w.sigma(f"{layer}.ff1", WIDTH, INNER)
        w.sigma(f"{layer}.ff2", INNER, WIDTH)
        for k, width in enumerate((WIDTH, WIDTH, WIDTH, INNER), 1):
            w.norm(f"{layer}.norm{k}", width)
    w.norm("traj_encoder.tformer.norm", WIDTH)
    for name in ("mu", "b"):
        w.found[f"popart.{name}"] = w.random(count, 1)
    for name, least in (("nu", 9.0), ("w", 1.0), ("_t", 50.0)):
        w.found[f"popart.{name}"] = least + w.random(count, 1)
    w.found["popart._t"] = torch.full((count, 1), 70.0)
    heads = (size if discrete else 2 * size) * count
    joined = WIDTH if discrete and not two_hot else WIDTH + 1 + size
    outputs = BINS if two_hot else count * size if discrete else 1
    for copy in ("", "target_"):
        w.mlp(f"{copy}actor.base", WIDTH, heads)
        w.ensemble(f"{copy}critics", joined, outputs)
    w.ensemble("maximized_critics", joined, outputs)
    return w.found


class Official:
    """What the official networks compute from such tensors."""

    def __init__(self, tensors: Tensors) -> None:
        self.t = tensors

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(
            x, x.shape[-1:], self.t[f"{name}.norm.weight"], self.t[f"{name}.norm.bias"]
        )

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.t[f"{name}.weight"].T + self.t[f"{name}.bias"]

    def sigma(self, name: str, x: Tensor) -> Tensor:
        weight, u, v = (self.t[f"{name}.{key}"] for key in ("weight", "u", "v"))
        bias = self.t.get(f"{name}.bias", torch.zeros(len(weight)))
        return x @ (weight * self.t[f"{name}.gamma"] / (u @ weight @ v)).T + bias

    def mlp(self, name: str, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.linear(f"{name}.in_layer", x))
        if f"{name}.layers.0.weight" in self.t:
            x = F.leaky_relu(self.linear(f"{name}.layers.0", x))
        return self.linear(f"{name}.out_layer", x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        """Heads are the fastest axis of the projection, and the slower one of what comes out."""
        qkv = self.sigma(f"{name}.qkv_projection", x).unflatten(-1, (3, WIDTH // HEADS, HEADS))
        q, k, v = qkv.movedim(-1, 1).unbind(3)  # (B, H, L, D) each
        scores = q @ k.mT / math.sqrt(WIDTH // HEADS)
        future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        out = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        out = out.movedim(1, 2) * self.t[f"{name}.head_scaler"].view(HEADS, 1)
        return self.sigma(f"{name}.out_projection", out.flatten(2))

    def states(self, observation: Tensor, reward: Tensor, action: Tensor, time: Tensor) -> Tensor:
        x = torch.cat([observation, reward[..., None], action], -1)
        mu, nu = (self.t[f"tstep_encoder.in_norm.{key}"] for key in ("mu", "nu"))
        x = (x - mu) / (nu - mu**2 + 1e-5).sqrt()
        x = self.norm("tstep_encoder.out_norm", self.mlp("tstep_encoder.base", x))
        angle = time[..., None] / 10000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
        positions = torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)
        x = self.linear("traj_encoder.tformer.inp", x) + positions
        for i in range(LAYERS):
            layer = f"traj_encoder.tformer.layers.{i}"
            attended = self.attention(f"{layer}.self_attention", self.norm(f"{layer}.norm1", x))
            x = x + self.norm(f"{layer}.norm2", attended)
            inner = F.leaky_relu(self.sigma(f"{layer}.ff1", self.norm(f"{layer}.norm3", x)))
            x = x + self.sigma(f"{layer}.ff2", self.norm(f"{layer}.norm4", inner))
        return self.norm("traj_encoder.tformer.norm", x)

    def critics(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (C, ..., outputs)."""
        x = x[None]
        for layer in ("inp_layer", "core_layers.0", "output_layer"):
            weight, bias = (self.t[f"critics.net.{layer}.{key}"] for key in ("weight", "bias"))
            x = F.leaky_relu(x) if layer != "inp_layer" else x
            x = torch.einsum("c...i,cio->c...o", x.expand(CRITICS, *x.shape[1:]), weight)
            x = x + bias.view(CRITICS, *[1] * (x.ndim - 2), -1)
        return x

    def outputs(self, states: Tensor, action: Tensor, discrete: bool, two_hot: bool) -> Tensor:
        """Of the critics (C, M, G) or (C, M, G, N) for states (M, D) and actions (M, A)."""
        if discrete and not two_hot:
            table = self.critics(states).unflatten(-1, (len(DISCOUNTS), -1))
            return (table * action[:, None]).sum(-1)
        horizon = (1 + 1 / (1 - DISCOUNTS)).log()
        each = [
            torch.cat([states, h.expand(len(states), 1), action.clamp(-0.999, 0.999)], -1)
            for h in horizon
        ]
        found = self.critics(torch.stack(each, 1))
        return found if two_hot else found.squeeze(-1)


def config_for(path: Path, critic: str) -> AmagoConfig:
    agent = {"critic": critic, "discounts": DISCOUNTS.tolist()}
    return small(agent=agent, initial_weights=str(path))


def loaded(path: Path, actions: ActionSpec, critic: str) -> Agent:
    agent = make_agent(config_for(path, critic), BOXES, actions)
    load_initial_weights(agent, config_for(path, critic), path.parent, path.parent)
    return agent.eval()


@pytest.mark.parametrize("actions", [DISCRETE, CONTINUOUS], ids=lambda spec: spec.kind)
@pytest.mark.parametrize("critic", ["two_hot", "popart"])
@torch.no_grad()
def test_outputs_are_equal(tmp_path: Path, actions: ActionSpec, critic: str) -> None:
    tensors, two_hot = write(actions, critic == "two_hot"), critic == "two_hot"
    torch.save(tensors, tmp_path / "policy.pt")
    agent, there = loaded(tmp_path / "policy.pt", actions, critic), Official(tensors)
    rng = torch.Generator().manual_seed(1)
    shape, discrete = (2, 5), actions.kind == "discrete"
    observation, reward = torch.randn(*shape, 3, generator=rng), torch.randn(shape, generator=rng)
    action = torch.rand(*shape, actions.size, generator=rng) * 2 - 1
    action = F.one_hot(action.argmax(-1), actions.size).float() if discrete else action
    time = torch.arange(5).expand(shape) + torch.tensor([[0], [7]])
    states = agent.trajectory_encoder(
        agent.timestep_encoder({"o": observation}, reward, action), time, None
    )
    expected = there.states(observation, reward, action, time)
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-5)
    parameters = agent.actor.net(states)
    torch.testing.assert_close(parameters, there.mlp("actor.base", expected), rtol=1e-4, atol=1e-5)
    flat, taken = expected.flatten(0, 1), action.flatten(0, 1)
    embedded = agent.critic.embed_states(flat)
    outputs = agent.critic.outputs(embedded, taken[:, None, None]).squeeze(3)
    torch.testing.assert_close(
        outputs, there.outputs(flat, taken, discrete, two_hot), rtol=1e-4, atol=1e-5
    )
    mu, nu, w, b = (tensors[f"popart.{key}"].squeeze(1) for key in ("mu", "nu", "w", "b"))
    x = torch.randn(3, 2, generator=rng)
    torch.testing.assert_close(agent.popart.values(x), (x * w + b) * (nu - mu**2).sqrt() + mu)
    assert agent.popart.count == 70


def test_older_and_wrapped_names_and_safetensors_are_read_alike(tmp_path: Path) -> None:
    tensors = write(DISCRETE, two_hot=True)
    torch.save(tensors, tmp_path / "plain.pt")
    older = {}
    for name, value in tensors.items():
        layer, _, key = name.rpartition(".")
        key = {"weight": "W", "bias": "b"}.get(key, key) if f"{layer}.gamma" in tensors else key
        older[f"module.{layer}.{key}"] = value
    torch.save(older, tmp_path / "older.bin")
    save_file(tensors, tmp_path / "same.safetensors")
    one = loaded(tmp_path / "plain.pt", DISCRETE, "two_hot").state_dict()
    for name in ("older.bin", "same.safetensors"):
        other = loaded(tmp_path / name, DISCRETE, "two_hot").state_dict()
        assert all(torch.equal(value, other[key]) for key, value in one.items())


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"actor.base.in_layer.bias": None}, "has no actor.base.in_layer.bias, which would be"),
        (
            {"critics.net.output_layer.weight": torch.zeros(4, 16, 8)},
            r"critics\.net\.output_layer\.weight has shape \[4, 16, 8\], and "
            r"critic\.net\.weights\.2 has \[4, 16, 16\] here",
        ),
        ({"extra.weight": torch.zeros(1)}, "has extra.weight, for which the configured networks"),
        ({"note": "text"}, "is no file of weights: it must hold tensors by name"),
        ({"evil": Evil()}, "is no file of weights: "),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = {**write(DISCRETE, two_hot=True), **change}
    path = tmp_path / "policy.pt"
    torch.save({name: value for name, value in tensors.items() if value is not None}, path)
    with pytest.raises(ConfigError, match=rf"policy\.pt: {sentence}"):
        loaded(path, DISCRETE, "two_hot")
    assert not (tmp_path / "ran").exists()


def test_other_encoders_are_refused(tmp_path: Path) -> None:
    torch.save(write(DISCRETE, two_hot=True), tmp_path / "policy.pt")
    encoder = {"kind": "gru", "context_length": 5, "width": 16}
    config = small(trajectory_encoder=encoder, initial_weights=str(tmp_path / "policy.pt"))
    with pytest.raises(ConfigError, match=r"for trajectory_encoder\.kind transformer only"):
        load_initial_weights(make_agent(config, BOXES, DISCRETE), config, tmp_path, tmp_path)
