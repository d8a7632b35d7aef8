"""Environment steps, updates, floating-point operations and seconds of a training run.

The seconds are the operations of all updates divided by a rate, plus those of the environment
steps; the rates are those of `params/hardware.yaml`.
"""

from amago2.config.schema import AmagoConfig, RunConfig
from workflow.baselines.config import BaselineConfig, PpoGruConfig, SacConfig
from workflow.estimate import network
from workflow.estimate.hardware import Accelerator, hardware
from workflow.estimate.network import ACTIONS, INPUTS, mlp
from workflow.estimate.resources import is_asynchronous, ranks

EXACT_ACTIONS = 4
"""Actions of a typical environment where expectations are exact."""


def env_steps(config: RunConfig) -> int:
    """Environment steps of all actors."""
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
    flops = flops_per_update(config) / ranks(config)
    processor = hardware().processor
    if config.device == "cpu":
        update_s = flops / (processor.flops * config.threads)
        step_s = processor.step_s.get(config.env.entry_point, processor.other_step_s)
    else:
        gpu = gpu or next(iter(hardware().gpus.values()))
        update_s = flops / gpu.flops + 1 / gpu.updates_per_s
        step_s = 1 / gpu.steps_per_s
    learning, collecting = updates(config) * update_s, env_steps(config) * step_s
    at_once = is_asynchronous(config)
    return processor.start_s + (max(learning, collecting) if at_once else learning + collecting)


def flops_per_update(config: RunConfig) -> float:
    """Floating-point operations of an update, forward and backward through all networks.

    A multiplication and its addition count as two; a backward pass takes twice its forward pass.
    """
    if isinstance(config, PpoGruConfig):
        p = config.ppo
        timesteps = config.collector.actors * p.rollout_steps // p.minibatches
        states = network.timestep_encoder(config.timestep_encoder).multiplications
        states += 6 * p.width * (config.timestep_encoder.output_size + p.width)
        return 6 * timesteps * (states + 2 * mlp([p.width, *p.head_hidden_sizes, ACTIONS]))
    if isinstance(config, SacConfig):  # the actor, two critics, their targets
        return 6 * config.sac.batch_size * 5 * mlp([INPUTS, *config.sac.hidden_sizes, ACTIONS])
    assert isinstance(config, AmagoConfig)
    timesteps = config.learner.batch_size * (config.trajectory_encoder.context_length + 1)
    return 2 * timesteps * (3 * network.encoders(config).multiplications + _heads(config))


def _heads(config: AmagoConfig) -> int:
    """Multiplications of actor and critics in an update, per timestep."""
    a = config.agent
    actors = 4 * network.actor(config)  # forward and backward, and the target's forward
    if a.critic == "popart":
        return actors + 5 * a.num_critics * network.critic(config)
    if a.expectation == "exact":  # every action is evaluated, without gradient
        target_actions = baseline_actions = EXACT_ACTIONS
    else:  # a policy gradient's backward pass goes through its sample
        target_actions = 1
        baseline_actions = 2 if a.actor == "policy_gradient" else a.value_samples
    passes = 3 + target_actions + baseline_actions
    # The first layer's product with the state serves all discounts and actions.
    state = 4 * config.trajectory_encoder.width * a.head_hidden_sizes[0]
    rest = len(a.discounts) * mlp([*a.head_hidden_sizes, a.bins])
    return actors + a.num_critics * (state + passes * rest)
