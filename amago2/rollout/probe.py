"""Can the task be read from what the policy remembers? A linear probe of its hidden states.

The policy acts in evaluation rollouts. At timesteps 0, 1, 2, 4, 8, ... of each rollout two vectors
are kept: what enters the actor (`memory`, the trajectory encoder's output) and, as a control, what
the timestep encoder makes of that timestep alone (`input`). A classifier of the task is fitted on
one half of the rollouts and judged on the other, for each timestep and vector by itself.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amago2.env.vector_env import VectorEnv
from amago2.rollout.evaluate import RolloutStep, evaluate

SOURCES = ("memory", "input")
HiddenStates = dict[int, dict[int, tuple[Tensor, ...]]]
"""By timestep and rollout: one vector (D,) for each of `SOURCES`."""


@dataclass(frozen=True)
class ProbeRow:
    """The probe of one timestep and vector."""

    split: str
    source: str
    timestep: int
    """Steps since the rollout began."""
    accuracy: float
    """Share of the second half's rollouts whose task is named."""
    chance: float
    """The same for always naming the task that is most frequent in the first half."""
    tasks: int
    """That still have rollouts going on."""
    rollouts: int
    """In the second half."""


def probe(
    agent: nn.Module,
    envs: VectorEnv,
    split: str,
    rollouts: int,
    penalty: float,
    seed: int,
    counter: int,
) -> list[ProbeRow]:
    """Probe an agent with a `timestep_encoder` and an `actor`, in `rollouts` rollouts of a task.

    Timesteps that rollouts of fewer than two tasks reach are left out. For `penalty` see
    `fit_predict`; `counter` numbers the evaluations of a run.
    """
    hidden = _record_hidden_states(agent, envs, split, rollouts, seed, counter)
    rows = []
    for timestep, vectors in sorted(hidden.items()):
        numbers = sorted(vectors)
        task = torch.tensor([number // rollouts for number in numbers])
        first = torch.tensor([number % rollouts % 2 == 0 for number in numbers])
        if len(task[first].unique()) < 2 or not len(task[~first]):
            continue
        chance = float((task[~first] == task[first].mode().values).double().mean())
        for source, name in enumerate(SOURCES):
            x = torch.stack([vectors[number][source] for number in numbers]).double()
            named = fit_predict(x[first], task[first], x[~first], penalty)
            right = float((named == task[~first]).double().mean())
            counts = len(task.unique()), len(task[~first])
            rows.append(ProbeRow(split, name, timestep, right, chance, *counts))
    return rows


def _record_hidden_states(
    agent: nn.Module, envs: VectorEnv, split: str, rollouts: int, seed: int, counter: int
) -> HiddenStates:
    """Evaluate, and record the vectors at the probed timesteps."""
    last: dict[str, Tensor] = {}
    hidden: HiddenStates = defaultdict(dict)

    def record(steps: Sequence[RolloutStep]) -> None:
        for row, rollout, timestep in steps:
            if timestep & (timestep - 1) == 0:  # 0 and the powers of two
                vectors = tuple(last[name].flatten(1)[row].cpu().clone() for name in SOURCES)
                hidden[timestep][rollout] = vectors

    hooks = [
        agent.get_submodule("actor").register_forward_pre_hook(
            lambda _, x: last.update(memory=x[0])
        ),
        agent.get_submodule("timestep_encoder").register_forward_hook(
            lambda _, x, y: last.update(input=y)
        ),
    ]
    try:
        evaluate(agent, envs, split, rollouts, seed, counter, record)  # type: ignore[arg-type]
    finally:
        for hook in hooks:
            hook.remove()
    return hidden


def fit_predict(x: Tensor, y: Tensor, other: Tensor, penalty: float) -> Tensor:
    """Classes (K,) that a multinomial logistic regression fitted on x (M, D), y (M,) gives `other`.

    It minimises the mean cross-entropy plus penalty / 2 times the sum of squared weights, biases
    free, over inputs standardised by x's mean and deviation: a convex problem, solved by L-BFGS
    from zero. x and other (K, D) are float64.
    """
    classes = y.unique()
    label = torch.searchsorted(classes, y)
    mean, std = x.mean(0), x.std(0, correction=0)
    scale = torch.where(std > 1e-8, std, 1.0)
    x, other = (x - mean) / scale, (other - mean) / scale
    weight = torch.zeros(x.shape[1], len(classes), dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(len(classes), dtype=x.dtype, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(x @ weight + bias, label) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return classes[(other @ weight.detach() + bias.detach()).argmax(1)]
