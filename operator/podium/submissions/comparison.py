"""Compare two sets of results: speed-up at equal chip counts, and growth of the fastest and of the largest system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.scoring import TOLERANCE
from podium.submissions.answers import PairAnswer, compare_pair
from podium.submissions.entries import ScoredResult


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """The fastest valid entries of both sides with equal chip counts; `factor` > 1 means that B is faster."""

    benchmark: str
    chips: int | None  # None: systems of the same name whose chip count is unknown
    before: ScoredResult
    after: ScoredResult
    factor: float

    def document(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "chips": self.chips,
            "before": _side(self.before),
            "after": _side(self.after),
            "speedUp": self.factor,
        }


@dataclass(frozen=True, slots=True)
class Growth:
    """The growth of the chips from a system of one side to one of the other, on one benchmark."""

    benchmark: str
    before: ScoredResult
    after: ScoredResult
    chips_factor: float
    speed_up: float

    def document(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "before": {**_side(self.before), "chips": self.before.chips},
            "after": {**_side(self.after), "chips": self.after.chips},
            "growth": self.chips_factor,
            "speedUp": self.speed_up,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """`answers` are those of the same pairs as `speed_ups`, or of the only two results of a benchmark.

    `growths_of_fastest` and `growths` are those of the fastest and of the largest system of each side.

    `refused`: why benchmarks cannot be compared. `despite`: the same for those compared anyway, on request.
    """

    speed_ups: tuple[SpeedUp, ...]
    answers: tuple[PairAnswer, ...]
    growths_of_fastest: tuple[Growth, ...]
    growths: tuple[Growth, ...]
    refused: tuple[Finding, ...]
    despite: tuple[Finding, ...]
    unmatched: tuple[str, ...]  # sentences


def compare(
    before: Sequence[ScoredResult],
    after: Sequence[ScoredResult],
    *,
    across_targets: bool = False,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Compare every benchmark that both sides have. Speed-ups and growths use valid scores only.

    A difference within +-`tolerance` is none.
    """
    speed_ups: list[SpeedUp] = []
    answers: list[PairAnswer] = []
    growths_of_fastest: list[Growth] = []
    growths: list[Growth] = []
    refused: list[Finding] = []
    despite: list[Finding] = []
    unmatched: list[str] = []
    names = list(dict.fromkeys(entry.benchmark for entry in before))
    for name in names:
        olds, news = _valid(before, name), _valid(after, name)
        differ = list(_differences(name, before, after))
        if differ:
            (despite if across_targets else refused).extend(differ)
        if differ and not across_targets:
            continue
        found = _speed_ups(name, olds, news)
        if olds and news and not found:
            unmatched.append(
                f"{name}: no systems with equal chip counts: {_chips(olds)} before, {_chips(news)} after; "
                "supply missing counts with --chips SYSTEM=N"
            )
        elif not (olds and news) and not _measure_rates([*before, *after], name):
            unmatched.append(_without_score(name, before, after))
        speed_ups += found
        answers += _answers(name, found, before, after, tolerance)
        growths_of_fastest += _growth(
            name, *(min(side, key=lambda e: e.minutes or 0, default=None) for side in (olds, news))
        )
        growths += _growth(name, *(max(side, key=lambda e: e.chips or 0, default=None) for side in (olds, news)))
    alone = sorted({e.benchmark for e in after} - set(names))
    unmatched += [f"{name}: only after" for name in alone]
    return Comparison(
        tuple(speed_ups), tuple(answers), tuple(growths_of_fastest), tuple(growths), tuple(refused), tuple(despite),
        tuple(unmatched),
    )  # fmt: skip


def _measure_rates(entries: Iterable[ScoredResult], name: str) -> bool:
    """Whether all results of a benchmark are rates, which need no score."""
    return all(entry.goal.window for entry in entries if entry.benchmark == name)


