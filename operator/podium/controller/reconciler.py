"""Drives runs in a cluster: observes, asks `decide`, carries its actions out, reports once.

One worker per run at a time (the queue sees to that), so a `RunState` needs no lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from podium.api import BenchmarkRunStatus
from podium.controller.actions import ActionExecutor
from podium.controller.informers import Informers
from podium.controller.logs import LogCollector
from podium.controller.state import RunState
from podium.controller.status_writer import merge_patch, significant, status_document
from podium.kube.client import Api, ApiError
from podium.kube.workqueue import WorkQueue
from podium.reconcile import Container, Observed, Run, decide, read_run
from podium.rounds import Round

_LOG = logging.getLogger(__name__)
PROGRESS_COALESCE_SECONDS = 3.0
# What follows grows with the runs in progress, so that a thousand at once get their machines before they get reports.
FIRST_STATUS_DELAY_SECONDS = 1.0
FIRST_STATUSES_PER_SECOND = 100.0
_PROGRESS_WRITES_PER_SECOND = 5.0
WAKE_DEBOUNCE_SECONDS = 0.2
WAKES_PER_SECOND = 1000.0


class Telemetry(Protocol):
    """Told of what happens; the metrics are made of it."""

    def watch_event(self, resource: str) -> None: ...

    def reconciled(self, outcome: str, seconds: float) -> None: ...

    def occupied(self, run: Run, containers: Iterable[Container], now: float) -> None: ...

    def moved(self, before: BenchmarkRunStatus, run: Run, observed: Observed, now: float) -> None: ...

    def gone(self, run: Run) -> None: ...


class Controller:
    """All runs of the operator."""

    def __init__(
        self,
        api: Api,
        actions: ActionExecutor,
        logs: LogCollector,
        rounds: Mapping[str, Round],
        telemetry: Telemetry,
        *,
        namespaces: Sequence[str] = (),
        progress_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.states: dict[str, RunState] = {}  # by uid
        self.queue: WorkQueue[str] = WorkQueue(self._work)
        self._api = api
        self._actions = actions
        self._logs = logs
        self._rounds = rounds
        self._telemetry = telemetry
        self._progress_seconds = progress_seconds
        self._clock = clock
        self.watches = Informers(api, namespaces, changed=self.wake, seen=telemetry.watch_event)
        self._active: set[str] = set()  # uids of runs that have not come to their end

    def run_changed(self, body: Mapping[str, Any], *, deleted: bool) -> None:
        """A BenchmarkRun was seen, has changed or is gone."""
        uid = body["metadata"]["uid"]
        state = self.states.get(uid)
        if state is None:
            if deleted:
                return
            run = read_run(body)
            inherited = frozenset(attempt.id for attempt in run.status.attempts)
            self.states[uid] = RunState(run, inherited, written=dict(body.get("status") or {}))
            self.queue.add(uid, first=True)  # machines wait for a new run: its Job comes before any progress
            return
        if deleted:
            self._gone(state)
        elif body["metadata"]["generation"] != state.run.generation:
            # the status that we hold is newer than any that a watch delivers
            state.run = replace(read_run(body), status=state.run.status)
        else:
            return  # our own patch comes back
        self.queue.add(uid)

    def wake(self, run_uid: str, seconds: float = 0.0) -> None:
        """Look at a run again in a while. At once is not quite at once: news come in flocks, several of each run."""
        if run_uid in self.states:
            flock = max(WAKE_DEBOUNCE_SECONDS, len(self._active) / WAKES_PER_SECOND)
            self.queue.add_after(run_uid, max(flock, seconds))

    async def _work(self, uid: str) -> None:
        started = time.perf_counter()
        outcome = "error"
        try:
            await self._reconcile(uid)
            outcome = "success"
        finally:
            self._telemetry.reconciled(outcome, time.perf_counter() - started)

    async def _reconcile(self, uid: str) -> None:
        """Bring one BenchmarkRun one step closer to its spec; safe to call at any time, any number of times."""
        state = self.states.get(uid)
        if state is None:
            return
        ended_before = state.run.status.terminal
        while True:
            state.see(self.watches.jobs(uid), self.watches.pods(uid), self._clock())
            self._telemetry.occupied(state.run, state.all_containers(), self._clock())
            if not ended_before:
                self._logs.follow(state)
            observed = state.observed()
            decision = decide(state.run, observed, self._rounds, self._clock())
            outcome = await self._actions.execute(state, decision.actions)
            if outcome.status_holds:
                before, state.run = state.run.status, replace(state.run, status=decision.status)
                self._telemetry.moved(before, state.run, observed, self._clock())
            if not outcome.look_again:
                break
        if state.run.deleted:
            if not decision.actions:
                self._forget(uid)
            return
        self._logs.checkpoint(state)
        await self._report(state)
        if state.run.status.terminal:
            self._active.discard(uid)
            state.close()
        else:
            self._active.add(uid)
        if decision.wake_at is not None:
            self.queue.add_after(uid, max(0.0, decision.wake_at - self._clock()) + 0.05)

    async def _report(self, state: RunState) -> None:
        """Write the status when it has changed: transitions at once, progress every few seconds."""
        document = status_document(state.run.status)
        patch = merge_patch(state.written, document)
        if not patch:
            state.changed_at = None
            return
        now, reported = self._clock(), significant(state.run.status)
        state.changed_at = state.changed_at or now
        if not state.written:
            first = state.changed_at + max(FIRST_STATUS_DELAY_SECONDS, len(self._active) / FIRST_STATUSES_PER_SECOND)
            if now < first:
                self.queue.add_after(state.run.uid, first - now)
                return
        if reported == state.last_reported:
            # a little patience, so that a transition that follows at once takes the progress along
            wait = max(state.quiet_until, state.changed_at + PROGRESS_COALESCE_SECONDS) - now
            if wait > 0:
                self.queue.add_after(state.run.uid, wait)
                return
        _LOG.debug("status of %s/%s: %s", state.run.namespace, state.run.name, patch)
        try:
            await self._api.patch_status(state.run.namespace, state.run.name, patch)
        except ApiError as error:
            if not error.not_found:
                raise
            self._gone(state)
            return
        state.written, state.changed_at, state.last_reported = document, None, reported
        state.quiet_until = now + max(self._progress_seconds, len(self._active) / _PROGRESS_WRITES_PER_SECOND)

    def forget(self, uids: Iterable[str]) -> None:
        """These runs are gone, although no watch has told: one that was interrupted tells of no deletion."""
        for uid in uids:
            if state := self.states.get(uid):
                self._gone(state)

    def _gone(self, state: RunState) -> None:
        state.run = replace(state.run, deleted=True)
        self.queue.add(state.run.uid)

    def _forget(self, uid: str) -> None:
        state = self.states.pop(uid)
        state.close()
        self._telemetry.gone(state.run)
        self._active.discard(uid)
        self.queue.forget(uid)
