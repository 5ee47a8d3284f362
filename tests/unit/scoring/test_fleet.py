"""Which rows of a fleet are slow: rates in, verdicts out."""

from __future__ import annotations

import itertools
import math
import random
import time

import pytest

from podium.scoring import JudgedFleet, RowVerdict, judge_fleet

OK, SLOW, UNSURE = RowVerdict.OK, RowVerdict.SLOW, RowVerdict.UNSURE
HEALTHY = [99.6, 100.3, 100.1, 99.8, 100.0, 99.9, 100.2, 100.4, 99.7, 100.05]  # +-0.3 %


def fleet(rates, **options) -> JudgedFleet:
    """The verdicts on rows a, b, c, ... with these rates."""
    rows = [value if isinstance(value, list) else [value] for value in rates]
    return judge_fleet({chr(ord("a") + index): row for index, row in enumerate(rows)}, **options)


def verdicts(judged: JudgedFleet) -> str:
    return " ".join(row.verdict for row in judged.rows)


def hundred(first: list[float], others: int = 1) -> JudgedFleet:
    """A fleet of 100 with noise of 0.5 %; the first row has these rates."""
    draw = random.Random(3)
    return fleet([first, *([draw.gauss(100, 0.5) for _ in range(others)] for _ in range(99))])


@pytest.mark.parametrize(
    ("what", "rates", "options", "expected"),
    [
        ("ten like each other, twice", [[rate, rate + 0.1] for rate in HEALTHY], {}, "ok " * 10),
        ("one of ten is 8 % slow", [*([rate, rate + 0.1] for rate in HEALTHY[:9]), [92.0, 92.1]], {}, "ok " * 9 + "slow"),
        ("a faster one is ok", [*([rate, rate + 0.1] for rate in HEALTHY[:9]), [108.0, 108.1]], {}, "ok " * 10),
        ("at 3.5 %, more runs are needed", [*([r, r + 0.5] for r in HEALTHY[:9]), [96.3, 96.7]], {}, "ok " * 9 + "unsure"),
        ("no difference seen, but one rate each", [100.0, 99.9, 100.1, 100.2], {}, "unsure " * 4),
        ("two rows, one rate each", [100.0, 95.0], {}, "unsure unsure"),
        ("two rows, three rates each", [[100.0, 100.2, 100.1], [95.0, 95.3, 95.2]], {}, "ok slow"),
        ("five rows, a difference of 30 %", [100.0, 100.1, 99.9, 100.05, 70.0], {}, "unsure " * 5),
        ("unmistakable, and no run left", [100.0, 100.01, 99.99, 100.02, 70.0], {"max_runs": 1}, "ok ok ok ok slow"),
        ("a fleet of one", [100.0], {}, "unsure"),
        ("a fleet of one, with a baseline", [[95.0, 95.1, 95.05, 95.0]], {"baseline": 100.0}, "slow"),
        ("the baseline replaces the median", [[r, r + 0.1, r] for r in HEALTHY], {"baseline": 106.0}, "slow " * 10),
        ("identical", [100.0] * 5, {}, "ok " * 5),
        ("identical, except for one within the tolerance", [[100.0, 100.0]] * 4 + [[97.0, 97.0]], {}, "ok " * 5),
        ("identical, except for one below it", [[100.0, 100.0]] * 4 + [[96.9, 96.9]], {}, "ok " * 4 + "slow"),
        ("ties of rounded rates prove little", [100.0, 100.0, 100.0, 95.0], {}, "unsure " * 4),
        ("so do two pairs", [[100.0, 100.0], [95.0, 95.0]], {}, "unsure unsure"),
        ("fewer runs than wanted", [[r] for r in [*HEALTHY, *HEALTHY]], {"min_runs": 2}, "unsure " * 20),
        ("nothing known", [[], [], []], {}, "unsure " * 3),
        ("no rows", [], {}, ""),
    ],
)  # fmt: skip
def test_verdicts(what, rates, options, expected):
    assert verdicts(fleet(rates, **options)) == expected.strip(), what


def test_a_slow_row_is_confirmed_by_a_second_run():
    once = hundred([95.0]).rows[0]
    assert (once.verdict, once.repeat) == (UNSURE, True)
    assert once.reason == "4.9 % slower (-6.4 to -2.6 %): the interval includes -3.0 %"
    far = hundred([90.0]).rows[0]
    assert (far.verdict, far.repeat) == (UNSURE, True)
    assert far.reason.endswith("in one run, to be confirmed by another")
    twice = hundred([90.0, 90.2]).rows[0]
    assert (twice.verdict, twice.repeat) == (SLOW, False)
    assert twice.deviation == pytest.approx(-0.1, abs=0.002)
    assert twice.interval[0] < twice.deviation < twice.interval[1] < -0.03


def test_a_slow_row_needs_no_second_run_if_it_gets_none():
    draw = random.Random(3)
    rates = {f"n{index}": [draw.gauss(100, 0.5)] for index in range(99)} | {"slow": [90.0]}
    assert judge_fleet(rates, max_runs=1).worst.verdict is SLOW
    assert judge_fleet(rates, runs_made={"slow": 4}).worst.verdict is SLOW
    assert judge_fleet(rates).worst.verdict is UNSURE


