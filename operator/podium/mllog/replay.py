"""A stored log, to be printed again with other stamps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from podium.mllog.record import Event


def replayed(
    events: Iterable[Event], start: float, speed: float = 1.0, values: Mapping[str, Any] | None = None
) -> Iterator[tuple[float, str]]:
    """Yield each line with the unix time at which to print it: the first at `start`, all `speed` times as fast.

    `values` replace those of the log, by key; a throughput is multiplied by `speed`. Stamps are milliseconds with
    fractions: the time between two lines is that of the log, divided by `speed`.
    """
    first: float | None = None
    for event in events:
        first = event.time if first is None else first
        at = start + (event.time - first) / speed
        value = (values or {}).get(event.key, event.value)
        if isinstance(value, dict) and isinstance(value.get("throughput"), int | float):
            value = {**value, "throughput": value["throughput"] * speed}
        line = {"namespace": "", "time_ms": at * 1000, "event_type": "POINT_IN_TIME", "key": event.key,
                "value": value, "metadata": dict(event.metadata)}  # fmt: skip
        yield at, f":::MLLOG {json.dumps(line)}"
