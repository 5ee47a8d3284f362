"""Changes of level in a series of results."""

from __future__ import annotations

import math
import random

import pytest

from podium.scoring import changes

NOISE = 0.0042  # the coefficient of variation of seconds per sample in published entries of v5.1 (median)


def series(rng, count, level=1.0, noise=NOISE):
    return [level * math.exp(rng.gauss(0, noise)) for _ in range(count)]


def test_a_step_of_three_percent_is_found_within_three_results():
    rng, found = random.Random(7), []
    for _ in range(200):
        values = [*series(rng, 60, 0.125), *series(rng, 3, 0.125 * 1.03)]
        first = next((n for n in (1, 2, 3) if any(c.index == 60 for c in changes(values[: 60 + n]))), 4)
        found.append(first)
    assert max(found) <= 3, found
    assert sum(first <= 2 for first in found) >= 0.95 * len(found)


def test_a_series_without_a_change_has_none():
    rng = random.Random(8)
    alarms = sum(bool(changes(series(rng, 60))) for _ in range(1000))
    assert alarms <= 10, alarms


def test_a_series_that_is_looked_at_after_every_result():
    rng, alarms = random.Random(9), 0
    for _ in range(60):
        values = series(rng, 60)
        alarms += any(changes(values[:count]) for count in range(1, 61))
    assert alarms <= 5, alarms


def test_each_level_is_found_with_its_ratio():
    rng = random.Random(10)
    values = [*series(rng, 20), *series(rng, 15, 1.05), *series(rng, 12, 0.97)]
    assert [c.index for c in changes(values)] == [20, 35]
    up, down = (c.ratio for c in changes(values))
    assert (up, down) == (pytest.approx(1.05, abs=0.005), pytest.approx(0.97 / 1.05, abs=0.005))


@pytest.mark.parametrize("place", [0, 1, 30, 58, 59])
def test_one_slow_result_is_no_change(place):
    values = series(random.Random(11), 60)
    values[place] *= 1.05
    assert not changes(values)


def test_one_slow_result_hides_no_change():
    values = [*series(random.Random(12), 8), *series(random.Random(13), 4, 0.965)]
    assert [c.index for c in changes([*values, 1.07])] == [8]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        ([1.0], []),
        ([1.0] * 9, []),
        ([1.0, 1.0, 1.0], []),
        ([1.0] * 4 + [1.1] * 4, [4]),  # without any noise, every step is one
        ([1e-300] * 3 + [1e-299] * 3, [3]),
    ],
)
def test_few_and_equal_values(values, found):
    assert [c.index for c in changes(values)] == found
