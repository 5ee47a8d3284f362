"""Reconciles runs in a cluster: observes, asks `decide`, executes its actions, reports once.

The queue allows one worker per run at a time, so a `RunState` needs no lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from podium.api import MANAGER, PLURAL, AttemptState, BenchmarkRunStatus
from podium.controller.actions import UNREACHABLE, ActionExecutor
from podium.controller.causes import Causes
from podium.controller.finished import FULL_SECONDS, FinishedRun, ended_at, rests_at
from podium.controller.informers import Informers
from podium.controller.logs import LogCollector
from podium.controller.observation import COMING_UP_SECONDS, WATCH_SECONDS, Observation, patience
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.state import LogState, ReportState, RunState
from podium.controller.status_writer import StatusWriter, status_document
from podium.controller.turns import Turns
from podium.controller.unreadable import UnreadableRuns
from podium.kube import PODS, Api, ApiError, FencedError, WorkQueue
from podium.launch import Inputs, with_image_digest, without_texts
from podium.reconcile import Container, Decision, DropCheckpoint, ListPods, Observed, Run, decide, read_run
from podium.rules import Goal, check_spec, goal_for

_LOG = logging.getLogger(__name__)
_WAKE_DEBOUNCE_SECONDS = 0.2
_WAKES_PER_SECOND = 1000.0
_UNKNOWN_SECONDS = 2.0  # between looks at a run whose Jobs and pods are not known yet
_MOST_PAST = 10_000
_CONFIRM_SECONDS = 5.0  # between questions for a Job that may or may not exist


class Telemetry(Protocol):
    """Receives what happened, for the metrics."""

    def watch_event(self, resource: str) -> None: ...

    def ignored(self, resource: str, reason: str) -> None: ...

    def reconciled(self, outcome: str, seconds: float) -> None: ...

    def occupied(self, run: Run, containers: Iterable[Container], now: float) -> None: ...

    def moved(self, before: BenchmarkRunStatus, run: Run, observed: Observed, now: float) -> None: ...

    def gone(self, run: Run) -> None: ...

    def forget(self, uid: str) -> None: ...


class Controller:
    """Reconciles all runs of the operator."""

    def __init__(
        self,
        api: Api,
        actions: ActionExecutor,
        logs: LogCollector,
        inputs: Inputs,
        telemetry: Telemetry,
        *,
        namespaces: Sequence[str] = (),
        progress_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.states: dict[str, RunState] = {}  # by uid
        self.finished: dict[str, FinishedRun] = {}  # by uid, those that ended some time ago
        self.queue: WorkQueue[str] = WorkQueue(self._work)
        self.informers = Informers(
            api, namespaces, changed=self._objects_changed, seen=telemetry.watch_event, ignored=telemetry.ignored
        )
        self.causes = Causes(api, self.wake)
        self._api = api
        self._actions = actions
        self._logs = logs
        self._inputs = inputs
        self._telemetry = telemetry
        self._clock = clock
        self._active: set[str] = set()  # uids of runs that have not ended
        self._turns = Turns(self._inputs.own_trainer.max_runs_per_namespace, self._has_not_ended)
        self._past: dict[str, None] = {}  # uids of runs that are gone, the latest at the end
        # namespaces, by uid, of runs that other controllers manage, or that only a finalizer keeps
        self._kept: dict[str, str] = {}
        self._unreadable = UnreadableRuns(api, clock)
        self._status = StatusWriter(
            api,
            progress_seconds=progress_seconds,
            clock=clock,
            write_later=self.queue.add_after,
            runs_in_progress=lambda: len(self._active),
        )

    def run_changed(self, body: Mapping[str, Any], *, deleted: bool) -> None:
        """Handle a BenchmarkRun that is new, has changed or is gone. An unreadable one is reported once and ignored."""
        uid = ""
        try:
            uid = str(body["metadata"]["uid"])
            if deleted:
                self.forget([uid])
            elif uid in self.states:
                self._update(self.states[uid], body)
            elif uid in self._past or (uid in self._kept and "deletionTimestamp" in body["metadata"]):
                pass  # a watch that was held up shows the past
            elif uid not in self.finished or body["metadata"]["generation"] != self.finished[uid].generation:
                self._add(body)
        except Exception as error:  # noqa: BLE001 - one bad run must not stop the others
            if self._unreadable.add(body, error):
                self._telemetry.ignored(PLURAL, "unreadable")
                self.queue.add(uid)
        else:
            self._unreadable.forget(uid)

    def is_known(self, uid: str, generation: int) -> bool:
        """Return whether `run_changed` would do nothing for a run of this generation."""
        state, ended = self.states.get(uid), self.finished.get(uid)
        return generation == (state.run.generation if state else ended.generation if ended else None)

    def _add(self, body: Mapping[str, Any]) -> None:
        if _managed_elsewhere(body):
            self._kept[str(body["metadata"]["uid"])] = str(body["metadata"]["namespace"])
            return
        run = self._admit(read_run(body))
        self.finished.pop(run.uid, None)
        if self._rests(run):  # after a restart there may be thousands
            self.finished[run.uid] = FinishedRun.of(run)
            self.queue.add(run.uid)
            return
        if run.status.attempts and not run.status.terminal:
            self._turns.took(run.namespace, run.uid)
        # a run that has ended is not written again only because this version has more fields
        written = status_document(run.status) if run.status.terminal else dict(body.get("status") or {})
        self.states[run.uid] = RunState(
            run,
            self._goal(run),
            Observation(run.namespace, {a.job_uid: a.id for a in run.status.attempts if a.job_uid}),
            logs=LogState(inherited=frozenset(attempt.id for attempt in run.status.attempts)),
            report=ReportState(written=written, attempts=run.status.attempts),
        )
        self.queue.add(run.uid, first=True)  # machines are waiting: create Jobs before reporting progress

    def _rests(self, run: Run) -> bool:
        """Return whether a run that was just found ended some time ago, and is known to have no Job that still runs."""
        if not (run.status.terminal and self.informers.known(run.namespace)):
            return False
        working = any(not job.job.finished for job in self.informers.jobs(run.uid))
        return not working and self._clock() >= ended_at(run.status) + FULL_SECONDS

    def _update(self, state: RunState, body: Mapping[str, Any]) -> None:
        if body["metadata"]["generation"] == state.run.generation:
            return  # this is our own patch
        # the status in memory is newer than any that a watch delivers
        run = self._admit(replace(read_run({**body, "status": None}), status=state.run.status))
        state.run = run
        state.goal = self._goal(run)
        self.queue.add(run.uid)

    def _admit(self, run: Run) -> Run:
        """Return a new run with what it is admitted with, or with what the administrator's lists refuse."""
        if run.refusal or run.status.pinned or run.status.attempts or run.status.terminal:
            return run
        if refusal := self._inputs.own_trainer.refusal(run.namespace, run.spec):
            return replace(run, refusal=refusal)
        if self._goal(run) is None:
            return run
        return replace(run, status=run.status.model_copy(update={"pinned": self._inputs.pin(run)}))

    def hold(self, run: Run) -> str:
        """Return why `run` must not start yet: as many runs of its namespace as may have started."""
        return "" if run.status.attempts else self._turns.hold(run.namespace, run.uid)

    def _has_not_ended(self, uid: str) -> bool:
        return uid in self.states and not self.states[uid].run.status.terminal

    def _let_others_start(self, run: Run) -> None:
        """Wake those that a run that has ended held up."""
        for uid in self._turns.next(run.namespace, run.uid):
            self.wake(uid)

    def _goal(self, run: Run) -> Goal | None:
        """Return the run's goal; None if the run is not admitted."""
        rounds = self._inputs.rounds(run)
        admitted = not run.refusal and not check_spec(run.spec, rounds)
        return goal_for(run.spec, rounds) if admitted else None

    def wake(self, run_uid: str, seconds: float = 0.0) -> None:
        """Reconcile a run after `seconds`. Immediate wake-ups are debounced: a run's objects change together."""
        if run_uid in self.states or self._works_again(run_uid):
            debounce = max(_WAKE_DEBOUNCE_SECONDS, len(self._active) / _WAKES_PER_SECOND)
            self.queue.add_after(run_uid, max(debounce, seconds))

    def _objects_changed(self, run_uid: str) -> None:
        """Reconcile a run whose Jobs or pods have changed: at once if something has ended, or else soon, since they
        change in groups. What pods that come up may wait for is reported within seconds all the same."""
        if (state := self.states.get(run_uid)) and state.run.status.terminal:
            self.wake(run_uid, COMING_UP_SECONDS)
        else:
            pods = self.informers.pods(run_uid, gone=run_uid not in self.states)
            containers = [pod.container for pod in pods]
            ended = any(job.job.finished for job in self.informers.jobs(run_uid))
            self.wake(run_uid, 0.0 if ended else patience(containers))

    def count_occupied(self) -> None:
        """Count how long the pods of unfinished runs have held their nodes so far."""
        now = self._clock()
        for state in self.states.values():
            if not state.run.status.terminal:
                self._telemetry.occupied(state.run, state.observation.all_containers(), now)

    async def _work(self, uid: str) -> None:
        started = time.perf_counter()
        outcome = "error"
        try:
            if finished := self.finished.get(uid):
                await self._after_the_end(uid, finished)
            elif (state := self.states.get(uid)) and self.informers.known(state.run.namespace):
                await self._reconcile(uid)
            elif state:
                self.queue.add_after(uid, _UNKNOWN_SECONDS)
            elif uid in self._unreadable:
                await self._unreadable.explain(uid)
            outcome = "success"
        except FencedError as error:  # this process is about to end, since another one may lead
            _LOG.warning("%s", error)
            self.queue.add_after(uid, _UNKNOWN_SECONDS)
        finally:
            self._telemetry.reconciled(outcome, time.perf_counter() - started)

    async def _reconcile(self, uid: str) -> None:
        """Bring one BenchmarkRun one step closer to its spec; safe to call at any time, any number of times."""
        state = self.states[uid]
        decision = await self._decide(state)
        if state.run.deleted:
            if not state.gone:
                await self._report(state)
            if not decision.actions and (state.gone or state.report.changed_at is None):
                self._remove(state)
            return
        if (due := self._logs.checkpoint(state)) is not None:
            self.queue.add_after(uid, due + 0.05)
        before = {a.id for a in state.report.attempts if a.state.finished}
        if await self._report(state) and state.awaits_record(before):
            self.queue.add(uid)
        if state.run.status.terminal:
            self._active.discard(uid)
            self._let_others_start(state.run)
            self.causes.forget(uid)
            self._logs.close(state)
            if all(isinstance(action, DropCheckpoint) for action in decision.actions):
                self._rest(state)
        else:
            self._active.add(uid)
        if decision.wake_at is not None:
            self.queue.add_after(uid, max(0.0, decision.wake_at - self._clock()) + 0.05)

    async def _decide(self, state: RunState) -> Decision:
        """Decide and act until there is nothing new to decide on. Returns the last decision."""
        ended_before = state.run.status.terminal
        listed_at = 0.0
        while True:
            await self._observe(state, thorough=listed_at > 0)
            state.run = with_image_digest(state.run, state.observation.all_containers())
            if not ended_before:
                self._logs.follow(state)
            observed = replace(state.observed(), pods_known_until=listed_at)
            decision = decide(state.run, observed, self._inputs.rounds(state.run), self._clock(), state.goal)
            look_again = await self._actions.execute(state, decision.actions)
            before, state.run = state.run.status, replace(state.run, status=without_texts(decision.status))
            self._telemetry.moved(before, state.run, observed, self._clock())
            if ListPods() in decision.actions:
                # it holds only for what is decided at once: a late watch may still show the past
                listed_at = await self._list(state)
                look_again |= listed_at > 0
            if not look_again:
                return decision

    def _rest(self, state: RunState) -> None:
        """Keep only what is needed of a run that ended some time ago, or come back when it has."""
        uid = state.run.uid
        if (at := rests_at(state)) is None:
            return
        if (wait := at - self._clock()) > 0:
            self.queue.add_after(uid, wait)
            return
        del self.states[uid]
        self.queue.forget(uid)
        self.finished[uid] = FinishedRun.of(state.run)

    def _works_again(self, uid: str) -> bool:
        """Return whether a run that ended some time ago has a Job that runs: somebody has resumed it."""
        return uid in self.finished and any(not job.job.finished for job in self.informers.jobs(uid))

    async def _after_the_end(self, uid: str, finished: FinishedRun) -> None:
        """Delete a run once its time to live is over, or take it up again because one of its Jobs runs."""
        sample = finished.sample
        if self._works_again(uid):
            found = await self._api.get(BENCHMARK_RUNS, sample.namespace, sample.name)
            if found["metadata"]["uid"] == uid:  # not of one that was created under its name since
                self._add(found)
        elif finished.expires is not None:
            if (wait := finished.expires - self._clock()) > 0:
                self.queue.add_after(uid, wait)
            else:
                await self._api.delete(BENCHMARK_RUNS, sample.namespace, sample.name, uid=uid)

    async def _list(self, state: RunState) -> float:
        """List the Jobs and pods of a run. Returns the time up to which they are known; 0.0 if that fails."""
        now = self._clock()
        try:
            await self.informers.refresh(state.run.namespace, state.run.uid)
        except (ApiError, *UNREACHABLE) as error:
            _LOG.warning("listing the pods of %s/%s: %s", state.run.namespace, state.run.name, error)
            return 0.0
        return now

    async def _observe(self, state: RunState, *, thorough: bool) -> None:
        """Update the observation of a run from the informers, and confirm what they do not show; all if `thorough`."""
        uid, now, observation = state.run.uid, self._clock(), state.observation
        foreign = observation.update(self.informers.jobs(uid), self.informers.pods(uid), now)
        active = [a for a in state.run.status.attempts if not a.state.finished]
        thorough |= state.run.spec.suspend or state.run.deleted  # what is ended now may have begun
        begun = [a.id for a in active if thorough or a.state is not AttemptState.PENDING]
        if lacking := observation.lacking(begun, state.run.spec.system.nodes):
            answers = await self._actions.pods_of(state, lacking)
            foreign += observation.update(self.informers.jobs(uid), self.informers.pods(uid), now, answers)
        for _ in range(foreign):
            self._telemetry.ignored(PODS.plural, "foreign")
        self._telemetry.occupied(state.run, observation.all_containers(), now)
        unstored = [a.id for a in state.run.status.attempts if not (a.state.finished and a.stored)]  # their Jobs stay
        unknown = observation.unconfirmed(unstored, now)
        state.jobs_known = (not unknown or await self._actions.confirm(state, unknown)) and not observation.unsure
        if state.jobs_known and not state.run.status.terminal and not state.run.deleted:
            self._explain(state, now)
        if not state.jobs_known or observation.awaits_watch or lacking:
            self.queue.add_after(uid, WATCH_SECONDS if state.jobs_known else _CONFIRM_SECONDS)

    def _explain(self, state: RunState, now: float) -> None:
        """Add why Jobs have no pods."""
        jobs = state.observation.jobs.values()
        self.causes.update(state.run, jobs, now)
        state.observation.explain(self.causes.of(jobs))

    async def _report(self, state: RunState) -> bool:
        try:
            return await self._status.write(state)
        except ApiError as error:
            if not error.not_found:
                raise
            self.forget([state.run.uid])
            return False

    def known_in(self, namespace: str | None) -> set[str]:
        """Return the uids of the known runs of a namespace, or (None) of all."""
        known = {uid for uid, state in self.states.items() if namespace in (None, state.run.namespace)}
        return (
            known
            | {uid for uid, place in self._kept.items() if namespace in (None, place)}
            | self._unreadable.known_in(namespace)
            | {uid for uid, run in self.finished.items() if namespace in (None, run.sample.namespace)}
        )

    def forget(self, uids: Iterable[str]) -> None:
        """Handle runs that are gone; an interrupted watch does not report their deletion."""
        for uid in uids:
            self._past[uid] = None
            if len(self._past) > _MOST_PAST:
                del self._past[next(iter(self._past))]
            self._kept.pop(uid, None)
            self._unreadable.forget(uid)
            if state := self.states.get(uid):
                state.run, state.gone = replace(state.run, deleted=True), True
                self.queue.add(uid)
            elif self.finished.pop(uid, None):
                self._telemetry.forget(uid)
                self.queue.forget(uid)

    def _remove(self, state: RunState) -> None:
        """Forget a deleted run for which nothing is left to do."""
        del self.states[state.run.uid]
        if not state.gone:
            self._kept[state.run.uid] = state.run.namespace
        self._logs.close(state)
        self._telemetry.gone(state.run)
        self._let_others_start(state.run)
        self._active.discard(state.run.uid)
        self.causes.forget(state.run.uid)
        self.queue.forget(state.run.uid)


def _managed_elsewhere(body: Mapping[str, Any]) -> bool:
    """Return whether another controller acts on the run, as MultiKueue does on one that it sends to another cluster."""
    return (body["spec"].get("managedBy") or MANAGER) != MANAGER
