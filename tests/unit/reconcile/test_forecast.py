"""A run whose result is compared with reference convergence points, and what it says of them before its end."""

from __future__ import annotations

from typing import Any

import pytest

from podium.api import AttemptState, AttemptStatus, BenchmarkRunStatus, ConditionType, Reason
from podium.reconcile import CreateJob, Decision, Emit, StoreResult, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()
CLOSED = {"round": "v5.1", "benchmark": "llama2_70b_lora", "division": "closed", "preset": "full", "quality": None,
          "attempts": None, "data": {"persistentVolumeClaim": {"claimName": "govreport"}},
          "template": {"image": "registry.example/lora:1"}}  # fmt: skip
FAST = "likely to fail the RCP check: mean samples 2,048, floor 2,961"
HOPELESS = f"{FAST}, after 3 of 10 attempts; spec.stopWhenHopeless ends the run"


def took(index: int, samples: int, batch: int = 8) -> AttemptStatus:
    return ex.converged(index, 90).model_copy(update={"converged_after": str(samples), "batch_size": batch})


def decided(
    *attempts: AttemptStatus, before: BenchmarkRunStatus | None = None, seen: Any = None, **spec: Any
) -> Decision:
    status = (before or BenchmarkRunStatus()).model_copy(update={"attempts": attempts})
    return decide(ex.run(status, **{**CLOSED, **spec}), seen or ex.observed(), ROUNDS, ex.T0 + 900)


def events(decision: Decision) -> list[Emit]:
    return [action for action in decision.actions if isinstance(action, Emit)]


def test_a_run_that_is_likely_to_fail_says_so_once():
    made = [took(n, 2048) for n in (1, 2, 3)]
    first = decided(*made)
    assert events(first) == [Emit(Reason.LIKELY_TO_FAIL_RCP, f"{FAST}, after 3 of 10 attempts")]
    found = first.status.forecast
    assert (found.message, found.likely_fails, found.attempts) == (FAST, True, 3)
    assert first.status.condition(ConditionType.RUNNING).message.endswith(FAST)
    assert any(isinstance(action, CreateJob) for action in first.actions), "it goes on"
    assert events(decided(*made, took(4, 2048), before=first.status)) == []


def test_one_that_converges_as_the_reference_does_is_forecast_to_pass():
    decision = decided(took(1, 3072), took(2, 3456))
    assert decision.status.forecast.message.startswith("passes the RCP check with a probability of 9")
    assert events(decision) == []
    assert "RCP" not in decision.status.condition(ConditionType.RUNNING).message


def test_with_stop_when_hopeless_it_makes_no_more_attempts_and_keeps_those_made():
    made = [took(n, 2048) for n in (1, 2, 3)]
    stopped = decided(*made, stopWhenHopeless=True)
    assert not any(isinstance(action, CreateJob) for action in stopped.actions)
    (stored,) = [action for action in stopped.actions if isinstance(action, StoreResult)]
    assert (stored.outcome, stored.message, stored.attempts) == ("Failed", HOPELESS, tuple(made))
    seen = ex.observed(result=ex.RESULT, sealed=stored)
    ended = decided(*made, before=stopped.status, seen=seen, stopWhenHopeless=True)
    failed = ended.status.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason, failed.message) == ("True", "StoppedAsHopeless", HOPELESS)
    assert events(ended) == [Emit(Reason.STOPPED_AS_HOPELESS, HOPELESS)]


def test_an_attempt_in_progress_ends_first():
    running = ex.attempt(4, AttemptState.TRAINING)
    job = ex.job(ex.running(0), ex.running(1))
    seen = ex.observed({running.id: job}, {running.id: ex.log(ex.START)})
    decision = decided(*(took(n, 2048) for n in (1, 2, 3)), running, seen=seen, stopWhenHopeless=True)
    assert not any(isinstance(action, StoreResult | CreateJob) for action in decision.actions)


def test_after_the_last_attempt_there_is_nothing_to_stop():
    decision = decided(*(took(n, 2048) for n in range(1, 11)), stopWhenHopeless=True)
    assert decision.status.forecast.message == "fails the RCP check: mean samples 2,048, floor 2,961"
    (stored,) = [action for action in decision.actions if isinstance(action, StoreResult)]
    assert stored.outcome == "Complete"


def test_there_is_no_forecast_where_no_review_compares():
    two = [took(1, 2048), took(2, 2048)]
    assert decided(*two, division="open").status.forecast is None
    assert decided(*two, measure={"duration": "1m"}, attempts=5).status.forecast is None
    assert decided(took(1, 2048), took(2, 2048, batch=16)).status.forecast is None, "of two batch sizes"
    assert decided(ex.attempt(1, AttemptState.FAILED, reason="NodeLost")).status.forecast is None


def test_of_more_attempts_than_the_round_asks_for_the_designated_ones_give_the_verdict():
    times = [(1, 50), (2, 60), *((n, 90 + n) for n in range(3, 13))]
    made = [took(n, 2048 if n < 3 else 3456).model_copy(update={"time_to_train_seconds": str(s)}) for n, s in times]
    found = decided(*made, attempts=12).status.forecast
    assert (found.attempts, found.message) == (10, "passes the RCP check: mean samples 3,456, floor 2,961")


def test_an_attempt_records_what_the_check_compares():
    lines = [(5, "global_batch_size", 8), ex.START, (60, "eval_accuracy", (0.92, {"samples_count": 3072})), ex.SUCCESS]
    job = ex.job(ex.ended(0), ex.ended(1), finished="Complete")
    seen = ex.observed(job, ex.log(*lines, whole=True))
    one = decided(ex.attempt(1, AttemptState.TRAINING), seen=seen).status.attempts[0]
    assert (one.state, one.converged_after, one.batch_size) == (AttemptState.CONVERGED, "3072", 8)
    one = decided(
        ex.attempt(1, AttemptState.TRAINING), seen=seen, division="open", quality={"target": "0.925"}
    ).status.attempts[0]
    assert (one.state, one.converged_after, one.batch_size) == (AttemptState.CONVERGED, None, None)


@pytest.mark.parametrize("text", ["nan", "1e308", "-3072", "0", "x", "", None])
def test_whatever_stands_in_the_status_gives_a_forecast_or_none(text: str | None) -> None:
    odd = [took(n, 3072).model_copy(update={"converged_after": text, "batch_size": size})
           for n, size in enumerate((8, 8, -1, 10**30), 1)]  # fmt: skip
    for attempts in (odd[:2], odd[2:3], odd[3:], odd):
        forecast = decided(*attempts).status.forecast
        assert forecast is None, forecast
    assert decided(took(1, 3072), odd[0].model_copy(update={"index": 3})).status.forecast.attempts == 2
