"""decide() never raises, and never moves a try backwards, whatever anybody with rights on the status has written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.api import AttemptState, AttemptStatus, BenchmarkRunStatus, Condition, Reason, TryId
from podium.controller.status_writer import status_document
from podium.reconcile import Observed, decide, read_run
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, GOOD, START, SUCCESS, T0, ended, log

ROUNDS = load_rounds()
TEXTS = st.one_of(
    st.none(), st.sampled_from(["", "nan", "inf", "-1", "1e400", "12.5", "2023-11-14T22:13:40.000Z", "9999-99-99", "x"])
)
INDICES = st.one_of(st.integers(1, 6), st.sampled_from([10**20, 10**9]))
ATTEMPTS = st.builds(
    AttemptStatus.model_construct,
    index=INDICES,
    try_=st.one_of(st.integers(0, 3), st.just(10**20)),
    state=st.sampled_from(list(AttemptState)),
    seed=st.integers(-(10**20), 10**20),
    job=st.just("j"),
    job_uid=st.sampled_from([None, "job", "x"]),
    created_time=st.just("x"),
    start_time=TEXTS,
    quality=TEXTS,
    time_to_train_seconds=TEXTS,
    energy_joules=TEXTS,
    reason=st.sampled_from([None, "MoonIsFull", *(reason.value for reason in Reason)]),
    message=TEXTS,
    stored=st.booleans(),
)
CONDITIONS = st.builds(
    Condition,
    type=st.sampled_from(["Complete", "Failed", "Running", "Odd"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=st.just("x"),
    message=st.just("x"),
    last_transition_time=st.sampled_from(["", "soon", "2023-11-14T22:13:40Z"]),
)
JOBS = st.sampled_from([
    ex.job(), ex.job(suspended=True), ex.job(ex.running(0), ex.running(1)), ex.job(ended(0), ended(1), finished="Complete"),
    ex.job(ended(0, 1), ex.running(1)), ex.job(ended(0, None, finished=1e300), ex.waiting(1, "ErrImagePull")),
])  # fmt: skip
LOGS = st.sampled_from([
    log(), log(known=None), log(START, BAD), log(START, GOOD, SUCCESS, whole=True), log(unreadable="away"),
    log(whole=True, known=None, lost="gone"), log((1e12, "run_start", None), (1e18, "run_stop", None), whole=True),
    log((-1e12, "run_start", None)),
])  # fmt: skip
IDS = st.builds(TryId, INDICES, st.one_of(st.integers(0, 3), st.just(10**20)))
ORDER = [AttemptState.PENDING, AttemptState.INITIALIZING, AttemptState.TRAINING]


@given(
    attempts=st.lists(ATTEMPTS, max_size=5),
    conditions=st.lists(CONDITIONS, max_size=3),
    jobs=st.dictionaries(IDS, JOBS, max_size=4),
    logs=st.dictionaries(IDS, LOGS, max_size=4),
    suspend=st.booleans(),
    deleted=st.booleans(),
    known=st.booleans(),
    parallel=st.integers(1, 4),
    now=st.sampled_from([0.0, T0, T0 + 200, T0 + 1e9, 2e11]),
)
@settings(max_examples=400, deadline=None)
def test_decide_never_raises(attempts, conditions, jobs, logs, suspend, deleted, known, parallel, now):
    status = BenchmarkRunStatus.model_construct(attempts=tuple(attempts), conditions=tuple(conditions))
    run = ex.run(status, attempts=3, suspend=suspend, parallelAttempts=parallel, ttlSecondsAfterFinished=60)
    seen = Observed(jobs=jobs, logs=logs, jobs_known=known, recorded={a.id: a for a in attempts})
    result = decide(replace(run, deleted=deleted), seen, ROUNDS, now)
    assert status_document(result.status)
    if not status.terminal:
        assert [a.id for a in result.status.attempts] == sorted(a.id for a in result.status.attempts)


@given(attempt=ATTEMPTS, job=JOBS, now=st.sampled_from([T0, T0 + 200, T0 + 700, T0 + 1e9]), lines=LOGS)
@settings(max_examples=200, deadline=None)
def test_a_try_never_moves_backwards(attempt, job, now, lines):
    attempt = attempt.model_copy(update={"index": 1, "try_": 0, "job_uid": None})
    seen = Observed(jobs={attempt.id: job}, logs={attempt.id: lines}, recorded={})
    (after, *_) = decide(ex.run(BenchmarkRunStatus(attempts=(attempt,))), seen, ROUNDS, now).status.attempts
    if attempt.state.finished:
        assert (after.state, after.reason) == (attempt.state, attempt.reason)
    elif not after.state.finished:
        assert ORDER.index(after.state) >= ORDER.index(attempt.state)


@pytest.mark.parametrize(("levels", "refused"), [(29, False), (32, True), (900, True)])
def test_a_spec_nested_too_deeply_is_refused(levels, refused):
    value = 1
    for _ in range(levels):
        value = [value]
    spec = {
        "round": "v0.6",
        "benchmark": "resnet",
        "system": {"name": "x", "nodes": 1},
        "hyperparameters": {"a": value},
    }
    body = {"metadata": {"namespace": "n", "name": "x", "uid": "u", "generation": 1}, "spec": spec}
    assert read_run(body).refusal.startswith("spec: nested more than 32 levels deep") == refused