def test_a_run_that_is_2_percent_slow_by_itself():
    """It is repeated, and then ok."""
    assert (hundred([97.9]).rows[0].verdict, hundred([97.9]).rows[0].repeat) == (UNSURE, True)
    assert hundred([97.9, 100.0]).rows[0].verdict is OK
    assert verdicts(hundred([97.9, 100.0])).count("slow") == 0


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ([85.0, 100.0], UNSURE),
        ([85.0, 100.0, 100.0], UNSURE),
        ([85.0, 100.0, 100.0, 100.1], UNSURE),  # one run in four is 15 % slow: not slow, and not ok
        ([94.0, 100.0, 100.0, 100.1], OK),
        ([85.0, 94.0, 94.0], SLOW),  # all of them are
        ([94.0, 94.0, 120.0], UNSURE),  # a glitch does not hide that most are slow
    ],
)
def test_runs_that_disagree(rates, verdict):
    row = hundred(rates).rows[0]
    assert row.verdict is verdict
    assert ("more than by noise" in row.reason) == (verdict is UNSURE)


@pytest.mark.parametrize("bad", [0, 0.0, -1.0, math.nan, math.inf, -math.inf])
def test_values_that_are_not_rates(bad):
    """They are ignored, counted and named; they are runs, too."""
    without, with_it = hundred([95.0, 95.1]), hundred([95.0, bad, 95.1])
    row = with_it.rows[0]
    assert (row.rates, row.ignored, row.rate) == (2, 1, without.rows[0].rate)
    assert row.reason.endswith("; 1 ignored, not a finite number above 0")
    assert (with_it.median, with_it.noise) == (without.median, without.noise)
    only = hundred([bad, bad, bad, bad]).rows[0]
    assert (only.verdict, only.rate, only.interval, only.repeat) == (UNSURE, None, None, False)
    assert only.reason == "no rate; 4 ignored, not a finite number above 0"


def test_the_order_does_not_matter():
    rows = {"b": [99.0, 101.0, 100.0], "a": [90.0, 91.0], "c": [100.3], "a.b": [100.1, 99.7]}
    expected = judge_fleet(rows)
    for order in itertools.permutations(rows):
        assert judge_fleet({name: rows[name][::-1] for name in order}) == expected
    assert [row.name for row in expected.rows] == ["a", "a.b", "b", "c"]


def test_half_of_the_fleet_is_slow():
    """The faster half is the reference, and both halves are named."""
    draw = random.Random(4)
    judged = fleet([[draw.gauss(95 if index < 8 else 100, 0.3) for _ in range(2)] for index in range(16)])
    assert verdicts(judged) == ("slow " * 8 + "ok " * 8).strip()
    assert judged.reference == pytest.approx(100, rel=0.003)
    assert judged.median == pytest.approx(97.5, rel=0.003)
    assert judged.split.slow == tuple("abcdefgh")
    assert judged.split.fast == tuple("ijklmnop")
    assert judged.split.deviation == pytest.approx(-0.05, abs=0.003)


def test_most_of_the_fleet_is_slow():
    """The peers are the majority, so nobody is slow; the split is what a person has to see."""
    draw = random.Random(4)
    rates = [[draw.gauss(95 if index < 11 else 100, 0.3) for _ in range(2)] for index in range(16)]
    judged = fleet(rates)
    assert judged.count(SLOW) == 0
    assert judged.split.fast == tuple("lmnop")
    assert fleet(rates, baseline=100.0).count(SLOW) == 11


def test_a_few_slow_rows_are_no_group():
    draw = random.Random(4)
    judged = fleet([[draw.gauss(95 if index < 3 else 100, 0.3) for _ in range(2)] for index in range(16)])
    assert (judged.count(SLOW), judged.count(OK), judged.split) == (3, 13, None)


def test_the_worst_is_slow_rather_than_unsure():
    rates = [*([rate, rate + 0.1] for rate in HEALTHY), [95.0, 95.1], [94.0, 99.0]]
    judged = fleet(rates)
    assert (judged.worst.name, judged.worst.verdict) == ("k", SLOW)
    assert fleet([[r, r + 0.1] for r in HEALTHY]).worst.name == "a"
    assert fleet([[], []]).worst is None


def test_the_spread_is_that_of_the_rows_and_the_noise_that_of_a_run():
    draw = random.Random(5)
    rows = [draw.gauss(100, 1.0) for _ in range(200)]
    judged = fleet([[draw.gauss(row, 0.2) for _ in range(3)] for row in rows])
    assert judged.spread == pytest.approx(0.01, rel=0.2)
    assert judged.noise == pytest.approx(0.002, rel=0.1)


def test_a_thousand_rows():
    draw = random.Random(1)
    rates = {f"node-{index}.example": [draw.gauss(100, 0.5) for _ in range(2)] for index in range(1000)}
    before = time.process_time()
    judged = judge_fleet(rates)
    assert time.process_time() - before < 0.5
    assert judged.count(OK) == 1000


@pytest.mark.parametrize("tolerance", [-0.01, 1.0, math.nan])
def test_a_tolerance_is_a_ratio(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        judge_fleet({"a": [1.0]}, tolerance=tolerance)


@pytest.mark.parametrize("baseline", [0.0, -1.0, math.nan, math.inf])
def test_a_baseline_is_a_rate(baseline):
    with pytest.raises(ValueError, match="baseline"):
        judge_fleet({"a": [1.0]}, baseline=baseline)


@pytest.mark.parametrize("rates", [[1e-300, 1e300], [1e-300, 1e300, 1.0], [5e-324, 1.7e308, 1.0, 1.0, 2.0]])
def test_extreme_rates_give_numbers(rates):
    for row in fleet(rates).rows:
        assert all(map(math.isfinite, (row.rate, row.deviation, *row.interval)))
