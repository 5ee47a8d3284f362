"""Times and scores as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit for showing scores, which are kept in minutes."""

    name: str
    heading: str
    per_minute: float
    decimals: int

    def number(self, minutes: float | None) -> str:
        """The number without its unit; "-" for no score."""
        return "-" if minutes is None else f"{minutes * self.per_minute:.{self.decimals}f}"

    def text(self, minutes: float) -> str:
        return f"{self.number(minutes)} {self.name}"


SECONDS, MINUTES = Unit("s", "Seconds", 60, 2), Unit("min", "Minutes", 1, 3)


def unit_for(minutes: Iterable[float | None]) -> Unit:
    """One unit for several scores: minutes, as MLPerf uses, or seconds if every score is below a minute."""
    known = [value for value in minutes if value is not None]
    return SECONDS if known and max(known) < 1 else MINUTES


def duration(seconds: float) -> str:
    """A duration as text: 95 seconds is "1 min 35 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
