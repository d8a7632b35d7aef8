"""A starter configuration for an environment, as commented YAML: `amago2 init`.

The environment's spaces, its time limit and some rollouts of random actions decide the sizes.
Where and why the settings differ from the paper's is in docs/learning.md.
"""

import os
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from amago2.config.documents import parse_yaml, read_yaml
from amago2.config.layers import Layer
from amago2.config.named_code import allow_options
from amago2.config.schema import AmagoConfig, build
from amago2.env.make import make_vector_env
from amago2.env.pictures import is_large_picture
from amago2.env.vector_env import VectorEnv
from amago2.env.vectorized import VectorizedEnv
from amago2.environment_check import SIZES, sizes_for
from amago2.errors import ConfigError
from amago2.files import write_atomically
from amago2.inference.stored_run import allow_modules, foreign_modules
from amago2.random_rollouts import play_many

STEPS = 2000
"""Of random actions, to see how long rollouts are and what rewards there are."""
LONG_S = 300.0
"""Seconds of stepping environments from which on `amago2 init` says how long that takes."""
SHORT_MEMORY = 16
"""Timesteps that are remembered unless asked otherwise, and those of a sub-sequence."""
EVALUATE = "#     amago2 evaluate runs/first/best"
"""A line of the file, to which the options are added that the environment needs."""
EXACT_UP_TO = 32
"""Discrete actions over which a policy's value is a sum; over more it is sampled."""


@dataclass(frozen=True)
class Facts:
    """What decides the sizes."""

    picture: int | None
    """Pixels of the shorter side of a picture, if one is observed that is no mere vector."""
    actions: str
    action_size: int
    limit: int | None
    """Timesteps after which rollouts end, if that is known."""
    rollout: int
    """Timesteps of the longest rollout of random actions."""
    ends: bool
    """Whether any of them ended by itself."""
    rewards: tuple[float, float]
    """Lowest and highest that random actions met, or 0."""
    dense: bool
    """Whether no reward is far above the others."""
    tasks: int
    steps_per_s: float
    """Of random actions in one environment, on one core."""


def facts(config: AmagoConfig) -> Facts:
    """Play random actions in the environment of a configuration."""
    with closing(make_vector_env(config.env, 1)) as envs:
        began = time.perf_counter()
        rollouts = play_many(envs, STEPS)
        seconds = time.perf_counter() - began
        rewards = np.array([reward for rollout in rollouts for reward in rollout.rewards])
        boxes = envs.observations.values()
        sides = [min(box.shape[:2]) for box in boxes if is_large_picture(box)]
        return Facts(
            picture=min(sides, default=None),
            actions=envs.actions.kind,
            action_size=envs.actions.size,
            limit=_limit(envs),
            rollout=max(len(rollout.rewards) for rollout in rollouts),
            ends=any(rollout.ended for rollout in rollouts),
            rewards=(min(0.0, float(rewards.min())), max(0.0, float(rewards.max()))),
            dense=bool(0 < abs(rewards).max() <= 20 * abs(rewards).mean()),
            tasks=max(1, len(envs.tasks)),
            steps_per_s=len(rewards) / max(seconds, 1e-9),
        )


def _limit(envs: VectorEnv) -> int | None:
    """Timesteps after which rollouts end: the configured limit, or that of Gymnasium's registry."""
    if envs.max_episode_steps is not None:
        return envs.max_episode_steps
    made = envs.vector if isinstance(envs, VectorizedEnv) else envs.envs[0]
    return made.spec.max_episode_steps if made and made.spec else None


def write(environment: str, out: Path, memory: int | None = None) -> str | None:
    """Write the starter configuration of an environment to a new file; see `starter`.

    The environment is known by its name, or described by a YAML file with `env` alone. Returns what
    to tell of an environment that is slow. Raises `ConfigError` if the file to write exists, or
    nothing is known by that name.
    """
    if os.path.lexists(out):
        raise ConfigError(f"{out}: is there already; name another file with --out")
    described = environment.endswith((".yaml", ".yml"))
    sizes = _described(environment) if described else sizes_for(environment)
    config = build([sizes])
    allow_modules(config)
    found = facts(config)
    text = starter(environment, found, memory)
    if described:
        env = yaml.safe_dump({"env": sizes.data["env"]}, sort_keys=False, default_flow_style=None)
        text = text.replace(f"env: {environment}\n", env)
    written = build([Layer(str(out), parse_yaml(text, str(out)))])
    write_atomically(
        out, text.replace(EVALUATE, EVALUATE + allow_options(foreign_modules(written)))
    )
    return remarks(written, found)


