"""The heart of Podium: one pure function that decides what a run needs next.

It is level-based. Regardless of what happened before (a restart, a lost event, an action that failed halfway), the same
run and observations give the same decision, so executing it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from podium.api import (
    AttemptState,
    AttemptStatus,
    BenchmarkRunStatus,
    ConditionType,
    Reason,
    TryId,
    duration_seconds,
    unix_seconds,
)
from podium.api.reasons import of_end, of_state
from podium.reconcile.attempt import advance
from podium.reconcile.conditions import ConditionUpdate, Report, with_conditions
from podium.reconcile.model import (
    Action,
    CreateJob,
    Decision,
    DeleteJob,
    DeleteRun,
    Emit,
    Observed,
    ObservedLog,
    Run,
    StoreAttempt,
    StoreResult,
)
from podium.reconcile.progress import progress
from podium.reconcile.score import score_run
from podium.reconcile.step import move_to
from podium.reconcile.tries import concluded, new_attempt, next_try
from podium.rounds import Round
from podium.rules import Goal, check_spec, goal_for

_CUT_SHORT = frozenset(state for state in AttemptState if not state.finished) | {AttemptState.FAILED}
_NAMED_ATTEMPTS = 3  # at most, in a message about several


@dataclass(slots=True)
class _Case:
    """One decision in the making."""

    run: Run
    observed: Observed
    rounds: Mapping[str, Round]
    goal: Goal
    now: float
    attempts: list[AttemptStatus] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)

    @property
    def admitted(self) -> ConditionUpdate:
        spec = self.run.spec
        return ConditionUpdate(
            True, Reason.VALID, f"{spec.round} {spec.benchmark}: {self.goal.attempts} attempts, target {self.goal.text}"
        )

    def decided(self, report: Report, **update: object) -> Decision:
        status = self.run.status.model_copy(
            update={
                "attempts": tuple(self.attempts),
                "progress": progress(self.attempts, self.observed, self.goal, self.run.status.progress),
                **update,
            }
        )
        status = with_conditions(status, report, self.run.generation, self.now)
        return Decision(tuple(self.actions), status, min(self.deadlines, default=None))


def decide(run: Run, observed: Observed, rounds: Mapping[str, Round], now: float) -> Decision:
    """Return what to do for `run`, its new status, and when to look again.

    `now` is in unix seconds. The function has no memory: everything it knows about the past is in ``run.status``.
    """
    if run.status.terminal:
        return _after_the_end(run, now)
    text = run.refusal or "; ".join(map(str, check_spec(run.spec, rounds)))
    if text:
        refused = ConditionUpdate(False, Reason.INVALID_SPEC, text)
        report = Report(admitted=refused, failed=ConditionUpdate(True, Reason.INVALID_SPEC, text))
        status = with_conditions(run.status, report, run.generation, now)
        return Decision((Emit(Reason.INVALID_SPEC, text),), status)
    case = _Case(run, observed, rounds, goal_for(run.spec, rounds), now)
    _advance(case)
    if run.deleted:
        return _abort(case)
    return _continue(case)


def _advance(case: _Case) -> None:
    """Advance every unfinished try; tries whose Job exists but that are not listed yet are adopted first."""
    listed = {attempt.id for attempt in case.run.status.attempts}
    unlisted = sorted(
        (id_ for id_ in case.observed.jobs if id_ not in listed), key=lambda id_: (id_.attempt, id_.number)
    )
    adopted = [_adopted(case, id_) for id_ in unlisted]
    for attempt in [*case.run.status.attempts, *adopted]:
        moved = attempt if attempt.state.finished else _advance_one(case, attempt)
        if moved.state.finished and not moved.stored and moved.id in case.observed.stored:
            moved = moved.model_copy(update={"stored": True})
        if moved.state.finished and _holds_machines(case, moved):
            case.actions.append(DeleteJob(moved.id))
        case.attempts.append(moved)


def _adopted(case: _Case, id_: TryId) -> AttemptStatus:
    """Return the record of a try whose Job an earlier process created, perhaps under another name."""
    job = case.observed.jobs[id_]
    attempt = new_attempt(case.run.name, case.run.uid, id_, job.created)
    return attempt.model_copy(update={"job": job.name or attempt.job})


def _advance_one(case: _Case, attempt: AttemptStatus) -> AttemptStatus:
    job, log = case.observed.jobs.get(attempt.id), case.observed.logs.get(attempt.id, ObservedLog())
    step = advance(attempt, job, log, spec=case.run.spec, goal=case.goal, now=case.now)
    moved = step.attempt
    if case.run.spec.suspend and not moved.state.finished:
        moved = move_to(moved, Reason.SUSPENDED, "will be repeated when the run is resumed")
    if moved.state.finished and moved.state is not AttemptState.CONVERGED:
        case.actions.append(Emit(of_end(moved.state), f"{moved.id}: {moved.reason}: {moved.message}"))
    if step.deadline is not None and not moved.state.finished:
        case.deadlines.append(step.deadline)
    return moved


def _continue(case: _Case) -> Decision:
    """Wait, start the next try, or conclude."""
    busy = any(not a.state.finished or _holds_machines(case, a) for a in case.attempts)
    if not busy:
        retries = case.run.spec.max_retries
        following = next_try(case.attempts, retries, case.goal.attempts)
        failure = _beyond_retry(case) or _launch_failure(case)
        if failure or following is None:
            return _conclude(case, failure)
        if not case.run.spec.suspend:
            _emit_converged(case)
            attempt = new_attempt(case.run.name, case.run.uid, following, case.now)
            case.actions.append(CreateJob(following, attempt.seed))
            if case.observed.launch_refusal is None:  # a refused try is listed once its Job exists
                case.attempts.append(attempt)
    case.actions += _to_store(case)
    return case.decided(
        Report(
            admitted=case.admitted,
            running=_running(case),
            suspended=case.run.spec.suspend,
            store_error=case.observed.store_error,
        )
    )


def _conclude(case: _Case, failure: ConditionUpdate | None) -> Decision:
    """Store everything; only then set Complete or Failed."""
    if not case.attempts and failure:  # nothing was measured, so there is nothing to store
        return case.decided(Report(admitted=case.admitted, failed=failure))
    score = score_run(case.run.spec, case.attempts, case.goal, case.rounds)
    if failure is None and not score.valid:
        failure = ConditionUpdate(
            True, Reason.RESULT_INVALID, "; ".join([*score.reasons, *_unsuccessful(case.attempts)])
        )
    to_store = _to_store(case)
    result = case.observed.result
    if to_store or result is None:
        outcome: Literal["Complete", "Failed"] = "Failed" if failure else "Complete"
        # result.json lists the attempts as stored, so it is written after them
        case.actions += to_store or [
            StoreResult(score, tuple(case.attempts), outcome, failure.message if failure else "")
        ]
        storing = ConditionUpdate(False, Reason.STORING, "all attempts have ended; the result is being stored")
        return case.decided(Report(admitted=case.admitted, running=storing, store_error=case.observed.store_error))
    if failure:
        case.actions.append(Emit(failure.reason, failure.message))
    complete = (
        None if failure else ConditionUpdate(True, Reason.SCORED, f"time to train {score.time_to_train_minutes} min")
    )
    report = Report(admitted=case.admitted, stored=result.uri, complete=complete, failed=failure)
    ttl = case.run.spec.ttl_seconds_after_finished
    if ttl is not None:
        case.deadlines.append(case.now + ttl)
    return case.decided(report, score=score, result=result)


def _unsuccessful(attempts: Sequence[AttemptStatus]) -> list[str]:
    """Return what went wrong in the last try of each attempt, for the first few."""
    last = {attempt.index: attempt for attempt in attempts}
    wrong = [a for a in last.values() if a.state is not AttemptState.CONVERGED]
    return [f"{a.id}: {a.reason}: {a.message}" for a in wrong[:_NAMED_ATTEMPTS]]


def _abort(case: _Case) -> Decision:
    """The run was deleted, or stopped on this machine: create nothing more, and store the measurements so far."""
    reason, message = Reason.RUN_DELETED, "the BenchmarkRun was deleted"
    if case.run.stopped_by:
        reason, message = Reason.INTERRUPTED, f"stopped by {case.run.stopped_by}"
    # a try that fails now fails because of the deletion
    finished = {a.id for a in case.run.status.attempts if a.state.finished}
    case.attempts = [
        move_to(a, reason, message) if a.id not in finished and a.state in _CUT_SHORT else a for a in case.attempts
    ]
    # the Jobs are deleted with their owner, and nobody is left to read Events
    case.actions = []
    if case.attempts and case.observed.result is None:
        score = score_run(case.run.spec, case.attempts, case.goal, case.rounds)
        case.actions += _to_store(case) or [StoreResult(score, tuple(case.attempts), "Aborted", message)]
    return Decision(tuple(case.actions), case.run.status.model_copy(update={"attempts": tuple(case.attempts)}))


def _after_the_end(run: Run, now: float) -> Decision:
    """Terminal is final: only the time to live remains."""
    ttl = run.spec.ttl_seconds_after_finished
    if ttl is None or run.deleted:
        return Decision((), run.status)
    expires = _ended_at(run.status) + ttl
    return Decision((DeleteRun(),), run.status) if now >= expires else Decision((), run.status, expires)


def _ended_at(status: BenchmarkRunStatus) -> float:
    """Return the unix time of the terminal condition."""
    ends = (status.condition(kind) for kind in (ConditionType.COMPLETE, ConditionType.FAILED))
    true = next(end for end in ends if end and end.status == "True")
    return unix_seconds(true.last_transition_time)


def _beyond_retry(case: _Case) -> ConditionUpdate | None:
    """Return why the run fails early: no retry is left or would help, or too many attempts broke rules."""
    if not case.attempts or not concluded(case.attempts, case.attempts[-1], case.run.spec.max_retries):
        return None
    last = case.attempts[-1]
    if last.state is AttemptState.FAILED:
        tries = sum(a.index == last.index and a.state is AttemptState.FAILED for a in case.attempts)
        times = f" after {tries} tries" if tries > 1 else ""
        return ConditionUpdate(
            True, Reason.ATTEMPT_FAILED, f"attempt {last.index} failed{times}: {last.reason}: {last.message}"
        )
    invalid = sum(a.state is AttemptState.INVALID for a in case.attempts)
    if invalid > case.goal.max_failures:
        message = f"{invalid} attempts broke the rules, the last one: {last.reason}: {last.message}"
        return ConditionUpdate(True, Reason.RESULT_INVALID, message)
    return None


def _launch_failure(case: _Case) -> ConditionUpdate | None:
    """Return the failure if the API server refuses the Job for good, or for longer than the pending deadline."""
    refusal = case.observed.launch_refusal
    if refusal is None:
        return None
    limit = case.run.spec.deadlines.pending
    deadline = refusal.since + duration_seconds(limit)
    if refusal.final or case.now >= deadline:
        return ConditionUpdate(True, Reason.LAUNCH_REFUSED, refusal.message)
    case.deadlines.append(deadline)
    return None


def _emit_converged(case: _Case) -> None:
    """Emit an Event for every converged attempt but the last, whose end the conditions report."""
    if case.attempts and case.attempts[-1].state is AttemptState.CONVERGED:
        last = case.attempts[-1]
        message = f"{last.id}: quality {last.quality} in {last.time_to_train_seconds} s, {last.epochs} epochs"
        case.actions.append(Emit(Reason.ATTEMPT_CONVERGED, message))


def _to_store(case: _Case) -> list[StoreAttempt]:
    retries = case.run.spec.max_retries
    unstored = (a for a in case.attempts if a.state.finished and not a.stored)
    return [StoreAttempt(a, concluding=concluded(case.attempts, a, retries)) for a in unstored]


def _holds_machines(case: _Case, attempt: AttemptStatus) -> bool:
    """Return whether the Job of this try may still occupy nodes. The Job's status lags behind its containers."""
    job = case.observed.jobs.get(attempt.id)
    return job is not None and not job.finished and not job.exited(case.run.spec.system.nodes)


def _running(case: _Case) -> ConditionUpdate:
    if case.run.spec.suspend:
        return ConditionUpdate(False, Reason.SUSPENDED, "spec.suspend is true")
    if case.observed.launch_refusal:
        return ConditionUpdate(False, Reason.LAUNCH_REFUSED, case.observed.launch_refusal.message)
    last: AttemptStatus = case.attempts[-1]
    text = f"{last.id} of {case.goal.attempts}"
    if last.state is AttemptState.PENDING:
        reason = Reason.known(last.reason) or Reason.PENDING
        return ConditionUpdate(False, reason, f"{text}: {last.message or 'waiting for its pods'}")
    return ConditionUpdate(True, of_state(last.state), text)
