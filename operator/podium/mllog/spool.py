"""Bytes that are only appended: in memory while they are few, then in a temporary file without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

_IN_MEMORY_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024


class Spool:
    """May be read in one thread while another one appends."""

    def __init__(self) -> None:
        self.size = 0
        self._memory = bytearray()
        self._file: BinaryIO | None = None

    def append(self, data: bytes) -> None:
        """Add `data` at the end. Raises OSError, such as for a full disk, and then changes nothing."""
        if self._file is None and self.size + len(data) <= _IN_MEMORY_BYTES:
            self._memory += data
        else:
            _write(self._on_disk(), data, self.size)
        self.size += len(data)

    def _on_disk(self) -> BinaryIO:
        if self._file is None:
            file: BinaryIO = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - see close
            try:
                _write(file, bytes(self._memory), 0)
            except OSError:
                file.close()
                raise
            self._file, self._memory = file, bytearray()
        return self._file

    def read(self, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start` on."""
        count = max(0, min(count, self.size - start))
        file = self._file
        return bytes(self._memory[start : start + count]) if file is None else os.pread(file.fileno(), count, start)

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """Yield what is there now from `start` on."""
        end = self.size
        while start < end and (piece := self.read(start, min(_PIECE_BYTES, end - start))):
            yield piece
            start += len(piece)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are there now, without their newlines."""
        rest = b""
        for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        if rest:
            yield rest

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _write(file: BinaryIO, data: bytes, start: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file.fileno(), data[written:], start + written)
