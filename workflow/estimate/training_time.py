"""Environment steps, updates, floating-point operations and seconds of a training run.

The seconds are the operations of all updates divided by a rate, plus those of the environment
steps; the rates are those of `params/hardware.yaml`. With a GPU an update takes at least what the
host takes for it, and environments are stepped by the cores that the run is given.
"""

import math

from amago2.config.schema import AmagoConfig, ImageEncoderConfig, RunConfig
from amago2.footprint import valued_actions
from workflow.baselines.config import BaselineConfig, PpoGruConfig, SacConfig
from workflow.estimate import network
from workflow.estimate.evaluations import evaluation_steps
from workflow.estimate.hardware import Accelerator, Precision, hardware
from workflow.estimate.network import INPUTS, mlp
from workflow.estimate.resources import is_asynchronous, ranks
from workflow.estimate.shapes import shapes, simulated

MOST_WORKERS = 11
"""Cores for the environments of a run on a GPU; with the trainer's own, 12."""
STEPPING_SHARE = 0.25
"""Of the time of the updates, which stepping the environments shall take at most."""


def env_steps(config: RunConfig) -> int:
    """Environment steps of all actors; none if a run learns from data alone."""
    if isinstance(config, AmagoConfig) and not config.online:
        return 0
    return config.collector.actors * config.collector.steps_per_epoch * config.collector.epochs


def updates(config: RunConfig) -> int:
    """Gradient steps."""
    if isinstance(config, BaselineConfig):
        return config.updates
    assert isinstance(config, AmagoConfig)
    learning_epochs = max(0, config.collector.epochs - config.collector.warmup_epochs)
    return config.learner.updates_per_epoch * learning_epochs


def estimated_seconds(config: RunConfig, gpu: Accelerator | None = None) -> float:
    """Rough seconds of a run on the processor that was measured, or on a GPU (the table's first).

    Communication between processes is taken to cost nothing.
    """
    start_s = hardware().processor.start_s
    if config.device == "cpu":
        return start_s + _seconds_on_cpu(config)
    gpu = gpu or next(iter(hardware().gpus.values()))
    learning = updates(config) * update_seconds(config, gpu)
    rows, cores = config.collector.actors, workers(config)
    collecting = env_steps(config) / rows * step_seconds(config, rows, cores)
    rows = config.evaluation.actors
    evaluating = evaluation_steps(config) / rows * step_seconds(config, rows, cores)
    together = max(learning, collecting) if is_asynchronous(config) else learning + collecting
    return start_s + together + evaluating


def workers(config: RunConfig) -> int:
    """Cores for the environments of a run on a GPU, so that its updates seldom wait for them."""
    gpu = next(iter(hardware().gpus.values()))
    limit = STEPPING_SHARE * updates(config) * update_seconds(config, gpu)
    actors = config.collector.actors
    most = min(actors, MOST_WORKERS)
    for cores in range(1, most):
        if env_steps(config) / actors * step_seconds(config, actors, cores) <= limit:
            return cores
    return most


def _seconds_on_cpu(config: RunConfig) -> float:
    """Evaluations are in the seconds of a step."""
    processor = hardware().processor
    flops = flops_per_update(config) / ranks(config)
    learning = updates(config) * flops / (processor.flops * config.threads)
    step_s = processor.step_s.get(config.env.name, processor.other_step_s)
    collecting = env_steps(config) * step_s
    return max(learning, collecting) if is_asynchronous(config) else learning + collecting


def update_seconds(config: RunConfig, gpu: Accelerator) -> float:
    """Of an update on a GPU: what takes longest of its computing, its launching, and its batch."""
    host = hardware().host
    computing = flops_per_update(config) / ranks(config) / gpu.rate(precision(config))
    return max(computing, host.update_s, batch_bytes(config) / host.batch_bytes_per_s)


def precision(config: RunConfig) -> Precision:
    """Of matrix products on a GPU: TF32, where the card has it, unless another one is set."""
    chosen = config.learner.precision if isinstance(config, AmagoConfig) else None
    return chosen or "tfloat32"


def batch_bytes(config: RunConfig) -> int:
    """Read from replay for an update."""
    if not isinstance(config, AmagoConfig):
        return 0
    timesteps = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    return timesteps * shapes(config).record_bytes


def step_seconds(config: RunConfig, rows: int, cores: int) -> float:
    """Of a step of `rows` environments on some cores, and of the policy, with a GPU."""
    host = hardware().host
    each = host.step_s.get(simulated(config), host.other_step_s)
    return host.act_s + each * math.ceil(rows / cores)


def flops_per_update(config: RunConfig) -> float:
    """Floating-point operations of an update, forward and backward through all networks.

    A multiplication and its addition count as two; a backward pass takes twice its forward pass.
    """
    if isinstance(config, PpoGruConfig):
        p = config.ppo
        timesteps = config.collector.actors * p.rollout_steps // p.minibatches
        states = network.timestep_encoder(config.timestep_encoder).multiplications
        states += 6 * p.width * (config.timestep_encoder.output_size + p.width)
        return (
            6
            * timesteps
            * (states + 2 * mlp([p.width, *p.head_hidden_sizes, shapes(config).actions]))
        )
    if isinstance(config, SacConfig):  # the actor, two critics, their targets
        return (
            6
            * config.sac.batch_size
            * 5
            * mlp([INPUTS, *config.sac.hidden_sizes, shapes(config).actions])
        )
    assert isinstance(config, AmagoConfig)
    timesteps = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    encoders = 3 * network.encoders(config).multiplications + _recomputed(config)
    return 2 * timesteps * (encoders + _heads(config))


def _recomputed(config: AmagoConfig) -> int:
    """Multiplications of the images' second forward pass, if there is one, per timestep."""
    e = config.timestep_encoder
    if not isinstance(e, ImageEncoderConfig) or e.recompute_frames is None:
        return 0
    return network.timestep_encoder(e, shapes(config).image).multiplications


def _heads(config: AmagoConfig) -> int:
    """Multiplications of actor and critics in an update, per timestep."""
    a = config.agent
    actors = 4 * network.actor(config)  # forward and backward, and the target's forward
    if network.has_table(config):
        return actors + 4 * a.num_critics * network.critic(config)
    valued = valued_actions(config, shapes(config))
    if a.expectation == "exact" and shapes(config).discrete:  # without gradient
        passes = 3 + 2 * valued
    else:  # one for the target; a policy gradient's backward pass goes through its samples
        passes = 3 + 1 + valued * (2 if a.actor == "policy_gradient" else 1)
    # The first layer's product with the state serves all discounts and actions.
    state = 4 * config.trajectory_encoder.width * a.head_hidden_sizes[0]
    outputs = a.bins if a.critic == "two_hot" else 1
    rest = len(a.discounts) * mlp([*a.head_hidden_sizes, outputs])
    return actors + a.num_critics * (state + passes * rest)