def remarks(config: AmagoConfig, found: Facts) -> str | None:
    """What to tell of an environment whose rollouts do not end, or that is slow."""
    if found.limit is None and not found.ends:
        return (
            f"no rollout ended in {found.rollout:,} steps of random actions: if none ever does, "
            "set env.max_episode_steps"
        )
    return slowness(config, found.steps_per_s)


def slowness(config: AmagoConfig, steps_per_s: float) -> str | None:
    """How long the steps of a training's environments take on one core, if that is long."""
    c = config.collector
    seconds = c.actors * c.steps_per_epoch * c.epochs / steps_per_s
    if seconds < LONG_S:
        return None
    return (
        f"its environments make some {steps_per_s:.3g} steps a second, so that collecting takes "
        f"about {seconds / 60:.0f} minutes on one core; env.processes shares them out over cores, "
        "and collector.epochs can be smaller"
    )


def _described(path: str) -> Layer:
    """All that a configuration needs, for the environment that a file describes."""
    given = read_yaml(Path(path))
    if given.keys() != {"env"}:
        raise ConfigError(f"{path}: must have the key env alone; init chooses all others")
    return Layer(path, {**SIZES, "env": given["env"]})


def starter(environment: str, found: Facts, memory: int | None = None) -> str:
    """The configuration of an agent for `environment`, as YAML with comments.

    It remembers `memory` timesteps, 0 being none. If that is None, it remembers none where there
    are a single task and no pictures, and else `SHORT_MEMORY`.
    """
    low, high = found.rewards
    one_scale = found.tasks == 1 and found.actions in ("discrete", "continuous")
    forgets = memory == 0 or (memory is None and one_scale and found.picture is None)
    context = max(2, min(memory or SHORT_MEMORY, found.limit or found.rollout))
    parts = (_one_scale if one_scale else _any_scale)(found, context)
    encoder = (
        "{hidden_sizes: [64, 64], output_size: 64}"
        if found.picture is None
        else f"{{kind: cnn, architecture: {_network(found.picture)}, output_size: 64}}"
    )
    return f"""\
# Starter configuration for {environment}, small enough for one CPU core.
# {_lengths(found)}, and random actions met rewards of {low:g} to {high:g}.
#     amago2 train THIS_FILE --out runs/first
{EVALUATE}
# All keys are in docs/parameters.md; why these values, in docs/learning.md.
env: {environment}
{parts.agent}
timestep_encoder: {encoder}
{_trajectory_encoder(context, forgets)}
{parts.training}
evaluation: {{every: 10, rollouts: 10, final_rollouts: 50}}
checkpoint: {{every: 5, best: true}}  # the policy of the best evaluation is kept beside the last
"""


def _lengths(found: Facts) -> str:
    if found.limit is not None:
        return f"Rollouts have up to {found.limit:,} steps"
    return f"Rollouts of random actions had up to {found.rollout:,} steps"


def _trajectory_encoder(context: int, forgets: bool) -> str:
    if forgets:
        return f"""\
trajectory_encoder:
  kind: feed_forward            # no memory: for one, write this file with --memory 64, or so
  context_length: {context:<3}           # timesteps of a sub-sequence in training
  width: 64
  layers: 1
  feedforward_size: 128
  dropout: 0"""
    return f"""\
trajectory_encoder:
  context_length: {context:<3}           # timesteps that it remembers
  width: 64
  layers: 1
  heads: 4
  feedforward_size: 128
  dropout: 0"""


def _network(side: int) -> str:
    """The smaller of the two networks for pictures, unless they are too small for it."""
    return "nature" if side >= 36 else "impala"


class _Parts(NamedTuple):
    agent: str
    training: str


