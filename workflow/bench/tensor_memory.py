"""Memory of an update, from an account of its tensors: nothing is computed, so any size fits.

The update runs on fake tensors, which have shapes but no content, while a ledger counts every
storage from its making to its end. `measured` is what PyTorch's allocator says of the
same update done in earnest on the CPU; `accounted` is the account of just that.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from amago2.config.schema import AmagoConfig
from amago2.nets import action_values, attention
from workflow.bench import workloads
from workflow.bench.measures import updater


class AllValid(TorchDispatchMode):
    """What depends on content that is not there: masks select all, and every number read is 1."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.nonzero.default:
            mask = args[0]
            each = torch.arange(mask.numel()).view(mask.shape)
            return torch.stack([each.flatten() for _ in mask.shape], 1)
        if func is torch.ops.aten.index.Tensor:
            x, (first, *others) = args
            if first is not None and first.dtype == torch.bool and not others:
                return x.reshape(-1, *x.shape[first.ndim :]).clone()
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1
        return func(*args, **(kwargs or {}))


class Ledger(TorchDispatchMode):
    """Bytes of all storages that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def track(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        where, size = storage._cdata, storage.nbytes()
        if where not in self._alive:
            self._alive.add(where)
            weakref.finalize(storage, self._free, where, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _free(self, where: int, size: int) -> None:
        self._alive.discard(where)
        self.now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.track(leaf)
        return result


@contextlib.contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    """All values at once, and the fused attention."""
    with (
        patch.object(action_values, "in_one_pass", lambda _: True),
        patch.object(attention, "LONGEST_IN_BLOCKS", 0),
    ):
        yield


def accounted_peak(size: str, config: AmagoConfig, gpu: bool = True) -> dict[str, float]:
    """Bytes of an update by part, and at its peak, as on a GPU or on a CPU.

    What a GPU's libraries take for themselves is not in it: context, workspaces, fragmentation.
    """
    agent = workloads.agent(size, config)
    fake = FakeTensorMode()
    with patch.object(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True):
        agent._apply(fake.from_tensor)  # type: ignore[no-untyped-call]
    every = AllValid()  # type: ignore[no-untyped-call]
    with fake, every, _as_on_a_gpu() if gpu else contextlib.nullcontext():
        batch = workloads.batch(size, config, torch.Generator().manual_seed(0))
        given = [*batch.observation.values(), batch.reward, batch.action, batch.terminated]
        _, update = updater(agent, batch)
        with Ledger() as ledger:
            for tensor in (*agent.parameters(), *agent.buffers(), *given):
                ledger.track(tensor)
            update()  # the optimiser's moments are made by the first
            before = ledger.now
            loss, _ = agent.loss(batch, torch.Generator().manual_seed(0))
            kept = ledger.now - before
            del loss, _
            ledger.peak = 0
            update()
        gradients = sum(_bytes(p) for p in agent.parameters() if p.requires_grad)
        parts = {
            "weights and targets": sum(map(_bytes, [*agent.parameters(), *agent.buffers()])),
            "gradients": gradients,
            "moments": 2 * gradients,
            "batch": sum(map(_bytes, given)),
            "kept for backward": kept,
        }
    return {**parts, "temporary": ledger.peak - sum(parts.values()), "peak": ledger.peak}


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def allocator_peak(size: str, config: AmagoConfig) -> int:
    """Bytes at the peak of an update on the CPU, by PyTorch's allocator."""
    agent = workloads.agent(size, config)
    batch = workloads.batch(size, config, torch.Generator().manual_seed(0))
    _, update = updater(agent, batch)
    update()
    held = [*agent.parameters(), *agent.buffers(), *batch.observation.values(), batch.reward]
    held += [batch.action, batch.terminated, batch.time, batch.valid]
    trained = [p for p in agent.parameters() if p.requires_grad]
    before = sum(map(_bytes, held)) + 3 * sum(map(_bytes, trained))  # gradients and moments
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        update()
    result = profile.profiler
    assert result is not None
    assert result.kineto_results is not None
    events = [e for e in result.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return before + peak


def account(size: str, mode: str, recompute_frames: str) -> dict[str, float]:
    """The account of Ind./Ind. at one of the paper's sizes, as on a GPU."""
    over: dict[str, Any] = {"learner": {"precision": "bfloat16"}} if mode == "bfloat16" else {}
    if size == "procgen_memory_hard":
        frames = int(recompute_frames) if recompute_frames else None
        over["timestep_encoder"] = {"recompute_frames": frames}
    return accounted_peak(size, workloads.config(size, "ind_actor_ind_critic", over))


def check(size: str, variant: str, batch: str) -> dict[str, float]:
    """The account of an update that fits this machine beside what the allocator says of it."""
    over: dict[str, Any] = {"learner": {"batch_size": int(batch)}}
    if size == "pixels":
        over["trajectory_encoder"] = {"context_length": 31}
    config = workloads.config(size, variant, over)
    accounted = accounted_peak(size, config, gpu=False)["peak"]
    return {"accounted": accounted, "measured": allocator_peak(size, config)}
