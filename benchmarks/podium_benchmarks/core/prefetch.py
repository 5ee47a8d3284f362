"""Samples made by threads while the batches before them are in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from podium_benchmarks.core.dist import Ranks

PREFETCHED_BATCHES = 2
T, R = TypeVar("T"), TypeVar("R")


def thread_pool(ranks: Ranks) -> ThreadPoolExecutor:
    """A thread for each of this rank's cores: Pillow and torch work outside Python's lock.

    Each leaves torch one thread: more threads than cores slow the main one down two times.
    """
    return ThreadPoolExecutor(ranks.cores, initializer=torch.set_num_threads, initargs=(1,))


def prefetched(
    threads: ThreadPoolExecutor, make: Callable[[T], R], batches: Sequence[Sequence[T]]
) -> Iterator[list[R]]:
    """Each batch's items as `make` returns them, in order."""
    waiting: deque[list[Future[R]]] = deque()
    ahead = iter(batches)
    for _ in range(len(batches)):
        while len(waiting) <= PREFETCHED_BATCHES and (batch := next(ahead, None)) is not None:
            waiting.append([threads.submit(make, item) for item in batch])
        yield [item.result() for item in waiting.popleft()]


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device that the host doesn't wait for; itself if it is there."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type != tensor.device.type else tensor
