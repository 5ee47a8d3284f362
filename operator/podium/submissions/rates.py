"""How fast an entry's attempts train, apart from how much they had to train."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from podium.api import AttemptState
from podium.mllog import rate
from podium.scoring import Estimate, estimate
from podium.submissions.entries import ScoredResult

_TRAINED = frozenset({AttemptState.CONVERGED, AttemptState.NOT_CONVERGED})


@dataclass(frozen=True, slots=True)
class EntryRate:
    """The rate of an entry: seconds of training per sample or epoch, by attempt. See `mllog.rate`.

    `samples` is how many samples that is: 1, or those of an epoch; None if the logs do not say. `chips` is the number
    of accelerators, None if it is not known.
    """

    per: Literal["sample", "epoch"]
    by_attempt: Mapping[int, float]
    samples: int | None
    chips: int | None

    @property
    def seconds(self) -> float:
        """The geometric mean of the attempts' seconds per sample or epoch."""
        return statistics.geometric_mean(self.by_attempt.values())

    @property
    def estimate(self) -> Estimate | None:
        """The mean with what its interval follows from; None for a single attempt."""
        return estimate(list(self.by_attempt.values()))

    def samples_per_second(self, seconds: float) -> float | None:
        """Samples per second of all accelerators, with `seconds` per sample or epoch."""
        return self.samples / seconds if self.samples else None

    def per_accelerator(self, seconds: float) -> float | None:
        """Samples per second and accelerator."""
        return self.samples / seconds / self.chips if self.samples and self.chips else None

    @property
    def text(self) -> str:
        """Samples per second and accelerator with their interval, such as ``41.07 ±0.3%``, or what is known of it."""
        found = self.estimate
        near = f" ±{_percent(found.relative)}" if found else ""
        if each := self.per_accelerator(self.seconds):
            return f"{each:.4g}{near}"
        if together := self.samples_per_second(self.seconds):
            return f"{together:.4g}{near} in all"
        return f"{self.seconds:.4g} s/{self.per}{near}"

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``. Intervals are at 95 %, over the attempts."""
        found = self.estimate
        interval = found.interval() if found else None
        return {
            "per": self.per,
            **self._of(self.seconds),
            "interval": [interval.low, interval.high] if interval else None,
            "relativeInterval": found.relative if found else None,
            "attempts": {str(index): self._of(seconds) for index, seconds in self.by_attempt.items()},
        }

    def _of(self, seconds: float) -> dict[str, float | None]:
        return {
            "seconds": seconds,
            "secondsPerSample": seconds / self.samples if self.samples else None,
            "samplesPerSecond": self.samples_per_second(seconds),
            "samplesPerSecondPerAccelerator": self.per_accelerator(seconds),
        }


def rate_of(entry: ScoredResult) -> EntryRate | None:
    """Return the rate of the attempts that broke no rule, whether they converged or not; None if no log shows it.

    That of a run with spec.measure is what it measured.
    """
    if entry.goal.window:
        found = {index: verdict.rate for index, verdict in entry.verdicts.items() if verdict.rate}
    else:
        trained = (index for index, verdict in entry.verdicts.items() if verdict.state in _TRAINED)
        found = {index: one for index in trained if (one := rate(entry.logs[index]))}
    if not found:
        return None
    per = statistics.mode(one.per for one in found.values())
    by_attempt = {index: one.seconds_each for index, one in found.items() if one.per == per}
    return EntryRate(per, by_attempt, 1 if per == "sample" else _epoch(entry), entry.chips)


def _epoch(entry: ScoredResult) -> int | None:
    """The samples of an epoch, if all logs agree on it."""
    (first, *others) = {log.train_samples for log in entry.logs.values()}
    return first if first and not others else None


def _percent(ratio: float) -> str:
    return f"{ratio:.1%}" if ratio >= 0.001 else f"{ratio:.2%}"
