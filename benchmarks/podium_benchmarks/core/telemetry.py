"""Progress between evaluations: `tracked_stats` lines, about one a second and at least one per epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.gpu import GpuMeter
from podium_benchmarks.core.mllog import Log, finite

T = TypeVar("T")


class Progress:
    """Sums up loss and samples on the device; copies them to the host only when a line is due.

    Ranks must agree on when that is, since the sums go through a collective: the number of steps to the next line
    comes from rank 0's pace, which the collective carries to all. The counts continue from those of a resumed attempt.

    A line has `throughput` (samples per second over all ranks), `loss`, and where they are known `tokens_per_second`,
    `data_wait_share` (of rank 0's time), `gpu_utilization` (percent, mean over the GPUs) and `energy_joules` (of all
    GPUs since training began).
    """

    def __init__(
        self, log: Log, ranks: Ranks, interval_seconds: float, *, done_samples: int = 0, done_steps: int = 0
    ) -> None:
        self._log, self._ranks, self._interval_seconds = log, ranks, interval_seconds
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=ranks.device)
        self._samples, self._total_samples = 0, done_samples
        self._tokens = 0
        self._steps, self._total_steps = 0, done_steps
        self._steps_per_line = 1
        self._gpu = GpuMeter(ranks.device)
        self._waited_seconds: float | None = None  # for data; None: not measured
        self._since = time.perf_counter()

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; how long the loop waits for them is part of the lines, as a ratio of rank 0's time."""
        batches = iter(batches)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self._waited_seconds = (self._waited_seconds or 0.0) + time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def step(self, loss_sum: torch.Tensor, global_count: int, epoch: float, *, tokens: int = 0) -> None:
        """Add one step: this rank's summed loss and the samples of all ranks; `epoch` is fractional.

        Where samples are made of tokens, `tokens` counts those of all ranks, and the loss is given per token.
        """
        self._loss_sum += loss_sum.detach()
        self._samples += global_count
        self._tokens += tokens
        self._steps += 1
        if self._steps >= self._steps_per_line:
            self.flush(epoch)

    def flush(self, epoch: float) -> None:
        """Write what has gathered since the last line, if anything has."""
        if not self._steps:
            return
        now = time.perf_counter()
        pace = (now - self._since) / self._steps if self._ranks.rank == 0 else 0.0
        reading = self._gpu.read()
        of_gpu = (reading.utilization, reading.joules, 1.0) if reading else (0.0, 0.0, 0.0)
        sums = torch.cat([self._loss_sum.view(1), self._loss_sum.new_tensor([pace, *of_gpu])])
        loss_sum, seconds_per_step, utilization, joules, gpus = dist.sum_over_ranks(sums).tolist()
        self._total_samples += self._samples
        self._total_steps += self._steps
        seconds = seconds_per_step * self._steps
        stats = {
            "throughput": round(self._samples / seconds, 3),
            "loss": finite(loss_sum / (self._tokens or self._samples)),
        }
        if self._tokens:
            stats["tokens_per_second"] = round(self._tokens / seconds, 1)
        if self._waited_seconds is not None:
            stats["data_wait_share"] = round(self._waited_seconds / max(now - self._since, 1e-9), 4)
            self._waited_seconds = 0.0
        if gpus:
            stats["gpu_utilization"] = round(utilization / gpus, 1)
            stats["energy_joules"] = round(joules, 1)
        self._log.event(
            "tracked_stats",
            stats,
            epoch_num=round(epoch, 4),
            samples_count=self._total_samples,
            step=self._total_steps,
        )
        self._steps_per_line = max(1, int(self._interval_seconds / seconds_per_step))
        self._loss_sum.zero_()
        self._samples = self._tokens = self._steps = 0
        self._since = now

    def restart_clock(self) -> None:
        """Leave the time since the last line (an evaluation, loading) out of the throughput."""
        self._since = time.perf_counter()
        self._waited_seconds = None if self._waited_seconds is None else 0.0
