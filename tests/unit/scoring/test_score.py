"""The olympic mean: examples, and what holds for any series."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api import AttemptState
from podium.scoring import Rule, TimedAttempt, score

FIVE = Rule(runs=5)
NAMES = {
    "x": AttemptState.NOT_CONVERGED,
    "!": AttemptState.INVALID,
    "?": AttemptState.FAILED,
    "a": AttemptState.ABORTED,
}


def series(*results):
    """Seconds of runs that converged; x did not, ! broke a rule, ? could not be measured."""
    return [
        TimedAttempt(i, NAMES[r]) if isinstance(r, str) else TimedAttempt(i, AttemptState.CONVERGED, float(r), float(i))
        for i, r in enumerate(results, start=1)
    ]


@pytest.mark.parametrize(
    ("results", "seconds", "dropped", "official", "reason"),
    [
        ([10, 20, 30, 40, 50], 30, (1, 5), True, None),
        ([50, 10, 30, 40, 20], 30, (1, 2), True, None),
        ([10, 20, 30, 40, "x"], 30, (1, 5), True, None),
        ([10, 20, 30, 40, "!"], 30, (1, 5), True, None),
        (
            [10, 20, 30, "x", "x"],
            None,
            (1, 4, 5),
            False,
            "invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest",
        ),
        ([10, 20, 30, 40, "?"], None, (1, 4), False, "invalid: attempt 5 could not be measured"),
        ([10, 20, 30], 20, (1, 3), False, "not official: 3 of the 5 attempts that the rules require"),
        (
            [10, 20],
            15,
            (),
            False,
            "nothing was dropped: 2 attempts are too few to drop the fastest and the slowest",
        ),
        ([10], 10, (), False, "nothing was dropped: 1 attempt is too few to drop the fastest and the slowest"),
        (["x"], None, (), False, "invalid: 1 attempt did not converge, at most 0 may be dropped as the slowest"),
        ([], None, (), False, "invalid: no attempt converged"),
    ],
)
def test_five_runs_are_asked_for(results, seconds, dropped, official, reason):
    result = score(series(*results), FIVE)
    assert (result.seconds, result.dropped, result.official) == (seconds, dropped, official)
    assert result.valid is (seconds is not None)
    assert reason is None or reason in result.reasons


def test_of_a_hundred_runs_the_first_fifty_to_converge_are_scored():
    runs = series(*([10, "x", 30] * 34)[:100])
    result = score(runs, Rule(runs=100, converged_runs=50, max_failures=50))
    assert result.valid
    assert len(result.scored) + len(result.dropped) == 50
    assert max(result.scored) <= 75  # the fiftieth that converged


times = st.lists(st.floats(min_value=0.1, max_value=1e6), min_size=3, max_size=30)


@given(times, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(seconds, random):
    runs = series(*seconds)
    shuffled = random.sample(runs, len(runs))
    assert score(runs, FIVE) == score(shuffled, FIVE)


@given(times)
def test_the_mean_lies_among_the_times_and_nobody_is_scored_and_dropped(seconds):
    result = score(series(*seconds), FIVE)
    assert min(seconds) - 1e-6 <= result.seconds <= max(seconds) * (1 + 1e-12)
    assert not set(result.scored) & set(result.dropped)
    assert len(result.scored) + len(result.dropped) == len(result.designated or seconds)
