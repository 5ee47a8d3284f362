"""How well a system scales: rates by node count in, efficiencies and the knee out."""

from __future__ import annotations

import math
import random

import pytest

from podium.scoring import Scaling, scaling_curve


def curve(efficiencies: dict[int, float], repeats: int = 3, noise: float = 0.003, **options):
    draw = random.Random(1)
    rates = {n: [50 * n * e * (1 + draw.gauss(0, noise)) for _ in range(repeats)] for n, e in efficiencies.items()}
    return scaling_curve(rates, **options)


def test_efficiency_is_relative_to_the_smallest_count():
    found = curve({4: 1.0, 1: 1.0, 2: 0.9}, noise=0.0)
    assert [point.nodes for point in found.points] == [1, 2, 4]
    assert [point.efficiency for point in found.points] == [1.0, pytest.approx(0.9), pytest.approx(1.0)]
    assert [point.rate for point in found.points] == pytest.approx([50, 90, 200])
    assert curve({2: 0.8, 8: 0.4}, noise=0.0).points[1].efficiency == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("efficiencies", "knee", "answer"),
    [
        ({1: 1, 2: 0.97, 4: 0.93, 8: 0.7}, 4, "efficiency is above 80 % up to 4 nodes; at 8 nodes it is 69.8 %"),
        ({1: 1, 2: 0.97, 4: 0.93}, 4, "efficiency is above 80 % up to 4 nodes, the largest count"),
        ({1: 1, 2: 0.7, 4: 0.9}, 1, "efficiency is above 80 % up to 1 node; at 2 nodes it is 69.7 %"),
        ({1: 1, 2: 0.95, 4: 0.801}, 2, "efficiency is above 80 % up to 2 nodes; unsure at 4"),
        ({1: 1, 2: 0.801, 4: 0.9}, 4, "efficiency is above 80 % up to 4 nodes, the largest count"),
        ({1: 1, 2: 1.2}, 2, "efficiency is above 80 % up to 2 nodes, the largest count"),
        ({3: 1}, 3, "efficiency is above 80 % up to 3 nodes, the largest count"),
        ({}, None, "no node count has a rate"),
    ],
)
def test_the_knee(efficiencies, knee, answer):
    found = curve(efficiencies)
    assert (found.knee, found.answer) == (knee, answer)
    assert found.final == ("unsure" not in answer)


def test_one_rate_each_has_no_interval():
    found = scaling_curve({1: [50.0], 2: [95.0], 4: [100.0]})
    assert [point.verdict for point in found.points] == [Scaling.ABOVE, Scaling.UNSURE, Scaling.UNSURE]
    assert [point.interval for point in found.points] == [(1.0, 1.0), None, None]
    assert all(point.repeat for point in found.points)
    assert (found.knee, found.final, found.noise) == (1, False, None)
    assert not any(point.repeat for point in scaling_curve({1: [50.0], 2: [95.0]}, max_runs=1).points)


def test_identical_rates_have_no_noise():
    found = scaling_curve({1: [50.0, 50.0], 2: [80.0, 80.0], 4: [159.0, 159.0]})
    assert [point.verdict for point in found.points] == [Scaling.ABOVE, Scaling.ABOVE, Scaling.BELOW]
    assert scaling_curve({1: [50.0, 50.0], 2: [80.0, 80.0]}).noise is None


def test_values_that_are_not_rates():
    found = scaling_curve({1: [math.nan], 2: [100.0, 0.0, 100.1], 4: [199.0, 199.4, math.inf]})
    assert (found.base, found.points[0].efficiency, found.points[0].verdict) == (2, None, Scaling.UNSURE)
    assert [point.ignored for point in found.points] == [1, 1, 1]
    assert found.points[2].efficiency == pytest.approx(0.996, abs=0.001)


def test_the_intervals_hold_the_efficiencies():
    """All of them at once, in at least 95 of 100 curves."""
    truth, hits = {1: 1.0, 2: 0.95, 4: 0.85, 8: 0.6}, 0
    for seed in range(300):
        draw = random.Random(seed)
        found = scaling_curve({n: [n * e * math.exp(draw.gauss(0, 0.02)) for _ in range(2)] for n, e in truth.items()})
        hits += all(p.interval[0] <= truth[p.nodes] <= p.interval[1] for p in found.points)
    assert hits >= 0.95 * 300


@pytest.mark.parametrize(("rates", "options"), [({0: [1.0]}, {}), ({1: [1.0]}, {"min_efficiency": 0.0})])
def test_wrong_use(rates, options):
    with pytest.raises(ValueError, match="0"):
        scaling_curve(rates, **options)
