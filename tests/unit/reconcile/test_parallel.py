"""Several attempts at a time: the same record and the same score, whatever happens first."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.api import AttemptState, TryId
from podium.reconcile import CreateJob, DeleteJob, Observed, StoreAttempt, StoreResult, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, GOOD, START, T0, ended, log, observed

ROUNDS = load_rounds()


def ids(actions):
    return [a.id for a in actions if isinstance(a, CreateJob)]


def created(run, seen):
    return ids(decide(run, seen, ROUNDS, T0 + 200).actions)


def tid(attempt, number=0):
    return TryId(attempt=attempt, number=number)


def test_as_many_attempts_start_as_may_run_at_the_same_time():
    run = ex.run(attempts=5, parallelAttempts=3)
    assert created(run, observed()) == [tid(1), tid(2), tid(3)]
    assert created(ex.run(attempts=2, parallelAttempts=3), observed()) == [tid(1), tid(2)]
    jobs = {tid(i): ex.job(ex.running(0), ex.running(1)) for i in (1, 2, 3)}
    assert created(run, observed(jobs, {id_: log(START) for id_ in jobs})) == []


def test_a_failed_try_is_repeated_while_others_run():
    lost = ex.attempt(1, AttemptState.FAILED, reason="NodeLost", stored=True)
    run = ex.run(ex.status(lost, ex.attempt(2), ex.attempt(3)), attempts=5, parallelAttempts=3)
    jobs = {tid(i): ex.job(ex.running(0), ex.running(1)) for i in (2, 3)}
    assert created(run, observed(jobs, recorded=ex.recorded(*run.status.attempts))) == [tid(1, 1)]
    holding = {**jobs, tid(1): ex.job(ex.running(0))}
    assert created(run, observed(holding, recorded=ex.recorded(*run.status.attempts))) == [], (
        "its machines are not free yet"
    )


def test_an_attempt_that_fails_for_good_starts_nothing_more_and_ends_no_healthy_one():
    failed = ex.attempt(1, AttemptState.FAILED, reason="ProgramFailed", message="why", stored=True)
    run = ex.run(ex.status(failed, ex.attempt(2)), attempts=5, parallelAttempts=2)
    jobs = {tid(2): ex.job(ex.running(0), ex.running(1))}
    waits = decide(run, observed(jobs, {tid(2): log(START, BAD)}), ROUNDS, T0 + 200)
    assert (waits.actions, waits.status.terminal) == ((), False)
    assert waits.status.attempts[1].state == "Training"
    done = replace(run, status=ex.status(failed, ex.converged(2, 40)))
    (store,) = decide(done, observed(), ROUNDS, T0 + 300).actions
    assert (store.outcome, store.message) == ("Failed", "attempt 1 failed: ProgramFailed: why")


def test_the_status_shows_the_attempt_that_has_come_furthest():
    jobs = {tid(i): ex.job(ex.running(0), ex.running(1)) for i in (1, 2, 3)}
    logs = {tid(1): log(), tid(2): log(START, BAD), tid(3): log(START)}
    result = decide(ex.run(attempts=5, parallelAttempts=3), observed(jobs, logs), ROUNDS, T0 + 200)
    assert (result.status.progress.attempt, result.status.progress.quality) == ("2/5", "0.55")
    assert result.status.condition("Running").message == "attempt 2 of 5 and 2 more"
    assert result.status.current.id == tid(2)


class World:
    """Runs every Job to the end that `fate` has for its try, in an order that `rng` chooses."""

    def __init__(self, fate, parallel, attempts, rng):
        self.fate, self.rng = fate, rng
        self.run = ex.run(attempts=attempts, parallelAttempts=parallel)
        self.jobs, self.logs, self.stored, self.result = {}, {}, set(), None
        self.now, self.most = T0 + 20, 0

    def end(self, id_):
        fate = self.fate.get(id_, "good")
        pods = {"lost": (ended(0, None, stopped="Deleted"), ended(1))}.get(fate, (ended(0), ended(1)))
        lines = {"lost": [START], "bad": [START, BAD, (61, "run_stop", None)]}.get(
            fate,
            [
                START,
                (19 + 10 * id_.attempt, *GOOD[1:]),
                (20 + 10 * id_.attempt, "run_stop", (None, {"status": "success"})),
            ],
        )
        self.jobs[id_] = ex.job(*pods, finished="Failed" if fate == "lost" else "Complete", uid=str(id_))
        self.logs[id_] = log(*lines, whole=True)

    def step(self):
        recorded = {a.id: a for a in self.run.status.attempts}
        seen = Observed(dict(self.jobs), dict(self.logs), frozenset(self.stored), self.result, recorded=recorded)
        decision = decide(self.run, seen, ROUNDS, self.now)
        self.run = replace(self.run, status=decision.status)
        for action in decision.actions:
            match action:
                case CreateJob(id_):
                    assert id_ not in self.jobs
                    self.jobs[id_] = ex.job(ex.running(0), ex.running(1), uid=str(id_))
                case DeleteJob(id_):
                    del self.jobs[id_]
                case StoreAttempt(attempt):
                    self.stored.add(attempt.id)
                case StoreResult():
                    self.result = ex.RESULT
        alive = [id_ for id_, job in self.jobs.items() if not job.finished]
        self.most = max(self.most, len(alive))
        self.now += 1
        if alive and self.rng.random() < 0.5:
            self.end(self.rng.choice(alive))

    def play(self):
        for _ in range(400):
            if self.run.status.terminal:
                return self
            self.step()
        raise AssertionError(f"no end: {self.run.status}")

    @property
    def record(self):
        score = self.run.status.score
        return [(a.id, a.reason, a.time_to_train_seconds) for a in self.run.status.attempts], score


FATES = st.dictionaries(
    st.builds(tid, st.integers(1, 5), st.integers(0, 2)), st.sampled_from(["good", "lost", "bad"]), max_size=8
)


@given(fate=FATES, parallel=st.integers(1, 6), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_the_record_does_not_depend_on_what_ends_first(fate, parallel, seed):
    fate = {id_: "good" if kind == "lost" and id_.number == 2 else kind for id_, kind in fate.items()}  # 2 retries
    one = World(fate, 1, 5, random.Random(0)).play()
    many = World(fate, parallel, 5, random.Random(seed)).play()
    assert many.record == one.record
    assert many.most <= parallel
    if parallel > 1 and not fate:
        assert many.most == min(parallel, 5)


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_the_score_counts_the_tries(parallel):
    world = World({tid(2): "lost", tid(2, 1): "lost"}, parallel, 3, random.Random(1)).play()
    assert (world.run.status.score.tries, len(world.run.status.attempts)) == (5, 5)
    assert [a.again for a in world.run.status.attempts if a.try_ == 0] == [None] * 3
    assert all(a.again.startswith("PodLost: ") for a in world.run.status.attempts if a.try_)
