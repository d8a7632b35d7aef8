from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from amago2.agent.agent import make_agent
from amago2.agent.batch import Batch
from amago2.config.schema import GridLanguageEncoderConfig, ImageEncoderConfig
from amago2.env.spaces import ActionSpec
from amago2.nets import convnets
from amago2.nets.augmentation import random_shift, shift
from amago2.nets.normalisation import InputNorm
from amago2.nets.rows import Rows
from amago2.nets.timestep_encoders import make_timestep_encoder
from amago2.seeding import seeded_init
from tests.amago2.toy import small

SPEC = ActionSpec("discrete", 3)
IMAGE: dict[str, gym.spaces.Box] = {"image": gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
GRID: dict[str, gym.spaces.Box] = {
    "extra": gym.spaces.Box(0, 1, (5,), np.float32),
    "image": gym.spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "mission": gym.spaces.Box(0, 30, (9,), np.int32),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def observation(boxes: dict[str, gym.spaces.Box], *shape: int) -> dict[str, torch.Tensor]:
    chance = np.random.default_rng(0)
    return {
        key: torch.from_numpy(
            chance.integers(0, int(box.high.max()) + 1, (*shape, *box.shape)).astype(box.dtype)
        )
        for key, box in boxes.items()
    }


def test_an_input_norm_that_is_updated_drops_its_earlier_scale() -> None:
    """Also in evaluation mode, in which PPO updates it."""
    norm = InputNorm(2).eval()
    x = torch.tensor([[1.0, 5.0], [3.0, 9.0]])
    norm(x, update=True)
    assert torch.equal(norm(x), norm.train()(x))
    assert torch.equal(norm(x), norm.eval()(x))


def test_input_norm_by_hand() -> None:
    norm = InputNorm(2)
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    for _ in range(400):
        norm.update(x)
    normed = norm(x)
    assert torch.allclose(normed[:, 0], torch.tensor([-1.0, 1.0]), atol=0.05)
    assert normed[:, 1].abs().max() < 0.5  # a constant is centred, not blown up
    assert norm(torch.full((1, 2), 1e30)).isfinite().all()


@pytest.mark.parametrize(("side", "flat"), [(64, 1568), (84, 2592)])
def test_impala_sizes(side: int, flat: int) -> None:
    assert convnets.output_size(convnets.impala_cnn(3, (16, 32, 32)), (side, side, 3)) == flat


@pytest.mark.parametrize(("side", "flat"), [(64, 1024), (84, 3136)])
def test_nature_sizes(side: int, flat: int) -> None:
    assert convnets.output_size(convnets.nature_cnn(3), (side, side, 3)) == flat


def test_grid_size() -> None:
    assert convnets.output_size(convnets.grid_cnn(3), (7, 7, 3)) == 768


def test_shift_is_a_crop_of_the_padded_image() -> None:
    frames = torch.randint(0, 256, (20, 12, 12, 3), generator=rng(), dtype=torch.uint8)
    drawn = torch.randint(-4, 5, (2, 20), generator=rng(1))
    shifted = shift(frames, drawn)
    padded = F.pad(frames.permute(0, 3, 1, 2).float(), (4, 4, 4, 4), mode="replicate")
    for frame, whole, (y, x) in zip(shifted, padded, (drawn.T + 4).tolist(), strict=True):
        crop = whole[:, y : y + 12, x : x + 12]
        assert torch.equal(crop, frame.permute(2, 0, 1).float())


def test_a_quarter_of_the_sub_sequences_is_not_shifted() -> None:
    frames = torch.randint(0, 256, (40, 12, 12, 3), generator=rng(), dtype=torch.uint8)
    sequence = torch.arange(8).repeat_interleave(5)
    seen = random_shift(frames, sequence, 8, rng(1))
    assert torch.equal(seen[:10], frames[:10])
    assert sum(not torch.equal(a, b) for a, b in zip(seen[10:], frames[10:], strict=True)) > 25


def test_bfloat16_holds_bytes_and_changes_residuals_by_rounding_only() -> None:
    """Also their gradients, whose layout in memory takes another way there."""
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = convnets.ByteScaling()(every)
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded.float(), convnets.ByteScaling()(every))
    with seeded_init(0):
        unit = convnets.ResidualUnit(16)
    found = []
    for half in (False, True):
        x = torch.randn(8, 16, 9, 9, generator=rng()).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        unit.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = unit(F.conv2d(x, torch.eye(16)[:, :, None, None]))
        out.float().pow(3).sum().backward()
        assert x.grad is not None
        grads = [x.grad, *(p.grad for p in unit.parameters() if p.grad is not None)]
        found.append(torch.cat([out.float().flatten(), *(g.flatten() for g in grads)]))
    assert F.cosine_similarity(found[0], found[1], dim=0) > 0.999


@pytest.mark.parametrize(
    ("config", "boxes"),
    [
        (ImageEncoderConfig(kind="cnn", features=32, output_size=24), IMAGE),
        (ImageEncoderConfig(kind="cnn", architecture="nature", features=32, output_size=24), IMAGE),
        (GridLanguageEncoderConfig(kind="grid_language", output_size=24), GRID),
    ],
)
def test_padding_is_left_out(config: Any, boxes: dict[str, gym.spaces.Box]) -> None:
    encoder = make_timestep_encoder(config, boxes, SPEC, False)
    seen = observation(boxes, 4, 5)
    reward, action = torch.randn(4, 5, generator=rng()), torch.zeros(4, 5, 3)
    valid = torch.ones(4, 5, dtype=torch.bool)
    valid[1:, 3:] = False
    other = {key: torch.where(_like(valid, x), x, torch.zeros_like(x)) for key, x in seen.items()}
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    one = encoder(seen, reward, action, Rows.where(valid), rng(3))
    encoder.load_state_dict(state)
    two = encoder(other, torch.where(valid, reward, 99.0), action, Rows.where(valid), rng(3))
    assert one.shape == (4, 5, 24)
    assert torch.equal(one[valid], two[valid])
    assert torch.equal(one[~valid], torch.zeros_like(one[~valid]))


def _like(valid: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return valid.view(*valid.shape, *[1] * (x.ndim - 2))


@pytest.mark.parametrize("kind", ["discrete", "multibinary"])
@pytest.mark.parametrize("encoder", ["cnn", "grid_language"])
def test_an_agent_acts_and_learns_from_it(encoder: str, kind: str) -> None:
    boxes = IMAGE if encoder == "cnn" else GRID
    spec = ActionSpec(kind, 3)  # type: ignore[arg-type]
    agent = make_agent(small(timestep_encoder={"kind": encoder, "output_size": 24}), boxes, spec)
    memory = agent.trajectory_encoder.initial_memory(2, torch.device("cpu"))
    agent.eval()
    acted = agent.act(observation(boxes, 2), torch.zeros(2), torch.zeros(2, 3), memory, rng())
    assert acted.shape == (2, 3)
    agent.train()
    batch = Batch(
        observation(boxes, 4, 6),
        torch.randn(4, 6, generator=rng()),
        torch.eye(3)[torch.randint(3, (4, 6), generator=rng())],
        torch.zeros(4, 6, dtype=torch.bool),
        torch.arange(6).expand(4, 6),
        torch.ones(4, 6, dtype=torch.bool),
    )
    loss, _ = agent.loss(batch, rng())
    loss.backward()
    unused = [n for n, p in agent.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


@pytest.mark.parametrize("boxes", [IMAGE, GRID], ids=["cnn", "grid_language"])
def test_a_vector_beside_the_image_is_read(boxes: dict[str, gym.spaces.Box]) -> None:
    kind = "cnn" if boxes is IMAGE else "grid_language"
    more = {**boxes, "task_label": gym.spaces.Box(0, 1, (4,), np.float32)}
    config = small(timestep_encoder={"kind": kind, "output_size": 24}).timestep_encoder
    encoder = make_timestep_encoder(config, more, SPEC, False).eval()
    seen = observation(boxes, 4)
    reward, action = torch.zeros(4), torch.zeros(4, 3)
    one, other = (
        encoder(seen | {"task_label": label.expand(4, 4)}, reward, action)
        for label in torch.eye(4)[:2]
    )
    assert (one - other).abs().max() > 1e-3


def test_floats_are_scaled_by_their_bounds_to_what_bytes_are() -> None:
    pictures = torch.randint(0, 256, (2, 4, 4, 2), generator=rng(), dtype=torch.uint8)
    expected = convnets.ByteScaling()(pictures)
    for low, high, dtype in ((0, 1, np.float32), (-1, 1, np.float64), (0, 510, np.int32)):
        box = gym.spaces.Box(low, high, (4, 4, 2), dtype)
        values = (low + pictures.double() / 255 * (high - low)).round(decimals=6)
        scaled = convnets.pixel_scaling(box)(values.to(torch.from_numpy(box.low).dtype))
        assert scaled.dtype == torch.float32
        assert (scaled - expected).abs().max() <= 1 / 128 + 1e-5
    assert isinstance(convnets.pixel_scaling(IMAGE["image"]), convnets.ByteScaling)


def test_a_constant_channel_is_no_number_too_large() -> None:
    low, high = np.zeros((4, 4, 2), np.float32), np.ones((4, 4, 2), np.float32)
    high[..., 1] = 0
    scaled = convnets.pixel_scaling(gym.spaces.Box(low, high, dtype=np.float32))
    assert torch.equal(scaled(torch.zeros(1, 4, 4, 2)), -torch.ones(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("network", "least"),
    [
        (convnets.nature_cnn(3), 36),
        (convnets.impala_cnn(3, (16, 32, 32)), 15),
        (convnets.impala_cnn(3, (16,)), 3),
        (convnets.grid_cnn(3), 4),
    ],
)
def test_the_least_side_is_just_enough(network: torch.nn.Sequential, least: int) -> None:
    assert convnets.least_side(network) == least
    assert convnets.output_size(network, (least, least, 3)) > 0
    with pytest.raises(RuntimeError):
        convnets.output_size(network, (least - 1, least, 3))


def box(*shape: int, dtype: Any = np.uint8, high: float = 255) -> gym.spaces.Box:
    return gym.spaces.Box(0, high, shape, dtype)


INFINITE = gym.spaces.Box(-np.inf, np.inf, (64, 64, 3), np.float32)
REFUSED: list[tuple[dict[str, Any], dict[str, gym.spaces.Box], str]] = [
    ({}, IMAGE, r"observation image has shape .*; use cnn"),
    ({"kind": "cnn"}, GRID, "at least 15 x 15 pixels"),
    ({"kind": "cnn"}, {"m": box(5, 3)}, r"\(5, 3, 1\).*FlattenObservation"),
    ({"kind": "cnn"}, {"o": box(5, dtype=np.float32)}, "use timestep_encoder.kind feed_forward"),
    ({"kind": "cnn"}, {"o": box(5, dtype=np.int64)}, "use timestep_encoder.kind feed_forward"),
    ({"kind": "cnn"}, {"a": box(64, 64, 3), "b": box(64, 64, 3)}, "as channels of one"),
    ({"kind": "cnn"}, {"p": box(4, 64, 64, 3)}, "put stacked frames into the channels"),
    ({"kind": "cnn"}, {"p": box(3, 64, 64)}, "channels first, .*impala needs at least 15 x 15"),
    ({"kind": "cnn", "architecture": "nature"}, {"p": box(7, 7, 3)}, "at least 36 x 36 pixels"),
    ({"kind": "cnn"}, {"p": box(14, 64, 3)}, "at least 15 x 15 pixels"),
    ({"kind": "cnn"}, {"p": INFINITE}, "without bounds"),
    ({"kind": "grid_language"}, IMAGE, "there is no observation extra"),
    ({"kind": "grid_language"}, {**GRID, "image": box(7, 7)}, "pictures are"),
    ({"kind": "grid_language"}, {**GRID, "image": box(3, 3, 3)}, "at least 4 x 4 pixels"),
    ({"kind": "grid_language"}, {**GRID, "mission": box(9, dtype=np.int64)}, "numbers of 0 to 30"),
    ({"kind": "grid_language"}, {**GRID, "extra": box(2, 2)}, "must be a vector"),
]


@pytest.mark.parametrize(("encoder", "boxes", "words"), REFUSED)
def test_an_unsuitable_encoder_is_refused_with_what_would_suit(
    encoder: dict[str, Any], boxes: dict[str, gym.spaces.Box], words: str
) -> None:
    config = small(timestep_encoder=encoder).timestep_encoder
    with pytest.raises(ValueError, match=words) as refused:
        make_timestep_encoder(config, boxes, SPEC, False)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_number_alone_is_a_vector_of_one(rows: int) -> None:
    boxes = {"a": gym.spaces.Box(-1, 1, (), np.float32), "b": gym.spaces.Box(-1, 1, (1,))}
    encoder = make_timestep_encoder(small().timestep_encoder, boxes, SPEC, False).eval()
    seen = {"a": torch.ones(rows), "b": torch.ones(rows, 1)}
    one = encoder(seen, torch.zeros(rows), torch.zeros(rows, 3))
    assert one.shape[0] == rows
