"""What each task contributes to the losses and to their gradients: paper, Section 3, in training.

A measurement: whether it is made changes nothing of a run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from amago2.agent.agent import Agent
from amago2.config.schema import AmagoConfig
from amago2.distributed import SingleProcess
from amago2.replay.batches import make_batch, shuffle_rewards
from amago2.replay.buffer import Replay
from amago2.replay.mixture import Mixture
from amago2.seeding import Stream, numpy_rng, torch_rng

MOST_TASKS = 8
"""With more tasks nothing is measured: each costs a backward pass per loss."""


def measure(
    config: AmagoConfig,
    agent: Agent,
    replay: Replay | Mixture,
    parameters: Sequence[Tensor],
    update: int,
) -> list[tuple[str, str, float]]:
    """Rows name, task, value of a batch that is sampled for it after `update` updates.

    `task_loss_actor` and `task_loss_critic` are the sums of the losses of a task's transitions,
    divided by the number of all transitions: over all tasks they add up to the losses.
    `task_grad_norm_actor` and `task_grad_norm_critic` are the norms of their gradients by all
    learned parameters.
    """
    if len(replay.tasks) > MOST_TASKS:
        return []
    rows: list[tuple[str, str, float]] = []
    with _unchanged(agent):
        losses, task = _losses(config, agent, replay, update)
        for kind, loss in losses.items():
            for i, name in enumerate(replay.tasks):
                part = torch.where(task == i, loss, 0.0).mean()
                found = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
                norm = get_total_norm([g for g in found if g is not None])
                rows += [(f"task_loss_{kind}", name, float(part.detach()))]
                rows += [(f"task_grad_norm_{kind}", name, float(norm))]
    return rows


def _losses(
    config: AmagoConfig, agent: Agent, replay: Replay | Mixture, update: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Losses (M,) of the transitions of a batch, by kind, and the position (M,) of their tasks."""
    seed, size = config.seed, config.learner.batch_size
    counters = (seed, Stream.MEASUREMENT, update)
    tasks = torch.from_numpy(replay.sampled_tasks(numpy_rng(*counters), size))
    context = config.trajectory_encoder.context_length
    records, lengths = replay.sample(numpy_rng(*counters), size, context)
    if config.learner.shuffle_rewards:
        shuffle_rewards(records, lengths, numpy_rng(*counters, 1))
    batch = make_batch(records, lengths, agent.actions)
    task = tasks.unsqueeze(1).expand(batch.valid.shape)[:, 1:][batch.valid[:, 1:]]
    with agent.autocast():
        rng = torch_rng(*counters, device=agent.device)
        actor, critic, _ = agent.loss_terms(agent.prepare(batch), rng)
    return {"actor": actor.mean(-1), "critic": critic.mean((0, -1))}, task.to(agent.device)


@contextmanager
def _unchanged(agent: Agent) -> Iterator[None]:
    """Restore the agent's running statistics, which a forward pass in training mode moves."""
    before = [(buffer, buffer.clone()) for buffer in agent.buffers()]
    group, training = agent.group, agent.training
    agent.set_process_group(SingleProcess())  # the other ranks do not take part
    agent.train()
    try:
        yield
    finally:
        agent.set_process_group(group)
        agent.train(training)
        for buffer, value in before:
            buffer.copy_(value)
