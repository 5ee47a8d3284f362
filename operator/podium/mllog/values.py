"""Reads the values of log lines, which are untrusted: numbers, qualities, and what any document can hold."""

from __future__ import annotations

import math

MAX_TEXT = 200
MAX_LIST = 100
_MAX_METRICS = 16  # of an evaluation; Mask R-CNN has two
_MAX_INTEGER = (1 << 63) - 1


def quality_of(value: object) -> dict[str, float]:
    """Return the values by metric, or by position for a list: {"#1": .., "#2": ..}."""
    if isinstance(value, list) and len(value) > 1:  # v0.6 Mask R-CNN of Google: [box, mask]
        value = {f"#{place}": number for place, number in enumerate(value[:_MAX_METRICS], start=1)}
    if isinstance(value, dict):
        inner = value.get("accuracy", value)  # v0.6 Mask R-CNN: {"accuracy": {"BBOX": .., "SEGM": ..}}
        if isinstance(inner, dict):
            few = list(inner.items())[:_MAX_METRICS]
            numbers = {str(metric)[:MAX_TEXT]: finite_number(number) for metric, number in few}
            return {metric: number for metric, number in numbers.items() if number is not None}
        value = inner
    number = finite_number(value)
    return {} if number is None else {"eval_accuracy": number}


def finite_number(value: object) -> float | None:
    """Return `value` as a finite number, or None. It may be a string: v0.6 Transformer logs BLEU as one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def integer(value: object) -> int | None:
    """Return `value` as an integer, or None. A 64-bit seed must not pass through a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 1 << 64 else None
    number = finite_number(value)
    return None if number is None or abs(number) >= 1 << 64 else int(number)


def storable(number: int | None) -> int | None:
    """Return `number` within the integers of 64 bits that a status holds."""
    return None if number is None else max(-_MAX_INTEGER, min(_MAX_INTEGER, number))


def plain(value: object) -> object:
    """Return `value` if any document can hold it: finite number, boolean, short text, short list of these; or None."""
    if isinstance(value, list):
        items = [plain(item) for item in value[:MAX_LIST] if not isinstance(item, list)]
        return items if len(items) == len(value) and None not in items else None
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, bool):
        return value
    return value if finite_number(value) is not None else None
