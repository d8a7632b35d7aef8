"""Batches for a GPU, each made by a thread while the update before is computed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Made = TypeVar("Made")


def one_ahead(make: Callable[[int], Made], numbers: range, device: torch.device) -> Iterator[Made]:
    """`make` of each number in turn, by a thread that is one ahead of the caller.

    On a GPU the thread first waits until the copies of the last are done. Else the host, which is
    ahead of the GPU, would fill its memory with pinned batches of updates that are yet to come.
    """
    copied: torch.cuda.Event | None = None

    def make_when_copied(number: int) -> Made:
        nonlocal copied
        if copied is not None:
            copied.synchronize()
        made = make(number)
        if device.type == "cuda":
            copied = torch.cuda.Event(blocking=True)
            copied.record(torch.cuda.current_stream(device))
        return made

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make_when_copied, numbers[0])
        for number in numbers[1:]:
            made = coming.result()
            coming = pool.submit(make_when_copied, number)
            yield made
        yield coming.result()
