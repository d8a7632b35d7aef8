"""Memory and disk that a run needs, from its configuration and the sizes of its spaces.

Imports no heavy library. The check before training uses these counts (`amago2.training.resources`),
and so does whoever plans runs in advance (`workflow.estimate`).
"""

from math import prod
from typing import NamedTuple

from amago2.config.schema import AmagoConfig, GridLanguageEncoderConfig, ImageEncoderConfig

NATURE_ACTIVATIONS = 21_000
"""Of the convolutions of Mnih et al. (2015), per frame."""
BFLOAT16_SHARE = 0.67
"""Of float32's activations: losses, statistics and softmaxes stay float32."""
WORKSPACE_BYTES = 2**26
"""Of the libraries that multiply matrices."""
MAX_SHARD_BYTES = 2**26
"""A replay shard is closed when it holds this much; every checkpoint has the open one."""


class Shapes(NamedTuple):
    """What memory and disk depend on in the spaces of an environment."""

    record_bytes: int
    """Of a timestep in replay, uncompressed."""
    image: tuple[int, ...] = ()
    """Height, width and channels; empty without one."""
    discrete: bool = False
    """Whether an action is one of `actions`; else it is as many numbers or buttons."""
    actions: int = 1


def update_bytes(config: AmagoConfig, shapes: Shapes, in_one_pass: bool) -> int:
    """Peak memory of an update in each learner process, in bytes, without weights.

    Counts the activations that are kept for the backward pass and, if action values are computed
    `in_one_pass`, as a GPU does it, what that takes meanwhile; a CPU computes them in chunks.
    """
    learner = config.learner
    sequences = learner.batch_size // (learner.processes or 1)
    sequences //= learner.gradient_accumulation or 1
    timesteps = sequences * (config.trajectory_encoder.context_length + 1)
    kept = _trajectory(config) + _timestep(config, shapes) + _heads(config, shapes)
    size = 4.0 if config.learner.precision != "bfloat16" else 4 * BFLOAT16_SHARE
    peak = timesteps * (kept + _valuation(config, shapes) * in_one_pass)
    encoder = config.timestep_encoder
    if isinstance(encoder, ImageEncoderConfig) and encoder.recompute_frames:
        # At the end of the backward pass, when the rest is not kept any more.
        peak = max(peak, encoder.recompute_frames * image_activations(encoder, shapes.image))
    return int(size * peak) + WORKSPACE_BYTES


def _trajectory(config: AmagoConfig) -> int:
    t = config.trajectory_encoder
    return t.layers * (12 * t.width + 3 * getattr(t, "feedforward_size", 3 * t.width))


def _timestep(config: AmagoConfig, shapes: Shapes) -> int:
    """Activations of the timestep encoder, per timestep."""
    encoder = config.timestep_encoder
    if isinstance(encoder, GridLanguageEncoderConfig):
        return 7_000
    if not isinstance(encoder, ImageEncoderConfig):
        return 2 * sum(encoder.hidden_sizes)
    if encoder.recompute_frames is None:
        return image_activations(encoder, shapes.image)
    return prod(shapes.image) // 4 + 4_096  # the frame in bytes, and what comes out of it


def image_activations(encoder: ImageEncoderConfig, image: tuple[int, ...]) -> int:
    """Numbers kept per frame.

    Of each IMPALA block the convolution's output, and 13 times as much at half its resolution: the
    pooled one with its indices, and two residual units of five each.
    """
    if encoder.architecture == "nature":
        return NATURE_ACTIVATIONS
    height, width = image[:2]
    total = 0
    for depth in encoder.channels:
        total += depth * height * width
        height, width = pooled(height), pooled(width)
        total += 13 * depth * height * width
    return total


def pooled(side: int) -> int:
    """Pixels of an image's side after an IMPALA block's pooling."""
    return (side - 1) // 2


def _heads(config: AmagoConfig, shapes: Shapes) -> int:
    """Activations of actor and critics, per timestep."""
    a = config.agent
    hidden, pairs = sum(a.head_hidden_sizes), a.num_critics * len(a.discounts)
    if a.critic == "popart" and shapes.discrete:  # a table of all actions, from the state alone
        return 2 * a.num_critics * hidden + pairs * 2 * shapes.actions
    bins = a.bins if a.critic == "two_hot" else 0
    # A policy gradient goes back through the critics' values of its samples.
    samples = valued_actions(config, shapes) if a.actor == "policy_gradient" else 0
    return pairs * (hidden + 3 * bins + samples * (hidden + bins))


def valued_actions(config: AmagoConfig, shapes: Shapes) -> int:
    """Actions of the policy that the actor's loss has valued in each state."""
    a = config.agent
    if a.critic == "popart":
        return 1
    return shapes.actions if a.expectation == "exact" and shapes.discrete else a.value_samples


def _valuation(config: AmagoConfig, shapes: Shapes) -> float:
    """What evaluating sampled actions takes beside what is kept, per timestep."""
    a = config.agent
    widest, pairs = max(a.head_hidden_sizes), a.num_critics * len(a.discounts)
    if a.critic == "popart" and shapes.discrete:
        return 0
    samples = valued_actions(config, shapes)
    if a.actor == "policy_gradient":
        return pairs * (1 + samples) * widest
    return samples * pairs * (3 * widest + (1.5 * a.bins if a.critic == "two_hot" else 0))


def memory_bytes(config: AmagoConfig, rollouts: int) -> int:
    """Memory of `rollouts` policies that act at once: the Transformer's keys and values."""
    t = config.trajectory_encoder
    if t.kind != "transformer":
        return 4 * rollouts * t.layers * t.width
    room = t.context_length + max(16, t.context_length // 4)
    return 4 * rollouts * t.layers * 2 * t.width * room


def stored_timesteps(config: AmagoConfig) -> int:
    """Timesteps in replay when training ends: its capacity, or all that is collected if less."""
    return min(_capacity(config), _collected(config))


def scratch_timesteps(config: AmagoConfig) -> int:
    """Timesteps on disk at most while the run lasts.

    What was evicted stays until no kept checkpoint needs it.
    """
    c, keep = config.collector, config.checkpoint
    evicted = c.actors * c.steps_per_epoch * keep.every * keep.keep
    return min(_capacity(config) + evicted, _collected(config))


def _capacity(config: AmagoConfig) -> int:
    r = config.replay
    longest_trajectory = r.chunk_length or config.trajectory_encoder.context_length
    return r.capacity * (1 if r.unit == "timesteps" else longest_trajectory)


def _collected(config: AmagoConfig) -> int:
    c = config.collector
    return c.actors * c.steps_per_epoch * c.epochs if config.online else 0
