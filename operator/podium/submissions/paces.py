"""How fast an entry's attempts train, apart from how much they had to train."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from podium.api import AttemptState
from podium.mllog import steady_pace
from podium.scoring import Estimate, estimate
from podium.submissions.entries import ScoredResult

_TRAINED = frozenset({AttemptState.CONVERGED, AttemptState.NOT_CONVERGED})


@dataclass(frozen=True, slots=True)
class EntryPace:
    """The steady pace of an entry: seconds of training per sample or epoch, by attempt. See `mllog.steady_pace`."""

    per: Literal["sample", "epoch"]
    by_attempt: Mapping[int, float]

    @property
    def seconds(self) -> float:
        """The geometric mean of the attempts' paces."""
        return statistics.geometric_mean(self.by_attempt.values())

    @property
    def text(self) -> str:
        """The mean with its unit, such as ``0.0201 s/sample``."""
        return f"{self.seconds:.4g} s/{self.per}"

    @property
    def estimate(self) -> Estimate | None:
        """The mean with what its interval follows from; None for a single attempt."""
        return estimate(list(self.by_attempt.values()))

    def document(self, chips: int | None) -> dict[str, Any]:
        """As printed by ``--json``. Samples per second are known if the logs count samples."""
        found = self.estimate
        per_second = 1 / self.seconds if self.per == "sample" else None
        return {
            "per": self.per,
            "seconds": self.seconds,
            "interval": [interval.low, interval.high] if found and (interval := found.interval()) else None,
            "samplesPerSecond": per_second,
            "samplesPerSecondPerAccelerator": per_second / chips if per_second and chips else None,
            "attempts": {str(index): seconds for index, seconds in self.by_attempt.items()},
        }


def pace_of(entry: ScoredResult) -> EntryPace | None:
    """Return the pace of the attempts that broke no rule, whether they converged or not; None if no log shows it.

    That of a run with spec.measure is what it measured.
    """
    if entry.goal.window:
        measured = {index: 1 / v.rate.per_second for index, v in entry.verdicts.items() if v.rate}
        return EntryPace("sample", measured) if measured else None
    found = {
        index: pace
        for index, verdict in entry.verdicts.items()
        if verdict.state in _TRAINED and (pace := steady_pace(entry.logs[index]))
    }
    if not found:
        return None
    per = statistics.mode(pace.per for pace in found.values())
    return EntryPace(per, {index: pace.seconds for index, pace in found.items() if pace.per == per})
