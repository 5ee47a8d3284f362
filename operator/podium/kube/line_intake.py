"""Gives a sink each line of a log once, whichever connection delivers it."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from podium.kube.log_lines import KnownLines, LogLine
from podium.kube.log_sink import LogSink
from podium.kube.receipts import BEHIND_OTHER


class LineIntake:
    """The lines that one connection delivers, of a log of which others have delivered some."""

    def __init__(
        self, known: KnownLines, sink: LogSink, changed: Callable[[bool], None], *, complete: bool = False
    ) -> None:
        """`changed` is called when the sink has something new: with True if urgent. `complete`: the connection reads
        from the beginning, and what earlier ones have left out may have its place before what they had."""
        self.new = 0  # lines added
        self.is_first = True  # the next line is the first one
        self._known = known
        self._connection = known.connection()
        self._sink = sink
        self._changed = changed
        self._keys = array("q") if complete else None

    def take(self, line: LogLine, receipt: str) -> None:
        """Add a line unless it is known. Raises OSError if there is no room for it."""
        for piece in self._sink.pieces(line.text):
            behind = "" if piece == line.text else BEHIND_OTHER  # a progress bar, which may have begun long ago
            urgent = self.add(line, piece, line.timestamp + receipt + behind)
            if urgent is not None:
                self._changed(urgent)
        self.is_first = False

    def add(self, line: LogLine, piece: str, timestamp: str) -> bool | None:
        """Add a piece of a line unless it is known. Returns what the sink says of it."""
        new = self._connection.new(line.at, piece, first=self.is_first)
        doubtful = new is None and not self.is_first and self._known.is_before(line.at)  # by its time alone
        key = self._sink.key(piece, timestamp) if doubtful or self._keys is not None else None
        if key is not None and self._keys is not None:
            self._keys.append(key)
        if doubtful and key is not None and self._sink.lacks(key):
            new = (line.at, hash(piece))
        if new is None:
            return None
        urgent = self._sink.add(piece, timestamp)
        self._known.take(new)
        self.new += 1
        return urgent

    def end(self) -> None:
        """The connection has come to the end of what is there."""
        if self._keys is not None:
            self._sink.arrange(self._keys)
