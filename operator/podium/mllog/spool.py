"""Bytes on their way from a stream to a store: in memory while they are few, then in a temporary file without a name.

Everything may be read in one thread while another one appends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

_IN_MEMORY_BYTES = 8 * 1024  # a thousand logs grow at the same time
_PIECE_BYTES = 64 * 1024


class _Bytes:
    """Bytes at positions, written without gaps."""

    def __init__(self) -> None:
        self._memory = bytearray()
        self._file: BinaryIO | None = None

    def write(self, start: int, data: bytes) -> None:
        """Raises OSError, such as for a full disk; whatever was written then counts for nothing."""
        if self._file is None and start + len(data) <= _IN_MEMORY_BYTES:
            self._memory[start : start + len(data)] = data
        else:
            _write(self._on_disk(), start, data)

    def _on_disk(self) -> BinaryIO:
        if self._file is None:
            file: BinaryIO = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - see close
            try:
                _write(file, 0, bytes(self._memory))
            except OSError:
                file.close()
                raise
            self._file, self._memory = file, bytearray()
        return self._file

    def read(self, start: int, count: int) -> bytes:
        file = self._file
        return bytes(self._memory[start : start + count]) if file is None else os.pread(file.fileno(), count, start)

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        while start < end and (piece := self.read(start, min(_PIECE_BYTES, end - start))):
            yield piece
            start += len(piece)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Spool:
    """A stream that is kept whole."""

    def __init__(self) -> None:
        self.size = 0
        self._bytes = _Bytes()

    def append(self, data: bytes) -> None:
        """Add `data` at the end. Raises OSError, such as for a full disk, and then changes nothing."""
        self._bytes.write(self.size, data)
        self.size += len(data)

    def read(self, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start` on."""
        return self._bytes.read(start, max(0, min(count, self.size - start)))

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are there now, without their newlines."""
        rest = b""
        for piece in self._bytes.pieces(0, self.size):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        if rest:
            yield rest

    def close(self) -> None:
        self._bytes.close()


class BoundedSpool:
    """The beginning and the end of a stream of any length; in between, a line says how much was left out."""

    def __init__(self, limit: int) -> None:
        """Keep all of a stream of up to `limit` bytes; of a longer one, the first quarter and the last three."""
        self.size = 0  # of the whole stream
        self.unread = ""  # why its end could not be read
        self._limit = limit
        self._head_bytes = limit // 4
        self._ring_bytes = limit - self._head_bytes
        self._bytes = _Bytes()

    @property
    def kept(self) -> int:
        return min(self.size, self._limit)

    def append(self, data: bytes) -> None:
        """Add `data` at the end. Raises OSError, such as for a full disk."""
        while data:
            start = self._position(self.size)
            part = data[: (self._head_bytes if self.size < self._head_bytes else self._limit) - start]
            self._bytes.write(start, part)
            self.size += len(part)
            data = data[len(part) :]

    def pieces(self) -> Iterator[bytes]:
        """Yield what was kept."""
        if self.size <= self._limit:
            yield from self._bytes.pieces(0, self.size)
            return
        yield from self._bytes.pieces(0, self._head_bytes)
        yield f"\n[podium: {self.size - self._limit} bytes were left out here]\n".encode()
        oldest = self._position(self.size)
        yield from self._bytes.pieces(oldest, self._limit)
        yield from self._bytes.pieces(self._head_bytes, oldest)

    def _position(self, offset: int) -> int:
        """Return where the byte at `offset` of the stream is kept: the end of the stream goes round in a ring."""
        if offset < self._head_bytes:
            return offset
        return self._head_bytes + (offset - self._head_bytes) % self._ring_bytes

    def close(self) -> None:
        self._bytes.close()


def _write(file: BinaryIO, start: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file.fileno(), data[written:], start + written)
