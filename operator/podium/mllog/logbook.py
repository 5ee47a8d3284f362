"""Keeps what matters of a growing log: every MLPerf line (on disk if they get long) and a short tail of the rest."""

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
# torchrun's long report of a worker's failure would push the worker's own output out of the tail
_TORCHRUN_REPORT = re.compile(r"torch[./]distributed[./]elastic.* failed \(exitcode")
_URGENT = frozenset({"run_start", "run_stop"})  # they change a try's state; the rest is progress


class LogBuffer:
    """Rank 0's log of one try. Lines have the timestamps of the container runtime, or none."""

    def __init__(self) -> None:
        self.last_timestamp = ""
        self.ended = False
        self.problem = ""
        self._known_until = ""
        self._lines = 0
        self._reported = False
        self._accumulator = LogAccumulator()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by close()
        self.size_bytes = 0

    def reconnect(self) -> None:
        """Prepare for reading the log again from an earlier line: lines already here are skipped."""
        self._known_until = self.last_timestamp

    def add(self, line: str, timestamp: str = "") -> bool | None:
        """Add one line. Returns None if it changed nothing, True if the change is urgent, False if it is not."""
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
            self._accumulator.add(parsed)
            return parsed.key in _URGENT
        if isinstance(parsed, Problem) and not self.problem:
            self.problem = f"line {parsed.line_number} cannot be read: {parsed.cause}"
        return False

    def _add_to_tail(self, line: str) -> None:
        self._reported = self._reported or _TORCHRUN_REPORT.search(line) is not None
        if line and not self._reported:
            self._tail.append(line[:_TAIL_CHARACTERS])

    def end(self) -> None:
        """Mark the log as complete."""
        self.ended = True

    def restore(self, checkpoint: bytes) -> None:
        """Add the lines of an earlier `checkpoint`."""
        for row in checkpoint.decode(errors="replace").split("\n")[:-1]:
            timestamp, _, line = row.partition(" ")
            self.add(line, timestamp)

    def checkpoint(self) -> bytes:
        """Return everything that `restore` needs."""
        self._spool.seek(0)
        content = self._spool.read()
        self._spool.seek(0, 2)
        return content

    def mlperf_lines(self) -> Iterator[str]:
        """Yield the MLPerf lines as they were printed."""
        for row in self.checkpoint().decode().split("\n")[:-1]:
            yield row.partition(" ")[2]

    @property
    def summary(self) -> LogSummary:
        return self._accumulator.snapshot()

    @property
    def tail(self) -> str:
        """The last lines that are not MLPerf lines, joined."""
        return " | ".join(self._tail)

    def close(self) -> None:
        self._spool.close()
