"""The lines of a container's log: cut out of chunks, and recognized when another connection delivers them again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

MAX_LINE = 1 << 20  # bytes kept of a line, from its end: a progress bar may precede what matters
_BEGINNING = 64  # bytes kept of the beginning of a longer line, with its timestamp
_SECOND = 1_000_000_000  # in nanoseconds
_MOST_KNOWN = 8192  # lines remembered one by one; beyond that, only their order counts
_ROW = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)(?:@\S{0,64})?(?: |$)")
_TORN_TIMESTAMP = re.compile(rb"[-\d:.TZ+]*")


class LogLine(NamedTuple):
    """One line as the kubelet writes it."""

    timestamp: str  # in a checkpoint, with the receipt
    at: int  # the same in nanoseconds since 1970
    text: str


def read_line(row: bytes) -> LogLine | None:
    """Read a row with a timestamp; None if it has none, as complaints of the kubelet and pages of proxies."""
    match = _ROW.match(row)
    if match is None:
        return None
    second, fraction, zone = match.groups()
    at = _nanoseconds((second + zone).decode()) + int((fraction or b"").ljust(9, b"0"))
    timestamp = row[: match.end()].decode().rstrip(" ")
    return LogLine(timestamp, at, row[match.end() :].decode(errors="replace").rstrip("\r"))


def is_torn(rest: bytes) -> bool:
    """Return whether an incomplete row may be the beginning of a line."""
    return _ROW.match(rest) is not None or _TORN_TIMESTAMP.fullmatch(rest) is not None


@lru_cache(maxsize=1024)
def _nanoseconds(second: str) -> int:
    try:
        return int(datetime.fromisoformat(second).timestamp()) * _SECOND
    except ValueError:  # such as February 30
        return 0


class LineCutter:
    """Cuts chunks into lines in bounded memory. `rest` is the line that has not ended yet."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes. Of a line longer than `MAX_LINE`, beginning and end are kept, with a
        carriage return in between."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self.rest) + lines[0]
            self.rest.clear()
        self.rest += rest
        if len(self.rest) > 2 * MAX_LINE:
            self.rest[:] = shortened(bytes(self.rest))
        return [shortened(line) for line in lines]


def shortened(line: bytes) -> bytes:
    if len(line) <= _BEGINNING + 1 + MAX_LINE:
        return line
    return line[:_BEGINNING] + b"\r" + line[-MAX_LINE:]


class KnownLines:
    """Recognizes lines that were taken before, when another connection reads the log again from some second on.

    Several lines may have the same time, even the same time and text, and lines of stdout and stderr may be a little
    out of order. So the lines of the last seconds are counted one by one: a line is new if a connection has delivered
    it more often than it was taken. Lines before these seconds are known by their time.
    """

    def __init__(self) -> None:
        self.last = 0  # time of the latest line, in nanoseconds
        self.count = 0  # of lines taken
        self._floor = 0  # every line before this time is known
        self._taken: dict[tuple[int, int], int] = {}
        self._prune_at = 16

    @property
    def since(self) -> str:
        """The whole second from which a connection has to read, for ``sinceTime``; empty: from the beginning."""
        second = self.start // _SECOND
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if second > 0 else ""

    def connection(self) -> KnownConnection:
        """Begin a connection, which reads from `since` on."""
        return KnownConnection(self)

    def times_taken(self, key: tuple[int, int]) -> int:
        return self._taken.get(key, 0)

    def is_before(self, at: int) -> bool:
        return at < self._floor

    def take(self, key: tuple[int, int]) -> None:
        self._taken[key] = self._taken.get(key, 0) + 1
        self.last = max(self.last, key[0])
        self.count += 1
        if len(self._taken) > self._prune_at:
            self._prune()

    @property
    def start(self) -> int:
        """The same in nanoseconds since 1970."""
        return (self.last // _SECOND - 1) * _SECOND

    def _prune(self) -> None:
        self._floor = max(self._floor, self.start)
        self._taken = {key: times for key, times in self._taken.items() if key[0] >= self._floor}
        if len(self._taken) > _MOST_KNOWN:
            self._floor = self.last
            self._taken = {key: times for key, times in self._taken.items() if key[0] >= self._floor}
        self._prune_at = 16 + 2 * len(self._taken)


class KnownConnection:
    """What one connection has delivered of the lines that `KnownLines` counts."""

    def __init__(self, known: KnownLines) -> None:
        self._known = known
        self._delivered: dict[tuple[int, int], int] = {}
        self._prune_at = 16

    def new(self, at: int, text: str, *, first: bool = False) -> tuple[int, int] | None:
        """Return the key to `KnownLines.take` of a line that is new, None for one that is known.

        What is not known of the `first` line of a connection, but older than the latest line, is the rest of a long
        line, which began before the second that was asked for.
        """
        known = self._known
        if known.is_before(at):
            return None
        key = (at, hash(text))
        times = self._delivered[key] = self._delivered.get(key, 0) + 1
        if len(self._delivered) > self._prune_at:
            self._delivered = {k: n for k, n in self._delivered.items() if not known.is_before(k[0])}
            self._prune_at = 16 + 2 * len(self._delivered)
        return None if times <= known.times_taken(key) or (first and at < known.last) else key
