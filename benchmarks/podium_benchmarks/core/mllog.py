"""MLPerf log lines (`:::MLLOG {json}`) on the standard output of global rank 0."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from mlperf_logging.mllog.constants import INTERVAL_END, INTERVAL_START, POINT_IN_TIME

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


class Log:
    """Writes one line per event; silent on every rank but the first.

    A line is one write, flushed at once: a reader that follows the stream sees whole lines, in time.
    """

    def __init__(self, *, enabled: bool, stream: TextIO | None = None) -> None:
        self._stream = (stream or sys.stdout) if enabled else None
        self.time_ms: dict[str, int] = {}  # of the latest line of each key

    def start(self, key: str, value: Any = None, *, at_ms: int = 0, **metadata: Any) -> None:
        """An interval begins, now or at a time in milliseconds since 1970."""
        self._write(INTERVAL_START, key, value, metadata, at_ms)

    def end(self, key: str, value: Any = None, **metadata: Any) -> None:
        """An interval ends."""
        self._write(INTERVAL_END, key, value, metadata)

    def event(self, key: str, value: Any = None, **metadata: Any) -> None:
        """A point in time."""
        self._write(POINT_IN_TIME, key, value, metadata)

    def _write(self, event_type: str, key: str, value: Any, metadata: dict[str, Any], at_ms: int = 0) -> None:
        self.time_ms[key] = at_ms or time.time_ns() // 1_000_000
        if self._stream is None:
            return
        caller = sys._getframe(2)  # noqa: SLF001 (the same call as inspect.currentframe, without reading sources)
        line = {
            "namespace": "",
            "time_ms": self.time_ms[key],
            "event_type": event_type,
            "key": key,
            "value": value,
            "metadata": {"file": _short(caller.f_code.co_filename), "lineno": caller.f_lineno, **metadata},
        }
        self._stream.write(f":::MLLOG {json.dumps(line, allow_nan=False)}\n")
        self._stream.flush()


def finite(value: float) -> float | None:
    """`value`, or None (JSON null) for what JSON has no number for."""
    return value if math.isfinite(value) else None


def _short(filename: str) -> str:
    """The path within the package's parent folder: a log should not reveal where the package is installed."""
    path = Path(filename)
    return str(path.relative_to(_PACKAGE_PARENT)) if path.is_relative_to(_PACKAGE_PARENT) else path.name