def _one_scale(found: Facts, context: int) -> _Parts:
    """Ascend the value of a regressing critic: quickest where all returns have one scale."""
    discrete = found.actions == "discrete"
    furthest, n_step, rate, steps, epochs = (
        (100, 5, 0.05, 64, 80) if discrete else (50, 1, 0.01, 8, 50)
    )
    horizon = min(furthest, found.limit or furthest)
    agent = f"""\
agent:
  actor: policy_gradient        # ascends the value; filtered_imitation if returns have many scales
  critic: popart                # regresses returns; two_hot if they have many scales
  discounts: {_discounts(horizon)}       # the last one acts: it sees {horizon} steps ahead
  head_hidden_sizes: [64, 64]
  n_step: {n_step}                     # rewards in a TD target, and
  target_rate: {rate:<4}             # speed of target networks: how fast values spread
  reward_multiplier: 1"""
    training = f"""\
learner:
  batch_size: {_batch(context):<3}               # sub-sequences of context_length timesteps
  updates_per_epoch: 64
  learning_rate: 1.0e-3
  learning_rate_decay: true     # to 0 at the end
  warmup_updates: 100
  weight_decay: 1.0e-4
  gradient_clip: 10
collector:                      # an epoch: actors x steps_per_epoch steps, then the updates
  actors: 16
  steps_per_epoch: {steps}
  epochs: {epochs:<3}                   # {16 * steps * epochs:,} steps: more for a harder task
  warmup_epochs: 4              # before the first update
  exploration: {{first_step_epsilon: [1.0, 0.1], anneal_steps: 200, randomize: false}}
replay: {{capacity: 50000, chunk_length: {2 * context}}}  # timesteps; rollouts are cut"""
    return _Parts(agent, training)


def _any_scale(found: Facts, context: int) -> _Parts:
    """Imitate what a classifying critic finds better: neither loss has the scale of returns."""
    horizon = min(100, found.limit or 100)
    exact = found.actions == "discrete" and found.action_size <= EXACT_UP_TO
    agent = f"""\
agent:
  actor: filtered_imitation     # of what was better than the policy
  critic: two_hot               # returns in classes, so that their scale does not matter
  discounts: {_discounts(horizon)}       # the last one acts: it sees {horizon} steps ahead
  head_hidden_sizes: [64, 64]
  expectation: {"exact  " if exact else "sampled"}          # of the policy's value over actions
  n_step: 10                    # rewards in a TD target, and
  target_rate: 0.05             # speed of target networks: how fast values spread
{_bins(found, horizon)}"""
    training = f"""\
learner:
  batch_size: {_batch(context):<3}               # sub-sequences of context_length timesteps
  updates_per_epoch: 32
  learning_rate: 1.0e-3
  learning_rate_decay: true     # to 0 at the end
  warmup_updates: 100
  weight_decay: 1.0e-4
collector:                      # an epoch: actors x steps_per_epoch steps, then the updates
  actors: 16
  steps_per_epoch: 32
  epochs: 300                   # 153,600 steps: more for a harder task
  warmup_epochs: 4              # before the first update
  exploration: {{anneal_steps: 1000}}
replay: {{capacity: 50000, chunk_length: {2 * context}}}  # timesteps; rollouts are cut"""
    return _Parts(agent, training)


def _batch(context: int) -> int:
    """Sub-sequences of a batch of some 512 timesteps."""
    return max(8, 512 // context)


def _discounts(horizon: int) -> str:
    """One that sees a fifth as far, and one that sees `horizon` (2 at least) timesteps ahead."""
    return f"[{1 - 5 / (5 + max(2, horizon)):.2f}, {1 - 1 / max(2, horizon):.3g}]"


def _bins(found: Facts, horizon: int) -> str:
    """Classes of returns over the range that there can be, as far as random actions tell."""
    low, high = (1.1 * horizon * reward for reward in found.rewards)
    if low == high:
        return "  bins: 64                      # of returns: no reward was seen, so in all orders"
    even = found.dense and found.tasks == 1
    if not even:
        low, high = 10 * low, 10 * high
    spaced = "evenly spaced" if even else "denser near 0"
    return f"""\
  bins: 64                      # classes of returns,
  symlog: {"false" if even else "true "}                 # {spaced}
  value_limit: [{low:.4g}, {high:.4g}]       # between the lowest and highest within the horizon
  reward_multiplier: 1"""
