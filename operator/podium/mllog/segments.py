"""How fast a log trains and evaluates: one segment from each evaluation to the next, by the log's own stamps."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_SEGMENTS = 10_000


@dataclass(frozen=True, slots=True)
class Segment:
    """The training before one evaluation, and that evaluation.

    `trained` is what was trained since the evaluation before, in samples or, unless `in_samples`, in epochs.
    `throughput` is the mean of the values logged meanwhile (samples per second); None if there are none.
    """

    trained: float
    in_samples: bool
    train_seconds: float
    eval_seconds: float
    throughput: float | None


@dataclass(slots=True)
class _Open:
    """An evaluation whose end is not known yet."""

    start: float
    ended: float | None
    epoch: float | None
    samples: float | None


class SegmentRecorder:
    """Folds the lines of evaluations and throughput into segments; cheap for every such line."""

    def __init__(self, run_start: float | None = None) -> None:
        self._segments: list[Segment] = []
        self._since = run_start  # the end of the evaluation before, or run_start
        self._epoch: float | None = 0.0
        self._samples: float | None = 0.0
        self._open: _Open | None = None
        self._resumed: float | None = None  # training that goes on while an evaluation runs
        self._throughput, self._throughput_count = 0.0, 0

    def run_start(self, time: float) -> None:
        """Begin the first segment."""
        if self._since is None:
            self._since = time

    def train_start(self, time: float) -> None:
        """Begin a block or an epoch. Some systems do it while other processes still evaluate (RetinaNet in v5.1)."""
        if self._open and self._open.ended is None and self._resumed is None:
            self._resumed = time

    def eval_start(self, time: float, epoch: float | None, samples: float | None) -> None:
        """Begin an evaluation; several processes may log it, and the first one counts."""
        if self._open and self._open.ended is not None:
            self._close(self._open.ended)
        if self._open is None:
            self._open = _Open(time, None, epoch, samples)

    def eval_accuracy(self, time: float, epoch: float | None, samples: float | None) -> None:
        """Record the result of an evaluation. Not every log has eval_start and eval_stop around it."""
        now = self._open
        if now is None and self._segments and (epoch, samples) == (self._epoch, self._samples):
            self._since = time  # the result of an evaluation that has ended already
            return
        if now and now.ended is not None and (epoch, samples) != (now.epoch, now.samples):
            self._close(now.ended)
            now = None
        if now is None:
            now = self._open = _Open(time, time, epoch, samples)
        now.ended = time
        now.epoch, now.samples = (now.epoch if epoch is None else epoch), (now.samples if samples is None else samples)

    def eval_stop(self, time: float) -> None:
        """End an evaluation."""
        if self._open:
            self._close(time)

    def throughput(self, value: float) -> None:
        """Record a logged throughput, in samples per second."""
        self._throughput += value
        self._throughput_count += 1

    def segments(self) -> tuple[Segment, ...]:
        """Return the segments so far, oldest first."""
        pending = self._segment(self._open, self._open.ended) if self._open and self._open.ended else None
        return (*self._segments, pending) if pending else tuple(self._segments)

    def _close(self, end: float) -> None:
        assert self._open is not None
        segment = self._segment(self._open, end)
        if segment and len(self._segments) < _MAX_SEGMENTS:
            self._segments.append(segment)
        self._since = end if self._resumed is None else self._resumed
        self._epoch, self._samples = self._open.epoch, self._open.samples
        self._open, self._resumed = None, None
        self._throughput, self._throughput_count = 0.0, 0

    def _segment(self, now: _Open, end: float) -> Segment | None:
        """Return the segment that `now` completes; None if the log does not say how much was trained in it."""
        if self._since is None:
            return None
        in_samples = now.samples is not None and self._samples is not None
        if in_samples:
            trained = (now.samples or 0.0) - (self._samples or 0.0)
        elif now.epoch is not None and self._epoch is not None:
            trained = now.epoch - self._epoch
        else:
            return None
        mean = self._throughput / self._throughput_count if self._throughput_count else None
        return Segment(trained, in_samples, now.start - self._since, end - now.start, mean)
