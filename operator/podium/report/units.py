"""Numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of time; `seconds` of it make one."""

    name: str
    plural: str
    seconds: float

    def text(self, seconds: float | None) -> str:
        """Four significant digits, never fewer than the whole units."""
        return "" if seconds is None else digits(seconds / self.seconds)


SECONDS, MINUTES, HOURS = Unit("s", "seconds", 1), Unit("min", "minutes", 60), Unit("h", "hours", 3600)


def unit_for(seconds: Iterable[float]) -> Unit:
    """One unit for all of some times: MLPerf's minutes, unless they are very short or very long."""
    longest = max(seconds, default=60.0)
    if longest < 120:
        return SECONDS
    return MINUTES if longest < 48 * 3600 else HOURS


def digits(value: float, significant: int = 4) -> str:
    """1234.5 is "1,234", 93.456 is "93.46", 0.075 is "0.07500"."""
    exponent = int(f"{value:.{significant - 1}e}".rpartition("e")[2])
    return f"{value:,.{min(6, max(0, significant - 1 - exponent))}f}" if value else "0"


def brief(seconds: float | None) -> str:
    """A time beside others of any length: seconds, minutes from two on."""
    if seconds is None:
        return ""
    return f"{digits(seconds, 3)} s" if seconds < 120 else f"{digits(seconds / 60, 3)} min"


def percent(share: float | None) -> str:
    """One decimal; below a tenth of a per cent one significant digit, so that little is not taken for nothing."""
    if share is None:
        return ""
    return f"{100 * share:.1g} %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def energy(joules: float | None) -> str:
    """Watt-hours and their multiples, as bills count them."""
    if joules is None:
        return ""
    for name, size in (("MWh", 3.6e9), ("kWh", 3.6e6), ("Wh", 3.6e3)):
        if joules >= size:
            return f"{digits(joules / size)} {name}"
    return f"{digits(joules)} J"


def quality_text(values: Mapping[str, float]) -> str:
    """Both values of a benchmark with two metrics, with a slash between."""
    return " / ".join(f"{value:.4f}" if abs(value) <= 1 else digits(value) for value in values.values())
