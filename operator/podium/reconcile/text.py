"""Reads numbers and times that stand in a status as text, which anybody with rights on it may have written."""

from __future__ import annotations

import math

from podium.api import unix_seconds


def known_time(text: str | None) -> float | None:
    """Return the unix time of an RFC 3339 timestamp; None for any other text."""
    try:
        return unix_seconds(text) if text else None
    except (ValueError, OverflowError):
        return None


def known_number(text: str | None) -> float | None:
    """Return a finite number; None for any other text."""
    try:
        number = float(text) if text else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
