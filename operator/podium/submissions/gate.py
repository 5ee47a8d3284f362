"""Whether a new result is as fast as earlier ones: for a pipeline that accepts a change or refuses it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from podium.api import rfc3339
from podium.scoring import Difference, Expectation, Prediction, estimate, holds
from podium.submissions.answers import Quantity, percent
from podium.submissions.comparison import compare
from podium.submissions.entries import ScoredResult
from podium.submissions.trend import Series, point_of, series_of


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One benchmark of the new result. `passed` is None if the attempts so far do not decide it."""

    benchmark: str
    name: str  # of system and quantity
    passed: bool | None
    sentence: str
    difference: Difference | None = None

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``."""
        found = self.difference
        return {
            "benchmark": self.benchmark,
            "name": self.name,
            "passed": self.passed,
            "sentence": self.sentence,
            "ratio": found.value if found else None,
            "interval": [found.interval.low, found.interval.high] if found else None,
        }


def gate_on_history(
    new: Sequence[ScoredResult], history: Iterable[ScoredResult], quantity: Quantity, limit: float
) -> Iterator[GateCheck]:
    """Compare each new result with the earlier ones of its series, since the last change of their level.

    Later ones and itself do not count, so that the answer stays when more results are stored. `limit` is by how much
    longer it may take, relatively.
    """
    known = {series.key: series for series in series_of(history, quantity)}
    for entry in new:
        place = point_of(entry, quantity)
        if place is None:
            yield GateCheck(entry.benchmark, entry.system, False, f"its logs do not say the {quantity}")
            continue
        key, point = place
        name = f"{entry.system}: {key.name}"
        level = known.get(key, Series(key, ())).before(point.started).level
        mean = estimate([each.value for each in level])
        if mean is None:
            few = "one earlier result" if level else "no earlier result"
            shared = "round, benchmark, system, chips and batch size"
            yield GateCheck(entry.benchmark, name, None, f"{few} with the same {shared}; it takes two")
            continue
        found = Prediction(mean, math.log(point.value))
        passed = holds(found, Expectation.NO_SLOWER, limit)
        with_what = f"than {len(level)} earlier results since {rfc3339(level[0].started)[:10]}"
        yield GateCheck(entry.benchmark, name, passed, _sentence(found, with_what, limit), found)


def gate_on_baseline(
    new: Sequence[ScoredResult], baseline: Sequence[ScoredResult], quantity: Quantity, limit: float
) -> Iterator[GateCheck]:
    """Compare the new results with those of `baseline`, attempt by attempt, as `compare` does."""
    compared = compare(baseline, new, tolerance=limit)
    for pair in compared.answers:
        row = pair.of(quantity)
        if row is None or row.ratio is None:
            said = row.sentence if row else f"the {quantity} is not known of both"
            yield GateCheck(pair.benchmark, pair.after.system, None, said)
            continue
        passed = row.holds(Expectation.NO_SLOWER)
        said = _sentence(row.ratio, f"than {pair.before.system}", limit)
        yield GateCheck(pair.benchmark, f"{pair.after.system}: {row.name}", passed, said, row.ratio)
    for finding in compared.refused:
        yield GateCheck(finding.field, "comparable", False, finding.message)
    answered = {pair.benchmark for pair in compared.answers} | {finding.field for finding in compared.refused}
    for name in sorted({entry.benchmark for entry in new} - answered):
        yield GateCheck(name, "comparable", None, "nothing of the baseline can be compared with it")


def _sentence(found: Difference, with_what: str, limit: float) -> str:
    low, high = found.log - found.half_width, found.log + found.half_width
    return (
        f"{_by(found.log)} {with_what} (95 % interval: {_by(low)} to {_by(high)}); {percent(limit)} slower is allowed"
    )


def _by(log: float) -> str:
    return f"{percent(math.expm1(abs(log)))} {'slower' if log > 0 else 'faster'}"
