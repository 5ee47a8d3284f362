"""How often the verdicts on a fleet are wrong, and how many runs they take: simulated sweeps.

`PODIUM_TEST_FLEETS=1000` simulates that many fleets of each kind instead of 20.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from podium.scoring import JudgedFleet, RowVerdict, judge_fleet

FLEETS = int(os.environ.get("PODIUM_TEST_FLEETS", "20"))
MAX_RUNS = 4

Noise = Callable[[random.Random], float]


def normal(deviation: float) -> Noise:
    return lambda draw: draw.gauss(0, deviation)


def with_slow_runs(deviation: float, often: float, by: float) -> Noise:
    """Normal noise, and now and then a run that is slow by itself."""
    return lambda draw: draw.gauss(0, deviation) - (by if draw.random() < often else 0)


@dataclass
class Tally:
    fleets: int = 0
    slow: int = 0
    found: int = 0
    called_ok: int = 0
    with_false_alarm: int = 0
    nodes: int = 0
    healthy_unsure: int = 0
    runs: int = 0

    def add(self, judged: JudgedFleet, speeds: Sequence[float]) -> None:
        pairs = [(speed < 1 - 0.03, row) for speed, row in zip(speeds, judged.rows, strict=True)]
        self.fleets += 1
        self.slow += sum(slow for slow, _ in pairs)
        self.found += sum(slow and row.verdict is RowVerdict.SLOW for slow, row in pairs)
        self.called_ok += sum(slow and row.verdict is RowVerdict.OK for slow, row in pairs)
        self.with_false_alarm += any(not slow and row.verdict is RowVerdict.SLOW for slow, row in pairs)
        self.healthy_unsure += sum(not slow and row.verdict is RowVerdict.UNSURE for slow, row in pairs)
        self.nodes += len(pairs)
        self.runs += sum(row.rates for row in judged.rows)

    def __str__(self) -> str:
        return (
            f"{self.fleets} fleets: {self.found} of {self.slow} slow nodes found, {self.called_ok} called ok; "
            f"{self.with_false_alarm} fleets with a false alarm; {self.runs / self.nodes:.2f} runs per node; "
            f"{self.healthy_unsure} of {self.nodes - self.slow} others unsure at the end"
        )


def sweep(speeds: Sequence[float], noise: Noise, draw: random.Random) -> JudgedFleet:
    """Run each node once, and then those that may decide, one run at a time."""
    rates = {f"{index:04}": [1234.5 * speed * (1 + noise(draw))] for index, speed in enumerate(speeds)}
    while True:
        judged = judge_fleet(rates, max_runs=MAX_RUNS)
        again = [row.name for row in judged.rows if row.repeat]
        if not again:
            return judged
        for name in again:
            rates[name].append(1234.5 * speeds[int(name)] * (1 + noise(draw)))


def simulate(speeds: Callable[[random.Random], list[float]], noise: Noise, fleets: int = FLEETS) -> Tally:
    tally = Tally()
    for seed in range(fleets):
        draw = random.Random(seed)
        nodes = speeds(draw)
        tally.add(sweep(nodes, noise, draw), nodes)
    print(tally)
    return tally


def at_most(rate: float, of: int) -> float:
    """How many of these are not more than `rate`, by chance: three standard deviations are allowed."""
    return rate * of + 3 * math.sqrt(rate * of)


def nodes(count: int, slow: Sequence[float] = (), spread: float = 0.0) -> Callable[[random.Random], list[float]]:
    """Speeds of nodes: some slow ones, the others around 1."""
    return lambda draw: [*slow, *(1 + draw.gauss(0, spread) for _ in range(count - len(slow)))]


@pytest.mark.parametrize("noise", [0.003, 0.005, 0.007], ids=lambda noise: f"noise {noise:.1%}")
def test_3_of_100_nodes_are_5_percent_slow(noise):
    tally = simulate(nodes(100, slow=[0.95] * 3), normal(noise))
    assert tally.slow - tally.found <= at_most(0.01 if noise <= 0.005 else 0.1, of=tally.slow)
    assert tally.called_ok <= at_most(0.01, of=tally.slow)
    assert tally.with_false_alarm <= at_most(0.01, of=tally.fleets)
    assert tally.runs <= (1.1 if noise <= 0.005 else 1.5) * tally.nodes


@pytest.mark.parametrize(("count", "noise"), [(2, 0.02), (3, 0.02), (5, 0.005), (5, 0.05), (16, 0.02), (100, 0.005)])
def test_no_node_is_slow(count, noise):
    tally = simulate(nodes(count), normal(noise))
    assert tally.with_false_alarm <= at_most(0.01, of=tally.fleets)


@pytest.mark.parametrize("count", [8, 32])
def test_nodes_that_are_slow_by_just_the_tolerance(count):
    """The worst case for both errors: an eighth of the nodes is at the limit."""
    limit = simulate(nodes(count, slow=[0.9701] * (count // 8)), normal(0.01))
    assert limit.with_false_alarm <= at_most(0.01, of=limit.fleets)
    beyond = simulate(nodes(count, slow=[0.9699] * (count // 8)), normal(0.01))
    assert beyond.called_ok <= at_most(0.01, of=beyond.slow)


def test_one_of_four_nodes_at_70_percent():
    tally = simulate(nodes(4, slow=[0.7]), normal(0.02))
    assert tally.slow - tally.found <= at_most(0.01, of=tally.slow)
    assert tally.with_false_alarm <= at_most(0.01, of=tally.fleets)


@pytest.mark.parametrize("noise", [0.002, 0.005, 0.01], ids=lambda noise: f"noise {noise:.1%}")
def test_nodes_that_really_differ_by_1_percent(noise):
    tally = simulate(nodes(16, spread=0.01), normal(noise))
    assert tally.with_false_alarm <= at_most(0.01, of=tally.fleets)


@pytest.mark.parametrize(("count", "by"), [(8, 0.05), (100, 0.02), (100, 0.05)])
def test_runs_that_are_slow_by_themselves(count, by):
    tally = simulate(nodes(count), with_slow_runs(0.005, often=0.005, by=by))
    assert tally.with_false_alarm <= at_most(0.01, of=tally.fleets)


def test_half_of_the_fleet_is_slow():
    tally = simulate(nodes(32, slow=[0.95] * 16), normal(0.005))
    assert tally.slow - tally.found <= at_most(0.01, of=tally.slow)
    assert tally.with_false_alarm <= at_most(0.01, of=tally.fleets)
