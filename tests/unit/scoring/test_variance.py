"""Confidence of a score: known values."""

from __future__ import annotations

import random
import statistics

import pytest

from podium.scoring import interval, runs_needed, spread
from podium.scoring.variance import student_t


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (4, 2.776), (30, 2.042), (31, 2.0395), (120, 1.9799)])
def test_student_t(freedom, t):
    assert student_t(freedom) == pytest.approx(t, abs=0.0005)


def test_without_trimming_it_is_the_ordinary_interval():
    times = [10.0, 11.0, 12.0, 13.0]
    half = 3.1824 * statistics.stdev(times) / 2
    found = interval(times, 0, 0)
    assert (found.low, found.high) == pytest.approx((11.5 - half, 11.5 + half))
    assert found.relative == pytest.approx(half / 11.5)


def test_it_covers_the_mean_as_often_as_it_says():
    """Of 2,000 scores of ten runs about 95 % hold the mean that all runs come from."""
    draw = random.Random(5)
    hits = 0
    for _ in range(2000):
        times = sorted(draw.gauss(100, 10) for _ in range(10))
        found = interval(times[1:-1], 1, 1)
        hits += found.low <= 100 <= found.high
    assert 0.93 < hits / 2000 < 0.97


def test_too_few_runs_have_no_interval():
    assert interval([5.0], 1, 1) is None
    assert interval([], 0, 0) is None


@pytest.mark.parametrize(("variation", "runs"), [(0.0, 4), (0.02, 5), (0.05, 9), (0.1, 20), (5.0, None)])
def test_runs_needed_for_five_percent(variation, runs):
    assert runs_needed(variation, dropped=2) == runs


def test_spread_counts_and_varies():
    found = spread([4.0, 5.0, 4.0])
    assert (found.mean, found.counts) == (pytest.approx(13 / 3), {4.0: 2, 5.0: 1})
    assert found.variation == pytest.approx(statistics.stdev([4, 5, 4]) / (13 / 3))
    assert spread([]) is None
    assert spread([4.0]).variation is None
