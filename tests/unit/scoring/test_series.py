"""Runs in, a score out. The letters of a series: c converged, n not converged, i invalid, f failed, a aborted."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api import AttemptState
from podium.rounds import load_rounds
from podium.scoring import Rule, TimedAttempt, rule_for, score

FIVE = Rule(runs=5)
NCF = Rule(runs=8, converged_runs=4)
UNET3D = Rule(runs=40, drop_fastest=4, drop_slowest=4, max_failures=4)
_OUTCOMES = {
    "c": AttemptState.CONVERGED, "n": AttemptState.NOT_CONVERGED, "i": AttemptState.INVALID, "f": AttemptState.FAILED,
    "a": AttemptState.ABORTED, "k": AttemptState.INVALID,
}  # fmt: skip


def series(text: str) -> list[TimedAttempt]:
    """Runs such as "c60 n c80": outcome and seconds; started in this order."""
    return [
        TimedAttempt(
            index, _OUTCOMES[word[0]], float(word[1:]) if word[1:] else None, float(index), keeps_place=word[0] == "k"
        )
        for index, word in enumerate(text.split(), start=1)
    ]


SCORES = {
    # name: (rule, runs, seconds, dropped, official, reasons)
    "the fastest and the slowest are dropped": (FIVE, "c50 c10 c30 c20 c40", 30, (1, 2), True, ()),
    "a run that did not converge is the slowest": (FIVE, "c50 c10 n5 c20 c30", 100 / 3, (2, 3), True, ()),
    "an invalid run is, too": (FIVE, "c50 c10 i5 c20 c30", 100 / 3, (2, 3), True, ()),
    "an invalid run whose clock is right keeps its place": (FIVE, "c50 c10 k25 c20 c40", 85 / 3, (1, 2), True, ()),
    "two of them are too many": (
        FIVE, "c50 c10 k25 k20 c40", None, (1, 2), False,
        ("invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest",)),
    "two runs that did not converge": (
        FIVE, "c50 n n c20 c30", None, (2, 3, 4), False,
        ("invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest",)),
    "a failed attempt": (
        FIVE, "c50 f c30 a c30", None, (1, 3), False, ("invalid: attempt 2, 4 could not be measured",)),
    "converged without a time": (
        FIVE, "c50 c20 c c20 c30", None, (1, 2), False, ("invalid: attempt 3 could not be measured",)),
    # of more runs than asked for, the consecutive ones with the median score: here of 30, 30 and 40 seconds, ...
    "seven runs": (FIVE, "c50 c10 c30 c20 c40 c60 c90", 30, (2, 6), True, ()),
    # ... here of 30 and 40 seconds, the slower of the two in the middle, ...
    "six runs": (FIVE, "c10 c30 c20 c40 c50 c70", 40, (3, 6), True, ()),
    # ... and a group with two failures is infinitely slow
    "six runs, two of which failed": (
        FIVE, "n n c20 c40 c50 c70", None, (1, 2, 3), False,
        ("invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest",)),
    "four runs": (FIVE, "c50 c10 c30 c20", 25, (1, 2), False,
                  ("not official: 4 of the 5 attempts that the rules require",)),
    "three runs, one of them failed": (
        FIVE, "c50 c10 n", 50, (2, 3), False, ("not official: 3 of the 5 attempts that the rules require",)),
    "two runs": (
        FIVE, "c50 c10", 30, (), False,
        ("not official: 2 of the 5 attempts that the rules require",
         "nothing was dropped: 2 attempts are too few to drop the fastest and the slowest")),
    "one run": (
        FIVE, "c50", 50, (), False,
        ("not official: 1 of the 5 attempts that the rules require",
         "nothing was dropped: 1 attempt is too few to drop the fastest and the slowest")),
    "two runs, one of them failed": (
        FIVE, "c50 n", None, (), False,
        ("invalid: 1 attempt did not converge, at most 0 may be dropped as the slowest",
         "not official: 2 of the 5 attempts that the rules require")),
    "no attempt converged": (
        FIVE, "n", None, (), False,
        ("invalid: 1 attempt did not converge, at most 0 may be dropped as the slowest",
         "not official: 1 of the 5 attempts that the rules require")),
    "no run": (FIVE, "", None, (), False,
               ("invalid: no attempt converged", "not official: 0 of the 5 attempts that the rules require")),
    "NCF: the first four that converged": (NCF, "n c40 c10 n c30 c20 c1 c99", 25, (2, 3), True, ()),
    "NCF: too few converged": (
        NCF, "n c40 c10 n n n n c99", None, (3, 8), False, ("invalid: 3 attempts converged, 4 must",)),
    "NCF: not through yet": (NCF, "n c40 c10 c30", 30, (2, 3), False,
                             ("not official: 4 of the 8 attempts that the rules require",)),
    "drop four at each end": (
        UNET3D, " ".join(f"c{n}" for n in range(1, 41)), 20.5, (1, 2, 3, 4, 37, 38, 39, 40), True, ()),
    "four failures take all slowest places": (
        UNET3D, " ".join([f"c{n}" for n in range(1, 37)] + ["n"] * 4), 20.5, (1, 2, 3, 4, 37, 38, 39, 40), True, ()),
    "as many failures as a round tolerates leave something": (
        Rule(runs=3, max_failures=2), "c5 n n", 5, (2, 3), True, ()),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "runs", "seconds", "dropped", "official", "reasons"), SCORES.values(), ids=SCORES)
def test_score(
    rule: Rule, runs: str, seconds: float | None, dropped: tuple[int, ...], official: bool, reasons: tuple[str, ...]
) -> None:
    result = score(series(runs), rule)
    assert result.reasons == reasons
    assert result.seconds == (None if seconds is None else pytest.approx(seconds))
    assert (result.dropped, result.official, result.valid) == (dropped, official, seconds is not None)


def test_failures_are_counted_and_kept_apart_from_what_is_left_out() -> None:
    assert score(series("n c40 c10 n c30 c20 c1 c99"), NCF).failures == 2
    assert score(series("c50 n n f c30"), FIVE).failures == 2


def test_variation_is_over_all_converged_runs() -> None:
    times = [50.0, 10.0, 20.0, 30.0]
    expected = statistics.stdev(times) / statistics.fmean(times)
    assert score(series("c50 c10 n c20 c30"), FIVE).coefficient_of_variation == pytest.approx(expected)
    assert score(series("c50"), FIVE).coefficient_of_variation is None


def test_minutes() -> None:
    assert score(series("c90"), FIVE).minutes == 1.5
    assert score(series("n"), FIVE).minutes is None


def test_rules_of_the_rounds() -> None:
    rounds = load_rounds()
    assert rule_for(rounds["v0.6"], "resnet") == Rule(5, 1, 1, 1, None)
    assert rule_for(rounds["v0.6"], "gnmt") == Rule(10, 1, 1, 1, None)
    ncf = rule_for(rounds["v0.5"], "ncf")
    assert (ncf.runs, ncf.converged_runs) == (100, 50)
    with pytest.raises(KeyError):
        rule_for(rounds["v0.6"], "dlrm")


RUNS = st.lists(
    st.tuples(
        st.sampled_from(AttemptState),
        st.none() | st.floats(allow_nan=True),
        st.none() | st.floats(0, 1e9),
    ),
    max_size=12,
).map(lambda rows: [TimedAttempt(index, *row) for index, row in enumerate(rows)])
RULES = st.builds(
    Rule,
    runs=st.integers(1, 12),
    drop_fastest=st.integers(0, 3),
    drop_slowest=st.integers(0, 3),
    max_failures=st.integers(0, 3),
    converged_runs=st.none() | st.integers(1, 6),
)


@given(RUNS, RULES, st.randoms())
def test_the_order_of_the_runs_does_not_matter(runs: list[TimedAttempt], rule: Rule, random: object) -> None:
    shuffled = list(runs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert score(shuffled, rule) == score(runs, rule)


@given(RUNS, RULES)
def test_what_always_holds(runs: list[TimedAttempt], rule: Rule) -> None:
    result = score(runs, rule)
    times = {run.index: run.seconds for run in runs}
    assert not set(result.dropped) & set(result.scored)
    assert set(result.dropped) | set(result.scored) <= set(times)
    assert result.valid == (result.seconds is not None) == bool(result.scored)
    assert result.official or result.reasons
    assert not result.official or (result.valid and len(result.designated or runs) == rule.runs)
    if result.seconds is not None:
        scored = [times[index] for index in result.scored]
        low, high = min(scored), max(scored)  # type: ignore[type-var]
        assert low * (1 - 1e-9) <= result.seconds <= high * (1 + 1e-9) or math.isclose(result.seconds, low)  # type: ignore[operator]


@given(st.lists(st.floats(1, 1e6), min_size=5, max_size=5))
def test_one_failure_is_worth_the_slowest_run(times: list[float]) -> None:
    runs = [TimedAttempt(index, AttemptState.CONVERGED, seconds) for index, seconds in enumerate(times)]
    slowest = max(runs, key=lambda run: (run.seconds, run.index))
    failed = [TimedAttempt(run.index, AttemptState.NOT_CONVERGED, 0.0) if run is slowest else run for run in runs]
    assert score(failed, FIVE).seconds == score(runs, FIVE).seconds
    assert score(failed, FIVE).dropped == score(runs, FIVE).dropped


def test_of_more_runs_than_asked_for_the_designated_ones_count() -> None:
    result = score(series("c50 c10 c30 c20 c40 c60 c90"), FIVE)
    assert (result.designated, result.scored) == ((2, 3, 4, 5, 6), (3, 4, 5))
    assert [index for index in range(1, 8) if result.counts(index)] == [2, 3, 4, 5, 6]
    assert all(score(series("c50 c10 c30 c20 c40"), FIVE).counts(index) for index in range(1, 6))
