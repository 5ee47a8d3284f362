"""Compare two sets of results: speed-up at equal chip counts, and growth of the fastest and of the largest system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from podium.rules import Finding
from podium.rules.catalog import RuleId
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
    """`growths_of_fastest` and `growths` are those of the fastest and of the largest system of each side.

    `refused`: why benchmarks cannot be compared. `despite`: the same for those compared anyway, on request.
    """

    speed_ups: tuple[SpeedUp, ...]
    growths_of_fastest: tuple[Growth, ...]
    growths: tuple[Growth, ...]
    refused: tuple[Finding, ...]
    despite: tuple[Finding, ...]
    unmatched: tuple[str, ...]  # sentences


def compare(
    before: Sequence[ScoredResult], after: Sequence[ScoredResult], *, across_targets: bool = False
) -> Comparison:
    """Compare every benchmark that both sides have. Speed-ups and growths use valid scores only."""
    speed_ups: list[SpeedUp] = []
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
        elif not (olds and news):
            unmatched.append(f"{name}: no valid score {'after' if olds else 'before'}")
        speed_ups += found
        growths_of_fastest += _growth(
            name, *(min(side, key=lambda e: e.minutes or 0, default=None) for side in (olds, news))
        )
        growths += _growth(name, *(max(side, key=lambda e: e.chips or 0, default=None) for side in (olds, news)))
    alone = sorted({e.benchmark for e in after} - set(names))
    unmatched += [f"{name}: only after" for name in alone]
    return Comparison(
        tuple(speed_ups), tuple(growths_of_fastest), tuple(growths), tuple(refused), tuple(despite), tuple(unmatched)
    )


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
