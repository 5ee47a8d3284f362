"""Format numbers for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of time, `seconds` long."""

    name: str
    plural: str
    seconds: float

    def text(self, seconds: float | None) -> str:
        """The number in this unit, with four significant digits or more before the point; "" for None."""
        return "" if seconds is None else digits(seconds / self.seconds)


SECONDS, MINUTES, HOURS = Unit("s", "seconds", 1), Unit("min", "minutes", 60), Unit("h", "hours", 3600)


def unit_for(seconds: Iterable[float]) -> Unit:
    """One unit for several times: minutes, as MLPerf uses, unless the longest is very short or very long."""
    longest = max(seconds, default=60.0)
    if longest < 120:
        return SECONDS
    return MINUTES if longest < 48 * 3600 else HOURS


def digits(value: float, significant: int = 4) -> str:
    """1234.5 is "1,234", 93.456 is "93.46", 0.075 is "0.07500"."""
    exponent = int(f"{value:.{significant - 1}e}".rpartition("e")[2])
    return f"{value:,.{min(6, max(0, significant - 1 - exponent))}f}" if value else "0"


def brief(seconds: float | None) -> str:
    """A time in seconds, or in minutes from two minutes on."""
    if seconds is None:
        return ""
    return f"{digits(seconds, 3)} s" if seconds < 120 else f"{digits(seconds / 60, 3)} min"


def percent(ratio: float | None) -> str:
    """A ratio in percent with one decimal; below 0.05 %, one significant digit, so that it does not look like zero."""
    if ratio is None:
        return ""
    return f"{100 * ratio:.1g} %" if 0 < ratio < 0.0005 else f"{100 * ratio:.1f} %"


def energy(joules: float | None) -> str:
    """An energy in watt-hours or their multiples, as on a bill; in joules below one watt-hour."""
    if joules is None:
        return ""
    for name, size in (("MWh", 3.6e9), ("kWh", 3.6e6), ("Wh", 3.6e3)):
        if joules >= size:
            return f"{digits(joules / size)} {name}"
    return f"{digits(joules)} J"


def quality_text(values: Mapping[str, float]) -> str:
    """The values as text, with a slash between those of two metrics."""
    return " / ".join(f"{value:.4f}" if abs(value) <= 1 else digits(value) for value in values.values())
