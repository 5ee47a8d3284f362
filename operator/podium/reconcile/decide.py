"""The heart of Podium: one pure function that decides what a run needs next.

It is level-based. Regardless of what happened before (a restart, a lost event, an action that failed halfway), the same
run and observations give the same decision, so executing it twice does no harm.

Evidence comes first: files are stored, then the written status says so, and only then is anything deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from podium.api import AttemptState, AttemptStatus, Reason, TryId, duration_seconds
from podium.api.status import current_try
from podium.reconcile.attempt import advance, suspended_by_user
from podium.reconcile.cleanup import after_the_end, checkpoints_of, left_behind
from podium.reconcile.conditions import ConditionUpdate, Report, with_conditions
from podium.reconcile.failure import first_failure, with_failure
from podium.reconcile.forecast import forecast_run, in_status, stopped_as_hopeless, turned, warned
from podium.reconcile.model import (
    Action,
    CreateJob,
    Decision,
    DeleteJob,
    DropCheckpoint,
    Emit,
    ListPods,
    Observed,
    ObservedJob,
    ObservedLog,
    ReadLog,
    Run,
    StoreAttempt,
    StoreResult,
)
from podium.reconcile.progress import progress
from podium.reconcile.score import can_be_valid, in_words, score_run
from podium.reconcile.starting import held_up_by
from podium.reconcile.step import Look, move_to
from podium.reconcile.tries import (
    MAX_TRIES,
    concluded,
    is_exhausted,
    known_tries,
    last_tries,
    measurement,
    next_tries,
    unsuccessful,
)
from podium.rounds import Round
from podium.rules import Goal, check_spec, goal_for
from podium.scoring import Forecast

_CUT_SHORT = frozenset(state for state in AttemptState if not state.finished) | {AttemptState.FAILED}
# What ends a run early if more attempts have it than the rules let a result have: breaking a rule, and crashing
_HOPELESS = frozenset({Reason.PROGRAM_EXITED.value})
_STARTS_TOGETHER = {
    "Queue": "; Kueue starts its pods together",
    "PodGroup": "; the scheduler starts its pods together",
    "None": "; neither a queue nor a PodGroup starts its pods together",
}


@dataclass(slots=True)
class _Case:
    """One decision in the making. `attempts` are in the order of their attempt and try."""

    run: Run
    observed: Observed
    rounds: Mapping[str, Round]
    goal: Goal
    now: float
    attempts: list[AttemptStatus] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    forecast: Forecast | None = None

    @property
    def admitted(self) -> ConditionUpdate:
        spec = self.run.spec
        text = f"{spec.round} {spec.benchmark}: {self.goal.attempts} attempts, target {self.goal.text}"
        if pinned := self.run.status.pinned:
            text += _STARTS_TOGETHER[pinned.gang] if pinned.gang != "None" or spec.system.nodes > 1 else ""
        return ConditionUpdate(True, Reason.VALID, text)

    @property
    def shown(self) -> AttemptStatus | None:
        return current_try(self.attempts)

    def decided(self, report: Report, **update: object) -> Decision:
        status = self.run.status.model_copy(
            update={
                "attempts": tuple(self.attempts),
                "progress": progress(self.shown, self.observed, self.goal, self.run.status.progress),
                "forecast": in_status(self.forecast),
                **update,
            }
        )
        status = with_conditions(status, report, self.run.generation, self.now)
        return Decision(tuple(self.actions), status, min(self.deadlines, default=None))


def decide(run: Run, observed: Observed, rounds: Mapping[str, Round], now: float, goal: Goal | None = None) -> Decision:
    """Return what to do for `run`, its new status, and when to look again.

    `now` is in unix seconds. A `goal` is that of an admitted run, whose spec is not checked again. The function has no
    memory: everything it knows about the past is in ``run.status``.
    """
    if run.status.terminal:
        return after_the_end(run, observed, now)
    text = run.refusal or ("" if goal else "; ".join(map(str, check_spec(run.spec, rounds))))
    if text:
        refused = ConditionUpdate(False, Reason.INVALID_SPEC, text)
        report = Report(admitted=refused, failed=ConditionUpdate(True, Reason.INVALID_SPEC, text))
        status = with_conditions(run.status, report, run.generation, now)
        return Decision(() if run.deleted else (Emit(Reason.INVALID_SPEC, text),), status)
    case = _Case(run, observed, rounds, goal or goal_for(run.spec, rounds), now)
    _advance(case)
    if observed.sealed:
        _follow(case, observed.sealed)
    case.forecast = forecast_run(run.spec, case.attempts, case.goal, rounds)
    case.actions += turned(run.status.forecast, case.forecast)
    if run.deleted:
        return _abort(case)
    _clean_up(case)
    return _continue(case)


# ---- the tries ----


def _advance(case: _Case) -> None:
    """Advance every unfinished try; tries whose Job exists but that are not listed yet are adopted first."""
    succeeded = []
    for attempt in known_tries(case.run, case.observed.jobs, case.goal.attempts):
        moved = attempt if attempt.state.finished else _advance_one(case, attempt)
        if moved.state.finished and not moved.stored and moved.id in case.observed.stored:
            moved = moved.model_copy(update={"stored": True})
        if moved.state.succeeded and not attempt.state.finished:
            succeeded.append(moved)
        case.attempts.append(moved)
    if succeeded and not _all_concluded(case):  # the conditions report the end of the last one
        case.actions += [Emit(Reason[f"ATTEMPT_{a.state.name}"], measurement(a)) for a in succeeded]


def _advance_one(case: _Case, attempt: AttemptStatus) -> AttemptStatus:
    job, log = _job(case, attempt), case.observed.logs.get(attempt.id, ObservedLog())
    if job is None and not case.observed.jobs_known:
        return attempt
    if job and attempt.job_uid is None:
        attempt = attempt.model_copy(update={"job_uid": job.uid[:64]})
    look = Look(log, case.run.spec, case.goal, case.now, case.observed.pods_known_until)
    step = advance(attempt, job, look)
    if case.run.spec.suspend and not step.attempt.state.finished:
        step = suspended_by_user(step.attempt, job, look) or step
    moved = step.attempt
    if moved.state.finished:
        if moved.failure is None:
            moved = with_failure(moved, (first_failure(job) or held_up_by(job)) if job else None, log.tail)
        if not moved.state.succeeded:
            case.actions.append(
                Emit(Reason[f"ATTEMPT_{moved.state.name}"], f"{moved.id}: {moved.reason}: {moved.message}")
            )
        return moved
    if step.read:
        case.actions.append(ReadLog(moved.id))
    if step.list_pods and ListPods() not in case.actions:
        case.actions.append(ListPods())
    if step.deadline is not None:
        case.deadlines.append(step.deadline)
    return moved


def _job(case: _Case, attempt: AttemptStatus) -> ObservedJob | None:
    """Return the Job of a try. One with another uid has only its name: somebody has replaced it."""
    job = case.observed.jobs.get(attempt.id)
    return job if job and attempt.job_uid in (None, job.uid) else None


def _follow(case: _Case, sealed: StoreResult) -> None:
    """Take the tries as the stored result has them: another process may have stored it, and died before its status said
    so. It may have known more of the pods, or less."""
    stored = {attempt.id: attempt for attempt in sealed.attempts}
    case.attempts = [stored.get(attempt.id, attempt) for attempt in case.attempts]


def _may_run(case: _Case, id_: TryId) -> bool:
    job = case.observed.jobs.get(id_)
    return job is not None and job.may_run(case.run.spec.system.nodes)


def _clean_up(case: _Case) -> None:
    """Delete what a try leaves behind, once the status on the API server says that the try is stored."""
    for attempt in case.attempts:
        recorded = case.observed.recorded.get(attempt.id)
        if not (attempt.state.finished and recorded and recorded.state.finished):
            continue
        if recorded.stored or _never_ran(case, attempt):
            _delete_job(case, attempt.id)
        case.actions += checkpoints_of([recorded], case.observed)


def _never_ran(case: _Case, attempt: AttemptStatus) -> bool:
    """Return whether the status says all there is to say about a try: its program was never started.

    Its machines need not wait for a store that is down.
    """
    job, log = case.observed.jobs.get(attempt.id), case.observed.logs.get(attempt.id, ObservedLog())
    ran = job is None or any(c.started is not None for c in job.containers)
    ran |= attempt.id in case.observed.checkpoints  # pods that an earlier process saw may be gone
    return not ran and attempt.start_time is None and log.summary.lines == 0


def _delete_job(case: _Case, id_: TryId) -> None:
    """Delete the Job of a finished try that could still hold machines, or get some."""
    job = case.observed.jobs.get(id_)
    due = left_behind(job, case.run.spec.system.nodes) if job else None
    if due is not None and case.now < due:
        case.deadlines.append(due)
    elif due is not None:
        case.actions.append(DeleteJob(id_))


# ---- the run ----


def _continue(case: _Case) -> Decision:
    """Wait, start the next tries, or conclude."""
    spec, known = case.run.spec, case.observed.jobs_known
    busy = sum(not a.state.finished or _may_run(case, a.id) for a in case.attempts)
    following = next_tries(case.attempts, spec.max_retries, case.goal.attempts)
    stopped = stopped_as_hopeless(spec, case.forecast) if following else None
    failure = _beyond_retry(case, following) or stopped or _launch_failure(case)
    over = failure or case.observed.sealed or _all_concluded(case)
    if known and not busy and over:
        return _conclude(case, failure)
    if known and not over and not spec.suspend:
        due = following[: max(0, spec.parallel_attempts - busy)]
        case.actions += [CreateJob(id_) for id_ in due if _may_follow(case, id_)]
    case.actions += _to_store(case)
    return case.decided(
        Report(
            admitted=case.admitted,
            running=warned(_running(case), case.forecast),
            suspended=spec.suspend,
            store_error=case.observed.store_error,
        )
    )


def _may_follow(case: _Case, id_: TryId) -> bool:
    """Return whether the API server has how the try before this one ended.

    Otherwise a new process, which may be able to read more of its log, could call it measured, beside its repetition.
    """
    before = case.observed.recorded.get(TryId(attempt=id_.attempt, number=id_.number - 1))
    return id_.number == 0 or (before is not None and before.state.finished)


def _conclude(case: _Case, failure: ConditionUpdate | None) -> Decision:
    """Store everything; only then set Complete or Failed."""
    if not case.attempts and failure:  # nothing was measured, so there is nothing to store
        return case.decided(Report(admitted=case.admitted, failed=failure))
    if sealed := case.observed.sealed:
        score, failure = sealed.score, _sealed_failure(case, sealed, failure)
    else:
        score = score_run(case.run.spec, case.attempts, case.goal, case.rounds)
    if failure is None and not score.valid:
        reasons = [*score.reasons, *unsuccessful(case.attempts)]
        failure = ConditionUpdate(True, Reason.RESULT_INVALID, "; ".join(reasons))
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
    complete = None if failure else ConditionUpdate(True, Reason.SCORED, in_words(score))
    report = Report(admitted=case.admitted, stored=result.uri, complete=complete, failed=failure)
    ttl = case.run.spec.ttl_seconds_after_finished
    if ttl is not None:
        case.deadlines.append(case.now + ttl)
    return case.decided(report, score=score, result=result)


def _sealed_failure(case: _Case, sealed: StoreResult, found: ConditionUpdate | None) -> ConditionUpdate | None:
    """Return how a run has failed whose result is stored. Only a refused launch leaves no trace in its tries."""
    if sealed.outcome == "Complete":
        return None
    reason = Reason.RESULT_INVALID if _all_concluded(case) else Reason.LAUNCH_REFUSED
    return ConditionUpdate(True, found.reason if found else reason, sealed.message)


def _all_concluded(case: _Case) -> bool:
    """Return whether every attempt has its last try."""
    last = last_tries(case.attempts)
    retries = case.run.spec.max_retries
    return all(
        (one := last.get(index)) is not None and one.state.finished and concluded(case.attempts, one, retries)
        for index in range(1, case.goal.attempts + 1)
    )


def _abort(case: _Case) -> Decision:
    """The run was deleted, or stopped on this machine: create nothing more, and store the measurements so far."""
    reason, message = Reason.RUN_DELETED, "the BenchmarkRun was deleted"
    if stopped_by := case.run.stopped_by:
        reason, message = Reason.INTERRUPTED, f"stopped by {stopped_by}"
    # a try that fails now fails because of the deletion
    finished = {a.id for a in case.run.status.attempts if a.state.finished}
    case.attempts = [
        move_to(a, reason, message).model_copy(update={"failure": None})
        if a.id not in finished and (a.state in _CUT_SHORT or a.failure)
        else a
        for a in case.attempts
    ]
    case.actions = []  # nobody is left to read Events
    result = case.observed.result or case.run.status.result
    if case.attempts and result is None:
        score = score_run(case.run.spec, case.attempts, case.goal, case.rounds)
        case.actions += _to_store(case) or [StoreResult(score, tuple(case.attempts), "Aborted", message)]
    elif case.attempts:
        case.actions += checkpoints_of(case.attempts, case.observed)
    for attempt in case.attempts:  # the Jobs go with their owner, unless a finalizer keeps that
        if attempt.stored and _may_run(case, attempt.id):
            _delete_job(case, attempt.id)
    if stopped_by:
        return Decision(tuple(case.actions), case.run.status.model_copy(update={"attempts": tuple(case.attempts)}))
    ends = any(not isinstance(action, DropCheckpoint) for action in case.actions)
    rest = "its attempts are being ended and stored" if ends else "only a finalizer keeps the object"
    deleted = ConditionUpdate(False, reason, f"{message}; {rest}")
    report = Report(case.admitted, deleted, stored=result.uri if result else "", store_error=case.observed.store_error)
    over = None if ends else deleted
    return case.decided(replace(report, complete=over, failed=over), result=result)


def _beyond_retry(case: _Case, following: Sequence[TryId]) -> ConditionUpdate | None:
    """Return why the run fails early: no retry is left or would help, or too many attempts broke rules."""
    retries = case.run.spec.max_retries
    last = last_tries(case.attempts)
    lost = next((one for one in last.values() if is_exhausted(case.attempts, one, retries)), None)
    if lost is None and following and len(case.attempts) >= MAX_TRIES:
        lost = case.attempts[-1]
    if lost is not None:
        tries = sum(a.index == lost.index and a.state is lost.state for a in case.attempts)
        times = f" after {tries} tries" if tries > 1 else ""
        text = f"attempt {lost.index} failed{times}: {lost.reason}: {lost.message}"
        return ConditionUpdate(True, Reason.ATTEMPT_FAILED, text)
    hopeless = [a for a in last.values() if a.state is AttemptState.INVALID or a.reason in _HOPELESS]
    if not can_be_valid(case.run.spec, hopeless, case.goal, case.rounds):
        one = hopeless[-1]
        text = f"{len(hopeless)} attempts broke the rules or crashed, the last one: {one.reason}: {one.message}"
        return ConditionUpdate(True, Reason.RESULT_INVALID, text)
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


def _to_store(case: _Case) -> list[StoreAttempt]:
    unstored = (a for a in case.attempts if a.state.finished and not a.stored)
    return [StoreAttempt(a, concluding=concluded(case.attempts, a, case.run.spec.max_retries)) for a in unstored]


def _running(case: _Case) -> ConditionUpdate:
    if case.observed.launch_refusal:
        return ConditionUpdate(False, Reason.LAUNCH_REFUSED, case.observed.launch_refusal.message)
    shown = case.shown
    if case.run.spec.suspend and (shown is None or shown.state.finished):
        return ConditionUpdate(False, Reason.SUSPENDED, "spec.suspend is true")
    if shown is None or (shown.state.finished and not _may_run(case, shown.id)):
        return ConditionUpdate(False, Reason.PENDING, "the Job of the next attempt is being created")
    more = sum(not a.state.finished for a in case.attempts) - 1
    text = f"{shown.id} of {case.goal.attempts}" + (f" and {more} more" if more > 0 else "")
    if shown.state is AttemptState.PENDING:
        reason = Reason.known(shown.reason) or Reason.PENDING
        return ConditionUpdate(False, reason, f"{text}: {shown.message or 'waiting for its pods'}")
    if shown.reason == Reason.LOG_UNREADABLE:
        return ConditionUpdate(True, Reason.LOG_UNREADABLE, f"{text}: {shown.message}")
    return ConditionUpdate(True, Reason[shown.state.name], text)
