"""What the published logs of a benchmark have in common, and how the reference converges; see the YAML files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml
from pydantic import BaseModel, ConfigDict

from podium.rounds.catalog import round_number


class Published(BaseModel):
    """What the closed logs of a benchmark have in common, in the rounds `since` to `until` (no later one yet: "").

    Ratios bound from below: `block` that of the seconds per sample between two evaluations to their median in the log,
    `evaluation` that of an evaluation's duration to its median, `run` that of an attempt's seconds per sample to the
    median of the result's attempts. `evaluated_as` is what is trained in the time of the median evaluation, in samples
    or epochs as the logs count. `throughput` bounds logged throughput divided by that of the stamps. None: the
    published logs scatter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: str
    until: str = ""
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


def published(round_: str, benchmark: str) -> Published | None:
    """Return what the published logs of a round's benchmark have in common, or those of the last round before it."""
    number = round_number(round_)
    for span in _published().get(benchmark, ()):
        if round_number(span.since) <= number and (not span.until or number <= round_number(span.until)):
            return span
    return None


def reference_mean(round_: str, benchmark: str, batch_size: int) -> float | None:
    """Return the epochs or samples in which the reference converges at a batch size; None if there is no point for it.

    Between two batch sizes the mean is interpolated; below the smallest, the smallest one's counts.
    """
    points = _reference_points().get(round_, {}).get(benchmark)
    if not points:
        return None
    sizes = [size for size, _ in points]
    if batch_size > sizes[-1]:
        return None
    at = next(index for index, size in enumerate(sizes) if batch_size <= size)
    (size, mean), (below, mean_below) = points[at], points[max(0, at - 1)]
    if at == 0 or batch_size == size:
        return mean
    return mean_below + (mean - mean_below) * (batch_size - below) / (size - below)


@cache
def _published() -> Mapping[str, tuple[Published, ...]]:
    document = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text())
    return MappingProxyType({name: tuple(map(Published.model_validate, spans)) for name, spans in document.items()})


@cache
def _reference_points() -> Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]:
    document = yaml.safe_load((Path(__file__).parent / "reference-points.yaml").read_text())
    return MappingProxyType(document)
