"""Keeps what matters of a growing log: every MLPerf line (on disk if they get long) and a short tail of the rest."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import starmap

from podium.mllog.parser import is_mlperf_line, parse_line
from podium.mllog.record import START, Event, Problem
from podium.mllog.sightings import SEEN_KEYS, SightingCollector, Sightings
from podium.mllog.spool import Spool
from podium.mllog.summary import LogAccumulator, LogSummary
from podium.text import without_escapes

MAX_MLPERF_BYTES = 64 << 20  # of the MLPerf lines of one try
_MOST_ARRANGED = 1 << 16  # lines; no benchmark prints a tenth of them
_TAIL_LINES = 15
_TAIL_CHARACTERS = 200  # of each line
_MOST_BEFORE_TOKEN = 200  # characters: a rank or a time, but not a progress bar
# torchrun's long report of a worker's failure would push the worker's own output out of the tail
_TORCHRUN_REPORT = re.compile(r"torch[./]distributed[./]elastic.* failed \(exitcode")
_URGENT = frozenset({"run_start", "run_stop"})  # they change a try's state; the rest is progress


class LogBuffer:
    """Rank 0's log of one try. Lines have the timestamps of the container runtime, or none; those of the clock and the
    evaluations also have a receipt (see kube.receipts), which checkpoints keep across restarts of the operator."""

    def __init__(self) -> None:
        self.ended = False
        self.heard: float | None = None  # unix time of the last line that was added
        self.overflow = False  # there were more than MAX_MLPERF_BYTES; the lines beyond were dropped
        self.problem = ""
        self.urgent_bytes = 0  # of the MLPerf lines up to the last one that changed the try's state
        self.arranged = 0  # how often the lines were put into another order
        self._lines = 0
        self._reported = False
        self._accumulator = LogAccumulator()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._sightings = SightingCollector()
        self._rows = Spool()  # each MLPerf line after its timestamp
        self._earlier: list[Spool] = []  # in another order; a thread may still be reading it
        self._known: set[int] | None = None  # hashes of the rows; only once `lacks` is asked

    @property
    def size_bytes(self) -> int:
        """Size of the MLPerf lines with their timestamps."""
        return self._rows.size

    @staticmethod
    def pieces(line: str) -> Sequence[str]:
        """Split a line as a terminal would show it: the MLPerf lines in it, and the last of what was overwritten.

        A progress bar on stderr never ends its line, so the kubelet puts the next line of stdout right behind it.
        """
        if "\r" not in line:
            return [_from_token(line)]
        parts = [part for part in line.split("\r") if part.strip()] or [""]
        found = [_from_token(part) for part in parts if is_mlperf_line(part)]
        return found if is_mlperf_line(parts[-1]) else [*found, parts[-1]]

    def add(self, line: str, timestamp: str = "") -> bool | None:
        """Add one of the `pieces` of a line. Returns None if it changed nothing, True if the change is urgent, False if
        it is not. Raises OSError if there is no room for it on the disk; it may then be added again later."""
        self.heard = time.time()
        if not is_mlperf_line(line):
            self._lines += 1
            self._add_to_tail(line.strip())
            return None
        parsed = parse_line(line, self._lines + 1)
        seen = isinstance(parsed, Event) and parsed.key in SEEN_KEYS
        runtime = timestamp.partition("@")[0]
        row = f"{timestamp if seen else runtime} {line}\n".encode(errors="replace")
        if self.overflow or self.size_bytes + len(row) > MAX_MLPERF_BYTES:
            first, self.overflow = not self.overflow, True
            return True if first else None
        self._rows.append(row)
        self._lines += 1
        if self._known is not None:
            self._known.add(_key(timestamp, line))
        if isinstance(parsed, Event):
            self._accumulator.add(parsed)
            if seen:
                self._sightings.add(parsed, timestamp)
            if parsed.key in _URGENT:
                self.urgent_bytes = self.size_bytes
            return parsed.key in _URGENT
        if isinstance(parsed, Problem) and not self.problem:
            self.problem = f"line {parsed.line_number} cannot be read: {parsed.cause}"
        return False

    def key(self, line: str, timestamp: str) -> int | None:
        """Return what tells an MLPerf line from the others; None for any other line, and if there are too many."""
        if self.overflow or not is_mlperf_line(line):
            return None
        return _key(timestamp, line)

    def lacks(self, key: int) -> bool:
        """Return whether an MLPerf line is not here, although lines with later timestamps are: clocks may step back."""
        if self._known is None:
            self._known = set(starmap(_key, self._stamped_lines()))
        return key not in self._known

    def _stamped_lines(self) -> Iterator[tuple[str, str]]:
        for row in self._rows.lines():
            stamp, _, line = row.decode(errors="replace").partition(" ")
            yield stamp, line

    def arrange(self, keys: Sequence[int]) -> None:
        """Put the MLPerf lines into the order of `keys`. One that is not among them stays behind the one before it."""
        here = list(starmap(_key, self._stamped_lines())) if len(keys) <= _MOST_ARRANGED else []
        if len(here) > _MOST_ARRANGED or here[-len(keys) :] == list(keys):  # the node may have rotated the first away
            return
        places: dict[int, int] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        ranks, rank = [], -1
        for key in here:
            rank = places.get(key, rank)
            ranks.append(rank)
        order = sorted(range(len(here)), key=ranks.__getitem__)
        if order != list(range(len(here))):
            self._reorder(order)

    def _reorder(self, order: Sequence[int]) -> None:
        lines, again = list(self._stamped_lines()), LogBuffer()
        for index in order:
            stamp, line = lines[index]
            again.add(line, stamp)
        self._earlier.append(self._rows)
        self._rows, self._accumulator, self._sightings = again._rows, again._accumulator, again._sightings
        self.problem, self.urgent_bytes = again.problem, again.urgent_bytes
        self.arranged += 1

    def _add_to_tail(self, line: str) -> None:
        self._reported = self._reported or _TORCHRUN_REPORT.search(line) is not None
        if not self._reported and (line := without_escapes(line)):
            self._tail.append(line[:_TAIL_CHARACTERS])

    def end(self) -> None:
        """Mark the log as complete."""
        self.ended = True

    def rows(self, start: int, count: int) -> bytes:
        """Return `count` bytes of the MLPerf lines with their timestamps, from byte `start` on: a checkpoint."""
        return self._rows.read(start, count)

    def mlperf_lines(self) -> Iterator[str]:
        """Yield the MLPerf lines as they were printed."""
        for _, line in self._stamped_lines():
            yield line

    @property
    def summary(self) -> LogSummary:
        return self._accumulator.snapshot()

    @property
    def sightings(self) -> Sightings:
        return self._sightings.snapshot()

    @property
    def tail(self) -> str:
        """The last lines that are not MLPerf lines, joined."""
        return " | ".join(self._tail)

    def close(self) -> None:
        for spool in (self._rows, *self._earlier):
            spool.close()


def last_output(text: str) -> str:
    """Return the last lines of an output, as `LogBuffer.tail` has those of a log."""
    buffer = LogBuffer()
    for line in text.splitlines():
        for piece in buffer.pieces(line):
            buffer.add(piece)
    return buffer.tail


def _key(timestamp: str, line: str) -> int:
    return hash((timestamp.partition("@")[0], line))  # without the receipt


def _from_token(line: str) -> str:
    at = line.find(START)
    return line[at:] if at > _MOST_BEFORE_TOKEN else line
