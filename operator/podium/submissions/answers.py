"""Why one entry trains faster than another: time to train = samples to the target x seconds per sample x the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from podium.scoring import TOLERANCE, Answer, Expectation, Ratio, answer, estimate, holds, more_runs
from podium.submissions.entries import ScoredResult
from podium.submissions.rates import EntryRate, rate_of

_MANY_TIMES = 2.0  # from this ratio on, "2.4 times as fast" reads better than "140 % faster"


class Quantity(StrEnum):
    """What is compared. The first is the product of the others; `rest` is evaluation, first block and the like."""

    TIME = "time-to-train"
    AMOUNT = "amount"
    RATE = "rate"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Answered:
    """The comparison of one quantity. `ratio` is None if fewer than two attempts of a side have it.

    `before` and `after` are the values of each attempt, in seconds, samples or epochs, by its index.
    """

    quantity: Quantity
    name: str  # such as "seconds per sample"
    before: Mapping[int, float]
    after: Mapping[int, float]
    tolerance: float

    @property
    def ratio(self) -> Ratio | None:
        """After divided by before: below 1, after is better."""
        before, after = estimate(list(self.before.values())), estimate(list(self.after.values()))
        return Ratio(before, after) if before and after else None

    @property
    def answer(self) -> Answer:
        ratio = self.ratio
        return answer(ratio, self.tolerance) if ratio else Answer.UNDECIDED

    @property
    def more_runs(self) -> int | None:
        """How many more attempts of each side bring an answer; None if too many or if nobody knows."""
        ratio = self.ratio
        return more_runs(ratio, self.tolerance) if ratio else None

    def holds(self, expected: Expectation) -> bool | None:
        """Whether it is as expected; None if that is undecided."""
        ratio = self.ratio
        return holds(ratio, expected, self.tolerance) if ratio else None

    @property
    def sentence(self) -> str:
        """The answer in words, such as ``faster by 3.1 % (2.0 to 4.2 %)``.

        A percentage is by how much longer the slower side takes.
        """
        ratio = self.ratio
        if ratio is None:
            few = f"{len(self.before)} before, {len(self.after)} after"
            return f"undecided: it takes two attempts of each side ({few})"
        if self.answer is Answer.SAME:
            return f"no difference larger than {percent(ratio.largest)}"
        low, high = ratio.interval.low, ratio.interval.high
        if self.answer is Answer.UNDECIDED:
            more = self.more_runs
            needed = f"about {more} more attempts each" if more else "no number of attempts would decide it"
            return f"undecided between {percent(1 / low - 1)} faster and {percent(high - 1)} slower, {needed}"
        is_slower = self.answer is Answer.SLOWER
        value, least, most = (ratio.value, low, high) if is_slower else (1 / ratio.value, 1 / high, 1 / low)
        if value >= _MANY_TIMES:
            times = "times as long" if is_slower else "times as fast"
            return f"{self.answer}: {value:.2f} {times} ({least:.2f} to {most:.2f})"
        bounds = f"{percent(least - 1).removesuffix(' %')} to {percent(most - 1)}"
        return f"{self.answer} by {percent(value - 1)} ({bounds})"

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``."""
        ratio = self.ratio
        return {
            "quantity": self.quantity,
            "name": self.name,
            "attempts": [len(self.before), len(self.after)],
            "before": ratio.before.value if ratio else None,
            "after": ratio.after.value if ratio else None,
            "ratio": ratio.value if ratio else None,
            "interval": [ratio.interval.low, ratio.interval.high] if ratio else None,
            "answer": self.answer,
            "moreAttempts": self.more_runs if self.answer is Answer.UNDECIDED else None,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """Two entries of one benchmark, and the comparison of each quantity that both have."""

    benchmark: str
    chips: int | None
    before: ScoredResult
    after: ScoredResult
    rows: tuple[Answered, ...]

    def of(self, quantity: Quantity) -> Answered | None:
        """Return the row of a quantity; None if there is none."""
        return next((row for row in self.rows if row.quantity is quantity), None)

    @property
    def sentence(self) -> str:
        """What there is to say about time to train and rate."""
        told = [row for quantity in (Quantity.TIME, Quantity.RATE) if (row := self.of(quantity))]
        return "; ".join(f"{row.name}: {row.sentence}" for row in told)

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``."""
        return {
            "benchmark": self.benchmark,
            "chips": self.chips,
            "before": _side(self.before),
            "after": _side(self.after),
            "sentence": self.sentence,
            "quantities": [row.document() for row in self.rows],
        }


def compare_pair(
    before: ScoredResult, after: ScoredResult, chips: int | None = None, tolerance: float = TOLERANCE
) -> PairAnswer | None:
    """Compare two entries of one benchmark; None if no quantity is known of both.

    All attempts that converged count, also those that the score drops. A quantity that is absent from one side, such as
    the rate in logs without evaluations, has no row.
    """
    rates = rate_of(before), rate_of(after)
    per = rates[0].per if rates[0] and rates[1] and rates[0].per == rates[1].per else None
    sides = [_quantities(entry, rate if per else None) for entry, rate in zip((before, after), rates, strict=True)]
    names = {
        Quantity.TIME: "time to train",
        Quantity.AMOUNT: f"{per}s to the target",
        Quantity.RATE: f"seconds per {per}",
        Quantity.REST: "the rest",
    }
    rows = tuple(
        Answered(quantity, name, sides[0][quantity], sides[1][quantity], tolerance)
        for quantity, name in names.items()
        if sides[0].get(quantity) and sides[1].get(quantity)
    )
    return PairAnswer(before.benchmark, chips, before, after, rows) if rows else None


def _quantities(entry: ScoredResult, rate: EntryRate | None) -> dict[Quantity, dict[int, float]]:
    """The values of each quantity, by attempt. A scaling factor counts as more to train, as it does for the score."""
    times = {i: v.seconds * entry.scaling for i, v in entry.verdicts.items() if v.converged and v.seconds}
    if rate is None:
        return {Quantity.TIME: times}
    amounts = {i: amount * entry.scaling for i in times if (amount := _amount(entry, i, rate))}
    products = {i: amounts[i] * rate.by_attempt[i] for i in times if i in amounts and i in rate.by_attempt}
    return {
        Quantity.TIME: times,
        Quantity.AMOUNT: amounts,
        Quantity.RATE: dict(rate.by_attempt),
        Quantity.REST: {i: times[i] / product for i, product in products.items()},
    }


def _amount(entry: ScoredResult, index: int, rate: EntryRate) -> float | None:
    """The samples or epochs at the evaluation that reached the target, or at the last one if no target is known."""
    log = entry.logs[index]
    end = entry.goal.reached(log) if entry.target else (log.evaluations or (None,))[-1]
    return None if end is None else end.samples if rate.per == "sample" else end.epoch


def as_expected(pairs: Sequence[PairAnswer], expected: Expectation, quantity: Quantity) -> bool | None:
    """Return whether every pair is as expected: False if one is not, None if it is undecided for one."""
    held = [row.holds(expected) if (row := pair.of(quantity)) else None for pair in pairs]
    return False if False in held else None if None in held or not held else True


def percent(ratio: float) -> str:
    """Return a ratio such as 0.031 as ``3.1 %``."""
    return f"{100 * ratio:.1f} %" if abs(ratio) >= 0.001 else f"{100 * ratio:.2f} %"


def _side(entry: ScoredResult) -> dict[str, Any]:
    return {"round": entry.round, "org": entry.org, "system": entry.system}
