"""Compare a stored log with what its pod printed: every MLPerf line of either must be in the other."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from podium.kube import LineCutter, read_line
from podium.mllog import SEEN_KEYS, Event, LogBuffer, Sightings, is_mlperf_line, parse_line
from podium.rules.clock import STEP_SECONDS
from podium.stores import Store

_LIMIT = 20 << 20  # bytes of a pod's log; the operator keeps 16 MiB
_LEFT_OUT = b"[podium: "  # the line that stands for what was left out
_FIRST_SECONDS = 30.0  # from the container's start to its first line; a later one is perhaps not the first
_OUT_OF_ORDER_SECONDS = 1.0  # lines of stdout and stderr are out of order by less
_TIME_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Known:
    """What else is known of a pod's log: when its container started, when its lines were seen, and whether result.txt
    may end earlier."""

    started: float | None = None
    seen: Sightings = field(default_factory=Sightings)
    cut: bool = False


def compare_logs(store: Store, pod_log: str, log: str, known: Known) -> Iterator[str]:
    """Yield what is wrong with `log` (result.txt) or with the log of rank 0's pod. Raises StoreError.

    The pod's log may lack its beginning, which its node had rotated away, and what the operator left out of a long one.
    """
    printed, stored = _Printed(), list(_lines_of(store, log))
    try:
        for row in _rows(_unpacked(store, pod_log)):
            printed.add(row)
    except (zlib.error, ValueError) as error:
        yield f"cannot be read: {error}"
        return
    if not printed.size:
        return  # its node no longer had it
    missing, added = Counter(printed.lines) - Counter(stored), Counter(stored) - Counter(printed.lines)
    if known.cut:
        missing &= Counter(_before_last(printed.lines, missing))
    if missing:
        yield f"{missing.total()} MLPerf lines that the pod printed are not in result.txt, such as {_short(missing)}"
    rest = stored
    if printed.rotated(known.started):
        added &= Counter(_before_last(stored[::-1], added))
        rest = stored[len(stored) - len(printed.lines) :]
    if added and not printed.gap:
        yield f"{added.total()} lines of result.txt are not among what the pod printed, such as {_short(added)}"
    if not (missing or added or known.cut or printed.clock_set) and printed.lines != rest:
        yield "has the lines of result.txt in another order"
    yield from _other_times(known.seen, printed)


def _other_times(seen: Sightings, printed: _Printed) -> Iterator[str]:
    """Yield which lines were printed at another time than attempt.json says.

    Without timestamps, this is a local run, which receives a line as soon as it is printed; its clock may be set once.
    """
    what, at_once = "by what attempt.json has seen of it", not printed.has_times and bool(printed.lines)
    ends = [one.received - one.printed for one in (*seen.starts, *seen.stops) if one.received and one.printed]
    for one in seen:
        if one.printed is None:
            continue
        if times := printed.times.get((one.key, one.stamp)):
            near = min(times, key=lambda time: abs(time - (one.printed or 0.0)))
            if abs(near - one.printed) > _TIME_SECONDS:
                yield f"{one.key} was printed at {near:.3f} here, at {one.printed:.3f} {what}"
        elif at_once and one.received is not None and ends:
            late = one.received - one.printed
            if not min(ends) - STEP_SECONDS <= late <= max(ends) + STEP_SECONDS:
                how = f"{abs(late):.1f} s {'after' if late > 0 else 'before'} it was printed on the same machine"
                yield f"{one.key} was received {how}, {what}"


class _Printed:
    """The MLPerf lines of a pod's log."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.has_times = False
        self.times: dict[tuple[str, float], list[float]] = defaultdict(list)  # by key and stamp, where rows have any
        self.size = 0
        self.gap = False
        self.clock_set = False  # whether the clock of its node was set back meanwhile
        self._first: float | None = None  # when the first line was printed
        self._last = 0.0

    def rotated(self, started: float | None) -> bool:
        """Return whether the first lines may be gone."""
        return self._first is not None and (started is None or self._first > started + _FIRST_SECONDS)

    def add(self, row: bytes) -> None:
        self.size += len(row) + 1
        self.gap |= row.startswith(_LEFT_OUT)
        line = read_line(row)
        if line:
            at = line.at / 1e9
            self._first = at if self._first is None else self._first
            self.clock_set |= at < self._last - _OUT_OF_ORDER_SECONDS
            self._last = at
        text = line.text if line else row.decode(errors="replace").rstrip("\r")
        for piece in LogBuffer.pieces(text):
            if is_mlperf_line(piece):
                self.lines.append(piece)
                self.has_times |= line is not None
                if line and any(key in piece for key in SEEN_KEYS) and isinstance(event := parse_line(piece), Event):
                    self.times[event.key, event.time].append(line.at / 1e9)


def _before_last(lines: Sequence[str], other: Mapping[str, int]) -> Sequence[str]:
    """Return the lines before the last one that is not among `other`."""
    last = max((number for number, line in enumerate(lines) if line not in other), default=0)
    return lines[:last]


def _lines_of(store: Store, key: str) -> Iterator[str]:
    for row in _rows(store.chunks(key)):
        if row:
            yield row.decode(errors="replace")


def _rows(chunks: Iterator[bytes]) -> Iterator[bytes]:
    cutter = LineCutter()
    for chunk in chunks:
        yield from cutter.feed(chunk)
    if cutter.rest:
        yield bytes(cutter.rest)


def _unpacked(store: Store, key: str) -> Iterator[bytes]:
    """Yield the content of a gzip file, piece by piece. Raises ValueError if there is more than the operator keeps, and
    zlib.error."""
    unpacker, size = zlib.decompressobj(wbits=31), 0
    for chunk in store.chunks(key):
        rest = chunk
        while rest:
            piece = unpacker.decompress(rest, 1 << 20)
            size += len(piece)
            if size > _LIMIT:
                raise ValueError(f"unpacked, it is larger than {_LIMIT >> 20} MiB")
            yield piece
            rest = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise ValueError("it ends in the middle")


def _short(lines: Counter[str]) -> str:
    line = next(iter(lines))
    return repr(line if len(line) <= 160 else f"{line[:160]}...")
