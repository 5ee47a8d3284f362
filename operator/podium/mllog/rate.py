"""Rates: how much was trained in how many seconds of training, by the stamps of the log's own lines.

That of an attempt is the median of its blocks (`readings.rate`); that of a run with spec.measure is the mean within a
window, whose points are collected here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from podium.mllog.record import Event
from podium.mllog.values import finite_number

POINT_KEYS = frozenset({"tracked_stats", "block_start", "block_stop", "epoch_stop", "eval_start", "eval_stop"})
_PAUSES = {"block_stop": "block_start", "eval_start": "eval_stop"}  # no training from the first to the second
_SPACING = 0.02  # of the time since run_start, between two points that are kept: 670 for a week


class Point(NamedTuple):
    """How much had been trained at one line of the log."""

    elapsed: float  # seconds since run_start
    training: float  # of them, seconds of training
    samples: float  # trained since run_start


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a log that is measured, from `warmup` seconds after run_start on: for `seconds`, or for `samples`."""

    warmup: float
    seconds: float | None = None
    samples: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Samples, or epochs if that is what the log counts, trained in seconds of training.

    Evaluations and other pauses that the log shows do not count.
    """

    trained: float
    seconds: float
    per: Literal["sample", "epoch"] = "sample"
    is_whole: bool = True  # whether the log covers the whole window
    blocks: int | None = None  # how many stretches between two evaluations it is the median of; None: a window's mean

    @property
    def per_second(self) -> float:
        return self.trained / self.seconds

    @property
    def seconds_each(self) -> float:
        """Seconds of training per sample or epoch."""
        return self.seconds / self.trained


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a log so far, oldest first. Later ones are only added, so that nothing has to be copied."""

    _numbers: array[float]
    _length: int

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Point]:
        return (Point(*self._numbers[at : at + 3]) for at in range(0, 3 * self._length, 3))

    def rate(self, window: Window) -> Rate | None:
        """Return the rate within `window`; None if the log does not say twice, after the warm-up, what was trained.

        Both ends are the first points at or after those of the window. Lines behind its end change nothing: an attempt
        that goes on for a moment has the rate that it had when it was ended.
        """
        inside = [point for point in self if point.elapsed >= window.warmup]
        if len(inside) < 2:
            return None
        first, last, is_whole = inside[0], inside[-1], False
        for point in inside[1:]:
            if window.seconds is not None:
                is_whole = point.elapsed >= window.warmup + window.seconds
            elif window.samples is not None:
                is_whole = point.samples >= first.samples + window.samples
            if is_whole:
                last = point
                break
        seconds = last.training - first.training
        return Rate(last.samples - first.samples, seconds, is_whole=is_whole) if seconds > 0 else None


NO_POINTS = Points(array("d"), 0)


class PointRecorder:
    """Collects points in bounded memory; which ones are kept depends only on the lines before them.

    The number of samples is the `samples_count` of a line. A log that has none says with each throughput (samples per
    second) how fast it has trained since the one before.
    """

    def __init__(self, run_start: float | None = None) -> None:
        self._start = run_start
        self._kept: dict[bool, array[float]] = {True: array("d"), False: array("d")}  # by whether samples are counted
        self._latest = {True: Point(0.0, 0.0, -1.0), False: Point(0.0, 0.0, 0.0)}
        self._pause: tuple[str, float] | None = None  # the line that ends it, and when it began
        self._paused = 0.0

    def run_start(self, time: float) -> None:
        """Start the clock; the first time counts."""
        if self._start is None:
            self._start = time

    def add(self, event: Event) -> None:
        """Add a line with one of `POINT_KEYS`."""
        if self._start is None or event.time < self._start:
            return
        if self._pause and event.key == self._pause[0]:
            self._paused += max(0.0, event.time - self._pause[1])
            self._pause = None
        pausing = max(0.0, event.time - self._pause[1]) if self._pause else 0.0
        elapsed = event.time - self._start
        training = elapsed - self._paused - pausing
        samples = finite_number(event.metadata.get("samples_count"))
        throughput = event.value.get("throughput") if isinstance(event.value, dict) else None
        if samples is not None:
            self._point(Point(elapsed, training, samples), counted=True)
        elif (per_second := finite_number(throughput)) is not None and per_second >= 0:
            before = self._latest[False]
            trained = before.samples + per_second * max(0.0, training - before.training)
            self._point(Point(elapsed, training, trained), counted=False)
        if self._pause is None and (end := _PAUSES.get(event.key)):
            self._pause = end, event.time

    def snapshot(self) -> Points:
        """Return the points so far."""
        kept = self._kept[bool(self._kept[True])]
        return Points(kept, len(kept) // 3)

    def _point(self, point: Point, *, counted: bool) -> None:
        """Keep a point if it adds to the latest one, and is not too close to the one kept before."""
        before, kept = self._latest[counted], self._kept[counted]
        if point.elapsed < before.elapsed or point.training < before.training or point.samples <= before.samples:
            return
        self._latest[counted] = point
        if not kept or point.elapsed >= kept[-3] * (1 + _SPACING):
            kept.extend(point)
