"""Three updates of each variant in one process and in two, from the same batches.

Run as `two_ranks.py OUT`.

No noise is drawn in them: no dropout, expectations are exact, and the first critics make the TD
target. The processes are forked before PyTorch has computed anything. Each writes a file,
`single`, `rank0` or `rank1`, with losses, gradients and weights of the variants.
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from amago2.agent import objectives
from amago2.agent.agent import Metrics, make_agent
from amago2.config.schema import AmagoConfig
from amago2.distributed import ProcessGroup, SingleProcess
from amago2.env.spaces import Array
from amago2.env.vector_env import VectorEnv
from amago2.replay.shards import record_type
from amago2.training.learner import Learner
from tests.amago2.toy import Toy, small

VARIANTS: dict[str, dict[str, Any]] = {
    "ind_ind": {"actor": "filtered_imitation", "critic": "two_hot", "filter": "exponential"},
    "ind_dep": {"actor": "filtered_imitation", "critic": "popart"},
    "dep_ind": {"actor": "policy_gradient", "critic": "two_hot"},
    "dep_dep": {"actor": "policy_gradient", "critic": "popart", "n_step": 3},
}
UPDATES = 3
LENGTHS = np.array([6, 2, 3, 6, 2, 2, 3, 4])  # tokens: 13 transitions for one rank, 7 for the other


def config(variant: str) -> AmagoConfig:
    return small(
        agent={**VARIANTS[variant], "expectation": "exact"},
        trajectory_encoder={"dropout": 0.0},
        learner={"warmup_updates": 0},
    )


def batch(record: np.dtype[Any], update: int) -> Array:
    """Records (8, 6), padded to `LENGTHS`."""
    rng = np.random.default_rng(update)
    records = np.zeros((8, 6), record)
    records["observation.o"] = rng.normal(size=(8, 6, 3))
    records["action"] = rng.integers(3, size=(8, 6))
    records["reward"] = rng.normal(3, 2, size=(8, 6))
    records["terminated"] = rng.random((8, 6)) < 0.2
    records["time"] = np.arange(6)
    records[np.arange(6) >= LENGTHS[:, None]] = np.zeros((), record)
    return records


def learn(
    group: SingleProcess, step: Callable[[Learner, np.dtype[Any]], Metrics]
) -> dict[str, Tensor]:
    """Everything worth comparing, by variant."""
    found: dict[str, Tensor] = {}
    envs = VectorEnv(lambda _: Toy(), 1)
    record = record_type(envs.observations, envs.actions)
    for variant in VARIANTS:
        agent = make_agent(config(variant), envs.observations, envs.actions)
        learner = Learner(config(variant), agent, None, group)
        agent.train()
        for update in range(UPDATES):
            for name, value in step(learner, record).items():
                found[f"{variant}.metric.{update}.{name}"] = value
            for name, parameter in agent.named_parameters():
                if parameter.grad is not None:
                    found[f"{variant}.gradient.{update}.{name}"] = parameter.grad.clone()
        for name, value in agent.state_dict().items():
            found[f"{variant}.weight.{name}"] = value.clone()
    return found


def single() -> dict[str, Tensor]:
    return learn(
        SingleProcess(),
        lambda learner, record: learner.step(batch(record, learner.updates), LENGTHS),
    )


def rank() -> dict[str, Tensor]:
    group = ProcessGroup()
    group.use_device("cpu")

    def step(learner: Learner, record: np.dtype[Any]) -> Metrics:
        if group.rank == 0:
            return learner.step(*group.scatter_batch(batch(record, learner.updates), LENGTHS))
        received = group.receive_batch(LENGTHS.max(), record)
        assert received is not None
        return learner.step(*received)

    found = learn(group, step)
    if group.rank:
        assert group.receive_state() is None  # the end
    group.close()
    return found


def main(out: Path) -> None:
    objectives.sample_members = lambda members, size, like, rng: (
        torch.arange(size).view(-1, 1, 1).expand(size, *like.shape)
    )
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    children = []
    for number in range(2):
        if (pid := os.fork()) == 0:
            os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
            save_file(rank(), out / f"rank{number}")
            os._exit(0)
        children.append(pid)
    save_file(single(), out / "single")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    sys.exit(any(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
