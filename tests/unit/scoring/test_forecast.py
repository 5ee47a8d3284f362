"""The forecast of the RCP check: it calls sets that fail early, and sets of the reference itself hardly ever."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import accumulate
from random import Random

import pytest

from podium.rounds import load_rounds
from podium.scoring import HOPELESS, Forecast, convergence, forecast
from podium.scoring.convergence import floor_at

SETS = 500
ROUNDS = load_rounds()
POINTS = [
    pytest.param("v5.1", "llama2_70b_lora", 8, id="llama2_70b_lora"),  # in steps of 384 samples
    pytest.param("v5.1", "llama31_8b", 32, id="llama31_8b"),
    pytest.param("v5.1", "llama31_405b", 1152, id="llama31_405b"),  # three attempts
    pytest.param("v6.1", "flux1", 1024, id="flux1"),
    pytest.param("v5.1", "retinanet", 700, id="retinanet"),  # interpolated
    pytest.param("v4.0", "unet3d", 84, id="unet3d"),  # of forty, four are dropped at each end
]
# The 20 runs of the reference at batch size 8 (mlperf_logging, training_5.1.0/rcps_llama2_70b_lora.json)
LORA = [3072, 2688, 3456, 3072, 3072, 3072, 3456, 3456, 3072, 2688, 3456, 3072, 3072, 3072, 3840, 3456, 2688, 3072,
        3456, 3456]  # fmt: skip


def foreseen(round_: str, name: str, batch: int, counts: Sequence[float | None], wanted: int = 0) -> Forecast | None:
    rules = ROUNDS[round_].benchmarks[name]
    return forecast(round_, name, rules, batch, counts, wanted=wanted or rules.runs)


def first_called(round_: str, name: str, batch: int, counts: Sequence[float]) -> int | None:
    """After how many attempts a set is first called likely to fail."""
    so_far = accumulate(([one] for one in counts), lambda before, one: [*before, *one])
    return next((len(made) for made in so_far if foreseen(round_, name, batch, made, len(counts)).likely_fails), None)


def drawn(seed: int, round_: str, name: str, batch: int, away: float = 0.0) -> list[float]:
    """The attempts of one result, whose mean is `away` standard deviations from the reference's."""
    rules, random = ROUNDS[round_].benchmarks[name], Random(seed)
    point = rules.reference_point(batch)
    return [random.gauss(point.mean + away * point.deviation, point.deviation) for _ in range(rules.runs)]


@pytest.mark.parametrize(("round_", "name", "batch"), POINTS)
def test_sets_of_the_reference_are_called_likely_to_fail_in_at_most_five_percent(round_, name, batch):
    called = [seed for seed in range(SETS) if first_called(round_, name, batch, drawn(seed, round_, name, batch))]
    assert len(called) <= 0.05 * SETS


def test_nor_are_sets_of_the_runs_of_the_reference():
    sets = [Random(seed).choices(LORA, k=10) for seed in range(SETS)]
    assert sum(first_called("v5.1", "llama2_70b_lora", 8, counts) is not None for counts in sets) <= 0.05 * SETS


@pytest.mark.parametrize(("round_", "name", "batch"), POINTS)
def test_a_set_at_a_mean_that_fails_is_called_after_four_attempts_at_the_latest(round_, name, batch):
    floor = floor_at(round_, name, ROUNDS[round_].benchmarks[name], batch)
    away = (floor.least - floor.point.mean) / floor.point.deviation - 3
    for seed in range(SETS):
        counts = drawn(seed, round_, name, batch, away)
        after = first_called(round_, name, batch, counts)
        assert after is not None, seed
        assert after <= 4, seed
        assert statistics.fmean(counts) < floor.least, seed


@pytest.mark.parametrize(("round_", "name", "batch"), POINTS)
def test_after_the_last_attempt_it_is_the_verdict(round_, name, batch):
    rules = ROUNDS[round_].benchmarks[name]
    for seed in range(50):
        counts: list[float | None] = [*drawn(seed, round_, name, batch, away=-0.7)]
        counts[seed % len(counts)] = None if rules.runs > 3 and seed % 2 else counts[seed % len(counts)]
        verdict = convergence(round_, name, rules, batch, counts)
        found = foreseen(round_, name, batch, counts)
        assert (found.probability == 1, found.likely_fails) == (verdict.passed, not verdict.passed), seed
        assert f"{found.mean:.6g} {found.unit} on average" in verdict.message


def test_the_sentences():
    of = ("v5.1", "llama31_8b", 32)
    assert foreseen(*of, [150_000, 152_000]).text == "likely to fail the RCP check: mean samples 151,000, floor 173,650"
    assert foreseen(*of, [175_000]).text == (
        "passes the RCP check with a probability of 73%: mean samples 175,000, floor 173,650"
    )
    assert foreseen(*of, [150_000] * 10).text == "fails the RCP check: mean samples 150,000, floor 173,650"
    assert foreseen(*of, [180_000] * 10).text == "passes the RCP check: mean samples 180,000, floor 173,650"
    assert foreseen(*of, [150_000] * 3).probability < HOPELESS


def test_there_is_none_where_the_verdict_compares_nothing():
    of = ("v5.1", "llama31_8b", 32)
    assert foreseen(*of, []) is None
    assert foreseen(*of, [None]) is None
    assert foreseen(*of, [180_000, None, None]) is None, "no score drops two that did not converge"
    assert foreseen(*of, [180_000], wanted=2) is None, "nothing is left after dropping"
    assert foreseen("v5.1", "llama31_8b", 10**6, [180_000]) is None
    assert foreseen("v0.7", "resnet", 4096, [40]) is None
