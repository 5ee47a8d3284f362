"""Where the lines and bytes of a log go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class LogSink(Protocol):
    """Receives the lines of a log, each once."""

    def pieces(self, line: str) -> Sequence[str]:
        """Split a line into the lines to add."""

    def add(self, line: str, timestamp: str = "") -> bool | None:
        """Take one piece, with its timestamp and receipt. Returns None if nothing has changed, True if the change is
        urgent. Raises OSError if there is no room for it."""

    def key(self, line: str, timestamp: str) -> int | None:
        """Return what tells a piece from all others of the log, or None if its place among them does not matter."""

    def lacks(self, key: int) -> bool:
        """Return whether a piece is still to be added although lines with later timestamps were."""

    def arrange(self, keys: Sequence[int]) -> None:
        """Put the pieces into the order in which they were printed: that of `keys`, from the beginning of the log."""

    def end(self) -> None:
        """The log is complete, or its end is lost."""


class LogCopy(Protocol):
    """Receives all bytes of a log, as the API server sends them."""

    def append(self, data: bytes) -> None:
        """Raises OSError if there is no room for them."""

    def close(self) -> None: ...
