"""Print progress, one line every few seconds: people read a pod's log, and it is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_EVERY_SECONDS = 5.0


class Progress:
    """Counts bytes and files from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = self._total_bytes = self._files = self._total_files = self._kept_bytes = 0

    def begin(self, kept_bytes: int, total_bytes: int, kept_files: int, total_files: int) -> None:
        self._kept_bytes = self._bytes = kept_bytes
        self._total_bytes, self._files, self._total_files = total_bytes, kept_files, total_files
        print(
            f"stage: {total_files:,} files, {size_text(total_bytes)}; {kept_files:,} of them, "
            f"{size_text(kept_bytes)}, are already here",
            flush=True,
        )

    def add(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def file_done(self) -> None:
        with self._lock:
            self._files += 1

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Print a line every few seconds inside the ``with`` block."""
        over, start = threading.Event(), time.monotonic()

        def show() -> None:
            while not over.wait(_EVERY_SECONDS):
                print(self._line(time.monotonic() - start), flush=True)

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _line(self, seconds: float) -> str:
        rate = (self._bytes - self._kept_bytes) / seconds
        left = f", {(self._total_bytes - self._bytes) / rate / 60:.0f} min left" if rate > 0 else ""
        return (
            f"stage: {size_text(self._bytes)} of {size_text(self._total_bytes)}, "
            f"{self._files:,} of {self._total_files:,} files, {size_text(rate)}/s{left}"
        )


def size_text(count: float) -> str:
    """A number of bytes as text: 1,500,000 is "1.5 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
