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


class BoundedSpool:
    """The beginning and the end of a stream of any length, on disk; in between, a line says how much was left out."""

    def __init__(self, limit: int) -> None:
        """Keep all of a stream of up to `limit` bytes; of a longer one, the first quarter and at least the last 3/8."""
        self.size = 0  # of the whole stream
        self.unread = ""  # why its end could not be read
        self._head = Spool()
        self._older, self._newer = Spool(), Spool()
        self._head_bytes, self._tail_bytes = limit // 4, limit * 3 // 8
        self._left_out = 0

    def append(self, data: bytes) -> None:
        """Add `data` at the end. Raises OSError if the disk is full."""
        self.size += len(data)
        room = max(0, self._head_bytes - self._head.size)
        self._head.append(data[:room])
        data = data[room:]
        while data:
            if self._newer.size >= self._tail_bytes:
                self._left_out += self._older.size
                self._older.close()
                self._older, self._newer = self._newer, Spool()
            room = self._tail_bytes - self._newer.size
            self._newer.append(data[:room])
            data = data[room:]

    def pieces(self) -> Iterator[bytes]:
        """Yield what was kept."""
        yield from self._head.pieces()
        if self._left_out:
            yield f"\n[podium: {self._left_out} bytes were left out here]\n".encode()
        yield from self._older.pieces()
        yield from self._newer.pieces()

    @property
    def kept(self) -> int:
        return self.size - self._left_out

    def close(self) -> None:
        for spool in (self._head, self._older, self._newer):
            spool.close()
