"""Gradient accumulation: a batch's gradient as the sum of those of its parts, for less memory.

Losses are means over transitions, so each part counts by how many it has. What depends on the whole
batch is computed before. Parts draw noise of their own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from amago2.agent.agent import Agent, Metrics
from amago2.agent.batch import PreparedBatch
from amago2.distributed import SingleProcess
from amago2.nets.normalisation import RunningMoments
from amago2.nets.transformer import Transformer

STD, MEAN = "td_target_std", "td_target_mean"
"""A metric that is no mean over transitions, and one that it follows from with mean squares."""
RngOf = Callable[[int], torch.Generator]
"""Makes the generator of a part, the same each time."""


def backward(agent: Agent, parts: Sequence[PreparedBatch], rng_of: RngOf, share: float) -> Metrics:
    """Add `share` times the gradient of a batch, given in parts, to the parameters' gradients.

    Returns the metrics, of which the standard deviation is a mean square until `with_deviation`
    turns it back: so all are means over transitions.
    """
    transitions = [len(part.action_t) for part in parts]
    totals: Metrics = {}
    with whole_batch(agent, parts, rng_of):
        for i, (part, count) in enumerate(zip(parts, transitions, strict=True)):
            weight = count / sum(transitions)
            loss, metrics = agent.loss(part, rng_of(i))
            (loss * (share * weight)).backward(retain_graph=True)  # weights are shared by parts
            del loss  # and with it the part's graph, before the next one's
            metrics[STD] = metrics[STD] ** 2 + metrics[MEAN] ** 2
            for name, value in metrics.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + weight * value
    return totals


def with_deviation(metrics: Metrics) -> Metrics:
    """The metrics with the standard deviation in its mean square's place."""
    variance: Tensor = metrics[STD] - metrics[MEAN] ** 2
    return metrics | {STD: variance.clamp(min=0).sqrt()}


@contextmanager
def whole_batch(agent: Agent, parts: Sequence[PreparedBatch], rng_of: RngOf) -> Iterator[None]:
    """Compute what depends on a whole batch, so that losses of its parts can be asked for.

    Statistics of inputs and of TD targets learn from all parts, and a Transformer's weights are
    derived, once. Metrics are then those of this process alone.
    """
    agent.timestep_encoder.learn_statistics(
        (part.observation, part.reward, part.action, part.tokens) for part in parts
    )
    encoder, group = agent.trajectory_encoder, agent.group
    moments = [module for module in agent.modules() if isinstance(module, RunningMoments)]
    with encoder.same_weights() if isinstance(encoder, Transformer) else nullcontext():
        try:
            for module in moments:
                module.held = module is not agent.popart
            if agent.uses_popart:
                targets = [agent.targets(part, rng_of(i)) for i, part in enumerate(parts)]
                agent.popart.update(torch.cat(targets))
            agent.popart.held, agent.group = True, SingleProcess()
            yield
        finally:
            agent.group = group
            for module in moments:
                module.held = False
