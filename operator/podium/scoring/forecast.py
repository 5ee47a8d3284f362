"""How likely the attempts of a run pass the test by reference convergence points, before all of them are made."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from podium.rounds import Benchmark, in_unit_of_points
from podium.scoring.convergence import floor_at, kept_mean

LIKELY_FAILS = 0.03  # below this probability of passing, a run is called likely to fail
HOPELESS = 0.01  # below this one, spec.stopWhenHopeless ends it


@dataclass(frozen=True, slots=True)
class Forecast:
    """The probability of passing, from the attempts `made` of those `wanted`: their mean, and the least that passes."""

    probability: float
    mean: float
    least: float
    unit: str
    made: int
    wanted: int

    @property
    def likely_fails(self) -> bool:
        return self.probability < LIKELY_FAILS

    @property
    def text(self) -> str:
        digits = ",.0f" if self.unit == "samples" else ",.5g"
        numbers = f"mean {self.unit} {self.mean:{digits}}, floor {self.least:{digits}}"
        if self.made == self.wanted:
            return f"{'passes' if self.probability else 'fails'} the RCP check: {numbers}"
        if self.likely_fails:
            return f"likely to fail the RCP check: {numbers}"
        return f"passes the RCP check with a probability of {self.probability:.0%}: {numbers}"


def forecast(
    round_: str, name: str, rules: Benchmark, batch_size: int, counts: Sequence[float | None], *, wanted: int
) -> Forecast | None:
    """Forecast the verdict of `convergence` on `wanted` attempts from the epochs (or samples) of the first of them.

    Attempts scatter as the reference's do, as the t-test assumes as well, around a mean that is not known: before the
    first one, it is that of the reference, give or take one deviation, so the reference counts as one more attempt.
    None if there is nothing to compare, or too many attempts did not converge.
    """
    floor = floor_at(round_, name, rules, batch_size)
    converged = [count for count in counts if count is not None]
    dropped, missing = rules.drop_fastest, wanted - len(counts)
    if floor is None or not converged or len(counts) - len(converged) > dropped or wanted <= 2 * dropped:
        return None
    kept = kept_mean(counts, dropped) if missing == 0 or len(counts) > 2 * dropped + 1 else None
    mean = in_unit_of_points(name, statistics.fmean(converged) if kept is None else kept, floor.point.mean)
    made = len(counts)
    expected = (made * mean + floor.point.mean) / (made + 1)  # of each attempt to come
    at_the_end = (made * mean + missing * expected) / wanted
    error = floor.point.deviation * missing / wanted * math.sqrt(1 / (made + 1) + 1 / max(1, missing))
    passes = float(at_the_end >= floor.least)
    probability = NormalDist(floor.least, error).cdf(at_the_end) if error else passes
    return Forecast(probability, mean, floor.least, floor.unit, made, wanted)
