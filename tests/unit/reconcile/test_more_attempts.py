"""A run of more attempts than its round asks for."""

from __future__ import annotations

import pytest

from podium.api import AttemptState
from podium.reconcile import CreateJob, StoreResult, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()


def fails(*invalid: int, attempts: int, done: int) -> bool:
    """Whether the run fails once `done` attempts have ended, those in `invalid` by breaking a rule."""
    tries = [
        ex.attempt(n, AttemptState.INVALID, reason="ClockInvalid", stored=True)
        if n in invalid
        else ex.converged(n, 40 + n)
        for n in range(1, done + 1)
    ]
    run = ex.run(ex.status(*tries), division="closed", preset="full", quality=None, attempts=attempts,
                 data={"persistentVolumeClaim": {"claimName": "imagenet"}})  # fmt: skip
    actions = decide(run, ex.observed(), ROUNDS, ex.T0 + 900).actions
    assert done < attempts or not any(isinstance(action, CreateJob) for action in actions)
    return any(isinstance(action, StoreResult) and action.outcome == "Failed" for action in actions)


@pytest.mark.parametrize(
    ("invalid", "attempts", "expected"),
    [
        ((1, 2), 5, True),  # as many as the round asks for: one may fail
        ((1, 2), 6, True),  # of two groups of five the slower counts, and 1 to 5 has no score
        ((1, 2), 7, False),  # 2 to 6 and 3 to 7 have one failure at most
        ((1, 7), 7, False),  # no five in a row have both
        ((3, 4), 7, True),  # every five in a row have both
    ],
)
def test_a_run_goes_on_while_the_attempts_that_will_count_can_give_a_score(
    invalid: tuple[int, ...], attempts: int, expected: bool
) -> None:
    assert fails(*invalid, attempts=attempts, done=max(invalid)) is expected
