"""What is kept of one log while it grows: every MLPerf line (on disk when it gets long), a short tail of the rest."""

from __future__ import annotations

import re
import tempfile
from collections import deque
from collections.abc import Iterator

from podium.mllog.parser import is_mlperf_line, parse_line
from podium.mllog.record import Event, Problem
from podium.mllog.summary import LogAccumulator, LogSummary

_TAIL_LINES = 15
_TAIL_CHARACTERS = 200  # of each line
_IN_MEMORY_BYTES = 64 * 1024
# torchrun's long report of a worker's failure would push the worker's own words out of the tail
_TORCHRUN_REPORT = re.compile(r"torch[./]distributed[./]elastic.* failed \(exitcode")
_URGENT = frozenset({"run_start", "run_stop"})  # they change a try's state; the rest is progress


class LogBuffer:
    """One try's log of rank 0. Lines come with the timestamps of the container runtime, or without any."""

    def __init__(self) -> None:
        self.last_timestamp = ""
        self.ended = False
        self.problem = ""
        self._known_until = ""
        self._lines = 0
        self._reported = False
        self._folder = LogAccumulator()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - lives as long as the book
        self.size_bytes = 0

    def reconnect(self) -> None:
        """The log is going to be read again, from some earlier line on: those already here are skipped."""
        self._known_until = self.last_timestamp

    def add(self, line: str, timestamp: str = "") -> bool | None:
        """Take one line. Returns whether it changed anything: None for no, False, or True for what cannot wait."""
        if timestamp:
            if timestamp <= self._known_until:
                return None
            self.last_timestamp = max(self.last_timestamp, timestamp)
        self._lines += 1
        if not is_mlperf_line(line):
            self._add_to_tail(line.strip())
            return None
        self.size_bytes += self._spool.write(f"{timestamp} {line}\n".encode(errors="replace"))
        parsed = parse_line(line, self._lines)
        if isinstance(parsed, Event):
            self._folder.add(parsed)
            return parsed.key in _URGENT
        if isinstance(parsed, Problem) and not self.problem:
            self.problem = f"line {parsed.line_number} is not readable: {parsed.cause}"
        return False

    def _add_to_tail(self, line: str) -> None:
        self._reported = self._reported or _TORCHRUN_REPORT.search(line) is not None
        if line and not self._reported:
            self._tail.append(line[:_TAIL_CHARACTERS])

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True

    def restore(self, checkpoint: bytes) -> None:
        """Take the lines of an earlier `checkpoint`."""
        for row in checkpoint.decode(errors="replace").split("\n")[:-1]:
            timestamp, _, line = row.partition(" ")
            self.add(line, timestamp)

    def checkpoint(self) -> bytes:
        """Everything that `restore` needs."""
        self._spool.seek(0)
        content = self._spool.read()
        self._spool.seek(0, 2)
        return content

    def mlperf_lines(self) -> Iterator[str]:
        """The MLPerf lines as they were printed."""
        for row in self.checkpoint().decode().split("\n")[:-1]:
            yield row.partition(" ")[2]

    @property
    def summary(self) -> LogSummary:
        return self._folder.snapshot()

    @property
    def tail(self) -> str:
        """The last ordinary lines, joined."""
        return " | ".join(self._tail)

    def close(self) -> None:
        self._spool.close()
