"""What the published logs of a benchmark have in common."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict


class Published(BaseModel):
    """What the published closed logs of a benchmark have in common; in a round without results, of the round before.

    Source: all logs of mlcommons/training_results_v0.5 to v5.1 (21,795 logs, November 2026). Sizes of data sets are
    every value that a closed log has, where they are few. Intervals of evaluations are those of the round's rules,
    wider where its logs are: 99.5 % of them keep each.

    Ratios are below the smallest published one, unless fewer than 0.5 % of the logs are smaller; there is none where
    logs of one process and of many hosts differ by more than that. They bound from below: `block` that of the seconds
    per sample between two evaluations to their median in the log, `evaluation` that of an evaluation's duration to its
    median, `run` that of an attempt's seconds per sample to the median of the result's attempts. `evaluated_as` is what
    is trained in the time of the median evaluation, in samples or epochs as the logs count: a fifth of the smallest
    published one. `throughput` bounds logged throughput divided by that of the stamps. None: logs scatter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_samples: tuple[int, ...] = ()
    eval_samples: tuple[int, ...] = ()
    block: float | None = None
    evaluation: float | None = None
    evaluated_as: float | None = None
    run: float | None = None
    throughput: tuple[float, float] | None = None
    every_samples: int | None = None  # between two evaluations at most, rounded up to a batch
    every_steps: int | None = None  # or this many steps, if that is more
    every_epochs: float | None = None
    regular: float | None = None  # longest interval between two evaluations, divided by their median, at most
    first: float | None = None  # first evaluation, in intervals, at most
    first_per_batch: float = 0.0  # plus this many for each sample of the batch
    fewest: float | None = None  # of the evaluations due, at least this ratio is logged; a late first one is no breach
    evaluated_offline: bool = False  # after the clock stops
    repeats_evaluations: bool = False  # at one point, with other values
    consecutive_epochs: bool = True

    def interval(self, batch_size: int | None) -> float | None:
        """Return the longest allowed training between two evaluations, in samples or epochs; None if there is none."""
        if self.every_samples is None:
            return self.every_epochs
        if not batch_size or batch_size < 0:
            return self.every_samples
        steps = max(math.ceil(self.every_samples / batch_size), self.every_steps or 0)
        return float(steps * batch_size)

    def first_within(self, interval: float, batch_size: int | None) -> float | None:
        """Return the last point at which the first evaluation is on time, in the unit of `interval`."""
        if self.first is None:
            return None
        return math.floor(self.first + self.first_per_batch * (batch_size or 0)) * interval