def _without_score(name: str, before: Iterable[ScoredResult], after: Iterable[ScoredResult]) -> str:
    """Say that one side has no result of a benchmark, or none with a valid score."""
    if all(entry.benchmark != name for entry in after):
        return f"{name}: only before"
    sides = [side for side, entries in (("before", before), ("after", after)) if not _valid(entries, name)]
    return f"{name}: no valid score {' and '.join(sides)}"


def _answers(
    name: str,
    speed_ups: Sequence[SpeedUp],
    before: Iterable[ScoredResult],
    after: Iterable[ScoredResult],
    tolerance: float,
) -> list[PairAnswer]:
    """The answers for each pair of `speed_ups`; without one, for the only two results: a rate needs no score."""
    pairs = [(each.before, each.after, each.chips) for each in speed_ups]
    olds, news = ([entry for entry in side if entry.benchmark == name] for side in (before, after))
    if not pairs and len(olds) == len(news) == 1:
        pairs = [(olds[0], news[0], olds[0].chips if olds[0].chips == news[0].chips else None)]
    found = (compare_pair(*pair, tolerance) for pair in pairs)
    return [each for each in found if each]


def _valid(entries: Iterable[ScoredResult], benchmark: str) -> list[ScoredResult]:
    return [entry for entry in entries if entry.benchmark == benchmark and entry.minutes]


def _differences(name: str, before: Iterable[ScoredResult], after: Iterable[ScoredResult]) -> Iterator[Finding]:
    """Why two rounds' results of a benchmark cannot be compared."""
    olds = {entry.round: entry for entry in before if entry.benchmark == name}
    news = {entry.round: entry for entry in after if entry.benchmark == name}
    for old, new in product(olds.values(), news.values()):
        rounds = f"{old.round} to {new.round}"
        if old.target != new.target:
            message = f"the target changed from {rounds}: {_target(old)}, then {_target(new)}"
            yield Finding(RuleId.COMPARE_TARGET, name, message)
        if old.rules.variant != new.rules.variant:
            message = f"the benchmark changed from {rounds}: {old.rules.variant}, then {new.rules.variant}"
            yield Finding(RuleId.COMPARE_VARIANT, name, message)
        if old.model_creation_timed != new.model_creation_timed:
            message = f"the clock changed from {rounds}: model creation is timed in one of them"
            yield Finding(RuleId.COMPARE_CLOCK, name, message)


def _speed_ups(name: str, olds: Sequence[ScoredResult], news: Sequence[ScoredResult]) -> list[SpeedUp]:
    before, after = _fastest(olds), _fastest(news)
    both = [size for size in before if size in after]
    return [
        SpeedUp(name, size if isinstance(size, int) else None, before[size], after[size],
                (before[size].minutes or 0) / (after[size].minutes or 1))
        for size in sorted(both, key=lambda size: (isinstance(size, str), size if isinstance(size, int) else 0))
    ]  # fmt: skip


def _fastest(entries: Sequence[ScoredResult]) -> dict[int | str, ScoredResult]:
    """The fastest entry for each chip count, or for each system name if the count is unknown."""
    found: dict[int | str, ScoredResult] = {}
    for entry in sorted(entries, key=lambda e: e.minutes or 0):
        found.setdefault(entry.chips or entry.system, entry)
    return found


def _growth(name: str, old: ScoredResult | None, new: ScoredResult | None) -> list[Growth]:
    """The growth from `old` to `new`; none if there is none, or if the chips of one are unknown."""
    if old is None or new is None or not old.chips or not new.chips:
        return []
    return [Growth(name, old, new, new.chips / old.chips, (old.minutes or 0) / (new.minutes or 1))]


def _target(entry: ScoredResult) -> str:
    return ", ".join(f"{metric} {value:g}" for metric, value in entry.target.items()) or "as logged"


def _chips(entries: Sequence[ScoredResult]) -> str:
    return ", ".join(sorted({str(e.chips) if e.chips else f"? ({e.system})" for e in entries}))


def _side(entry: ScoredResult) -> dict[str, Any]:
    return {"round": entry.round, "org": entry.org, "system": entry.system, "minutes": entry.minutes}
