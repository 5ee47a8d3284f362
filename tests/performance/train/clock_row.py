"""What clock.py and clock_detection.py measure: rows of a table, in CPU seconds of one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from podium_benchmarks.core.dist import Ranks

RANKS = 8
RANK = Ranks(rank=0, world_size=RANKS, device=torch.device("cpu"), cores=1)
START, EPOCH, EVALUATION = "start", "epoch", "evaluation"
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """What is done at one of the times; `plain` is another way to do the same, if there is one."""

    when: str
    what: str
    seconds: float
    plain: float | None = None
    part: float = 1.0  # of the real size, in the measurement of `seconds`, beside --part
    plain_part: float = 1.0


def cpu_seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Of this process."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def thread_seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Of this thread: what others prepare meanwhile doesn't count."""
    start = time.thread_time()
    result = work()
    return time.thread_time() - start, result
