"""Where two documents differ, and how to read those that anybody may have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podium.api import AttemptStatus
from podium.mllog import Sighting, Sightings


def differences(one: object, other: object, place: str) -> Iterator[tuple[str, object, object]]:
    """Yield where two values differ, and both; something that is null is the same as something that is not there."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*map(str, one), *map(str, other)}):
            yield from differences(one.get(key), other.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{place}[{number}]")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        yield f"the length of {place}", len(one), len(other)
    elif one != other or isinstance(one, bool) is not isinstance(other, bool):
        yield place, one, other


def read_status(document: Mapping[str, Any]) -> AttemptStatus | None:
    """Return what a document says of a try; None if it has another form."""
    try:
        return AttemptStatus.model_validate(document)
    except ValueError:
        return None


def read_sightings(seen: Mapping[str, Any]) -> Sightings:
    """Return what attempt.json keeps of when the lines were seen."""
    start, stop = read_sighting("run_start", seen.get("runStart")), read_sighting("run_stop", seen.get("runStop"))
    listed = seen.get("evaluations")
    evaluations = (read_sighting("eval_accuracy", one) for one in (listed if isinstance(listed, list) else ()))
    return Sightings(
        (start,) if start else (), (stop,) if stop else (), tuple(one for one in evaluations if one is not None)
    )


def read_sighting(key: str, one: object) -> Sighting | None:
    document = mapping(one)
    stamp = number(document.get("logged"))
    if stamp is None:
        return None
    printed, received, delay = (number(document.get(name)) for name in ("printed", "received", "maxDelaySeconds"))
    return Sighting(key, stamp, printed, received, delay, str(document.get("observer")))


def number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
