"""Intervals of means and ratios: known values, coverage, and that interval and "runs needed" are one formula."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace

import pytest

from podium.scoring import (
    Answer,
    Estimate,
    Expectation,
    Ratio,
    answer,
    estimate,
    holds,
    more_runs,
    runs_needed,
    spread,
    student_t,
)  # fmt: skip


@pytest.mark.parametrize(
    ("confidence", "freedom", "t"),
    [  # scipy.stats.t.ppf((1 + confidence) / 2, freedom) of scipy 1.17.1
        (0.95, 1, 12.706204736), (0.95, 1.5, 6.016663104), (0.95, 2, 4.30265273), (0.95, 2.37, 3.71892084),
        (0.95, 3, 3.182446305), (0.95, 4, 2.776445105), (0.95, 5.8, 2.467511154), (0.95, 9, 2.262157163),
        (0.95, 18, 2.10092204), (0.95, 30, 2.042272456), (0.95, 31, 2.039513446), (0.95, 120, 1.979930405),
        (0.95, 1000, 1.962339081), (0.95, 9998, 1.960201287),
        (0.99, 1, 63.656741163), (0.99, 2.37, 7.680186674), (0.99, 9, 3.249835542), (0.99, 1000, 2.580754698),
        (0.5, 1, 1.0), (0.5, 1.5, 0.872594663), (0.5, 30, 0.682755693), (0.5, 9998, 0.674514289),
    ],
)  # fmt: skip
def test_student_t_is_that_of_scipy(confidence, freedom, t):
    assert student_t(freedom, confidence) == pytest.approx(t, rel=1e-8)


def test_without_dropped_attempts_it_is_the_t_interval_of_logs():
    times = [10.0, 11.0, 12.0, 13.0]
    logs = [math.log(time) for time in times]
    half = 3.182446305 * statistics.stdev(logs) / 2
    found = estimate(times)
    assert found.value == pytest.approx(statistics.geometric_mean(times))
    assert found.relative == pytest.approx(math.exp(half) - 1)
    interval = found.interval()
    assert (interval.low, interval.high) == pytest.approx((found.value / math.exp(half), found.value * math.exp(half)))
    assert found.interval(12.0).high == pytest.approx(12 * math.exp(half))  # about the score, an arithmetic mean


def test_it_covers_the_mean_as_often_as_it_says():
    """Of 2,000 scores of ten attempts, about 95 % have an interval with the mean that all attempts come from."""
    draw, hits = random.Random(5), 0
    for _ in range(2000):
        times = sorted(draw.lognormvariate(math.log(100), 0.1) for _ in range(10))
        interval = estimate(times[1:-1], 1, 1).interval()
        hits += interval.low <= 100 <= interval.high
    assert 0.93 < hits / 2000 < 0.97


@pytest.mark.parametrize("kept", [[], [5.0], [0.0, 5.0]])
def test_too_few_attempts_have_no_interval(kept):
    assert estimate(kept, 1, 1) is None


@pytest.mark.parametrize(("deviation", "runs"), [(0.0, 4), (0.02, 5), (0.05, 8), (0.1, 19), (5.0, None)])
def test_runs_needed_for_five_percent(deviation, runs):
    assert runs_needed(Estimate(0.0, deviation, runs=10, dropped=2)) == runs


def test_the_runs_needed_for_the_interval_that_there_is_are_those_that_there_are():
    """An outlier that the score drops counts in neither of the two numbers (it did in one of them)."""
    found = estimate([100.0, 100.4, 101.0], 1, 1)
    assert runs_needed(found, within=found.relative) == found.runs == 5
    assert runs_needed(found) <= 5
    assert runs_needed(found, within=found.relative / 2) > 5


def test_spread_counts_and_varies():
    found = spread([4.0, 5.0, 4.0])
    assert (found.mean, found.counts) == (pytest.approx(13 / 3), {4.0: 2, 5.0: 1})
    assert found.variation == pytest.approx(statistics.stdev([4, 5, 4]) / (13 / 3))
    assert spread([]) is None
    assert spread([4.0]).variation is None


# ---- ratios ----


def group(mean, deviation, runs):
    return Estimate(math.log(mean), deviation, runs)


def test_a_ratio_has_welchs_interval():
    """The expected numbers are those of the unequal-variances test of scipy 1.17.1, on logs."""
    before, after = [100.0, 104.0, 98.0, 101.0], [90.0, 97.0, 94.0]
    found = Ratio(estimate(before), estimate(after))
    assert found.value == pytest.approx(0.92947027)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.86157904, 1.00271123), rel=1e-7)


@pytest.mark.parametrize(
    ("ratio", "deviation", "runs", "right"),
    [
        (0.9, 0.02, 5, Answer.FASTER),
        (1.1, 0.02, 5, Answer.SLOWER),
        (1.001, 0.001, 5, Answer.SAME),
        (1.01, 0.001, 5, Answer.SLOWER),  # little, but sure
        (1.01, 0.03, 5, Answer.UNDECIDED),
        (1.0, 0.0, 2, Answer.SAME),
        (2.0, 0.0, 2, Answer.SLOWER),
    ],
)
def test_answers(ratio, deviation, runs, right):
    assert answer(Ratio(group(1, deviation, runs), group(ratio, deviation, runs))) is right


@pytest.mark.parametrize(
    ("ratio", "deviation", "faster", "no_slower", "same", "no_faster", "slower"),
    [  # five attempts each; within 3 %
        (0.9, 0.01, True, True, False, False, False),
        (0.98, 0.01, True, True, None, None, False),
        (1.0, 0.01, None, True, True, True, None),
        (1.0, 0.04, None, None, None, None, None),
        (1.02, 0.01, False, None, None, True, True),
        (1.1, 0.01, False, False, False, True, True),
    ],
)
def test_expectations_hold_or_not_or_are_undecided(ratio, deviation, faster, no_slower, same, no_faster, slower):
    found = Ratio(group(1, deviation, 5), group(ratio, deviation, 5))
    held = {expected.value: holds(found, expected) for expected in Expectation}
    assert held == {
        "faster": faster, "no-slower": no_slower, "same": same, "no-faster": no_faster, "slower": slower,
    }  # fmt: skip


@pytest.mark.parametrize("ratio", [1.0, 1.01, 1.03, 1.2])
def test_after_that_many_more_attempts_there_is_an_answer(ratio):
    before, after = group(1, 0.2, 5), group(ratio, 0.1, 4)
    more = more_runs(Ratio(before, after))
    decided = [
        answer(Ratio(replace(before, runs=5 + added), replace(after, runs=4 + added))) is not Answer.UNDECIDED
        for added in (more - 1, more)
    ]
    assert decided == [False, True]
    assert more_runs(Ratio(group(1, 0.001, 5), group(1, 0.001, 5))) == 0
    assert more_runs(Ratio(group(1, 3, 5), group(1, 3, 5))) is None
