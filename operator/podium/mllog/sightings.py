"""When the lines of the clock and the evaluations were seen, by the container runtime and by the operator."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from podium.mllog.record import Event

if TYPE_CHECKING:
    from podium.mllog.summary import LogSummary

SEEN_KEYS = frozenset({"run_start", "run_stop", "eval_accuracy"})
MAX_EVALUATIONS_SEEN = 256  # of a try: the first and the latest ones, half of each
_MAX_CLOCK_LINES = 8  # of each key
_RECEIPT = re.compile(r"([0-9a-f]{8}):(\d{1,12}\.\d{1,6})(?:\+(\d{1,12}\.\d{1,6}))?(~)?")  # see kube.receipts


class Sighting(NamedTuple):
    """When one line was seen. Times are unix seconds."""

    key: str
    stamp: float  # in the line, by the program
    printed: float | None = None  # when the container runtime received it, on the node's clock
    received: float | None = None  # when the operator received it, on its own clock
    delay: float | None = None  # by which it may have been received late, at most; None if nobody knows
    observer: str = ""  # the stream that received it; two of them have two clocks


@dataclass(frozen=True, slots=True)
class Sightings:
    """What was seen of one log, in the order of the lines."""

    starts: tuple[Sighting, ...] = ()
    stops: tuple[Sighting, ...] = ()
    evaluations: tuple[Sighting, ...] = ()
    left_out: int = 0  # evaluations beyond `MAX_EVALUATIONS_SEEN`

    def start(self, stamp: float | None) -> Sighting | None:
        """Return how the run_start with this stamp was seen."""
        return next((one for one in self.starts if one.stamp == stamp), None)

    def stop(self, stamp: float | None) -> Sighting | None:
        """Return how the run_stop with this stamp was seen."""
        return next((one for one in self.stops if one.stamp == stamp), None)

    def evaluations_of(self, summary: LogSummary) -> list[Sighting]:
        """Return the evaluations of the run that counts; a program that was restarted has logged others before."""
        restarted = summary.run_start_count > 1
        return [one for one in self.evaluations if not (restarted and one.stamp < (summary.run_start or 0.0))]

    def __iter__(self) -> Iterator[Sighting]:
        yield from (*self.starts, *self.evaluations, *self.stops)


class SightingCollector:
    """Collects sightings in bounded memory."""

    def __init__(self) -> None:
        self._clock: dict[str, list[Sighting]] = {"run_start": [], "run_stop": []}
        self._first: list[Sighting] = []
        self._latest: deque[Sighting] = deque(maxlen=MAX_EVALUATIONS_SEEN // 2)
        self._left_out = 0
        self._snapshot: Sightings | None = Sightings()

    def add(self, event: Event, timestamp: str) -> None:
        """Add a line with one of `SEEN_KEYS`. `timestamp` is that of the container runtime, and the receipt."""
        one = _sighting(event, timestamp)
        self._snapshot = None
        if (lines := self._clock.get(event.key)) is not None:
            if len(lines) < _MAX_CLOCK_LINES:
                lines.append(one)
        elif len(self._first) < MAX_EVALUATIONS_SEEN // 2:
            self._first.append(one)
        else:
            self._left_out += len(self._latest) == self._latest.maxlen
            self._latest.append(one)

    def snapshot(self) -> Sightings:
        """Return what was seen so far; the same object until something is added."""
        if self._snapshot is None:
            starts, stops = (tuple(self._clock[key]) for key in ("run_start", "run_stop"))
            self._snapshot = Sightings(starts, stops, (*self._first, *self._latest), self._left_out)
        return self._snapshot


def _sighting(event: Event, timestamp: str) -> Sighting:
    runtime, _, receipt = timestamp.partition("@")
    match = _RECEIPT.fullmatch(receipt)
    observer, received, delay, behind_other = match.groups() if match else ("", None, None, None)
    return Sighting(
        event.key,
        event.time,
        None if behind_other else _unix_seconds(runtime),
        None if received is None else float(received),
        None if delay is None else float(delay),
        observer,
    )


def _unix_seconds(timestamp: str) -> float | None:
    try:
        time = datetime.fromisoformat(timestamp)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
