"""Decides which part of a status to write, and when."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from podium.api import AttemptState, BenchmarkRunStatus, Condition, ConditionType
from podium.controller.fitting import fitted
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.state import RunState
from podium.kube import Api, ApiError

_LOG = logging.getLogger(__name__)
_STARTING = frozenset({AttemptState.PENDING, AttemptState.INITIALIZING})  # passing states, reported with the progress
_ROUTINE = re.compile(r"\d+ of \d+ pods |waiting for its pods|: (ContainerCreating|PodInitializing)\b")
_CAUSE = re.compile(r"(?s)[^:]*: (?:pod [^:]*: )?([^:]*).*")
_SAME_CAUSE = {"ErrImagePull": "ImagePullBackOff"}  # they alternate
_PROGRESS_COALESCE_SECONDS = 3.0
_LEAVING_SECONDS = 15.0  # after run_stop the end follows soon
# These delays grow with the number of active runs, so that a thousand new runs get machines before status updates.
_FIRST_STATUS_DELAY_SECONDS = 1.0
_FIRST_STATUSES_PER_SECOND = 100.0
# Most runs train, or wait for something, before these have passed: that needs no status of its own for what went before
_STARTING_DELAY_SECONDS = 8.0
_STARTING_STATUSES_PER_SECOND = 16.0
_PROGRESS_WRITES_PER_SECOND = 5.0


class StatusWriter:
    """Writes the status of every run: transitions at once, progress every few seconds."""

    def __init__(
        self,
        api: Api,
        *,
        progress_seconds: float,
        clock: Callable[[], float],
        write_later: Callable[[str, float], None],
        runs_in_progress: Callable[[], int],
    ) -> None:
        """`write_later` schedules the reconciliation of a run, by uid and delay in seconds. Progress is written every
        `progress_seconds`, less often if many runs are in progress."""
        self._api = api
        self._progress_seconds = progress_seconds
        self._clock = clock
        self._write_later = write_later
        self._runs_in_progress = runs_in_progress

    async def write(self, state: RunState) -> bool:
        """Write the status if it has changed and is due. Returns whether it was written.

        Raises ApiError if the API server refuses it.
        """
        run, report = state.run, state.report
        document = status_document(run.status)
        if report.cut:
            document = fitted(BenchmarkRunStatus, document)
        operations = changes(report.written or {}, document)
        if not operations:
            report.changed_at, report.attempts = None, run.status.attempts
            return False
        now, reported = self._clock(), significant(run.status)
        report.changed_at = report.changed_at or now
        if (wait := self._due(state, reported) - now) > 0:
            self._write_later(run.uid, wait)
            return False
        _LOG.debug("status of %s/%s: %s", run.namespace, run.name, operations)
        report.written = None  # an answer may be lost
        try:
            await self._api.patch_status(BENCHMARK_RUNS, run.namespace, run.name, operations, uid=run.uid)
        except ApiError as error:
            if not error.final:
                raise
            document = await self._write_whole(state, document, error)
        report.written, report.attempts = document, run.status.attempts
        report.changed_at, report.last_reported = None, reported
        report.quiet_until = now + max(self._progress_seconds, self._runs_in_progress() / _PROGRESS_WRITES_PER_SECOND)
        return True

    async def _write_whole(self, state: RunState, document: dict[str, Any], refusal: ApiError) -> dict[str, Any]:
        """Write a whole status after the API server has refused a change. Returns what it has accepted.

        Raises ApiError: 404 if the run is gone, or another one has its name.
        """
        run = state.run
        found = await self._api.get(BENCHMARK_RUNS, run.namespace, run.name)
        if found["metadata"]["uid"] != run.uid:
            raise ApiError(404, "NotFound", f"{run.namespace}/{run.name} has been deleted and created again")
        if not state.report.cut:
            state.report.cut = True
            text = "the whole status of %s/%s is written, cut to what its schema allows: %s"
            _LOG.warning(text, run.namespace, run.name, refusal)
        document = fitted(BenchmarkRunStatus, document)
        await self._api.patch_status(BENCHMARK_RUNS, run.namespace, run.name, changes({}, document), uid=run.uid)
        return document

    def _due(self, state: RunState, reported: tuple[object, ...]) -> float:
        """Return when to write a changed status; 0.0 means at once."""
        report, due = state.report, 0.0
        changed_at = report.changed_at or 0.0
        if report.written == {}:
            runs = self._runs_in_progress()
            # by the most runs at any time so far: the last of a burst wait for machines as long as the first
            starting = max(_STARTING_DELAY_SECONDS, runs / _STARTING_STATUSES_PER_SECOND)
            report.starting_delay = max(report.starting_delay, starting)
            due = changed_at + max(_FIRST_STATUS_DELAY_SECONDS, runs / _FIRST_STATUSES_PER_SECOND)
            if is_starting(state.run.status):
                due = changed_at + report.starting_delay
        if reported == report.last_reported:
            # after a short wait, so that a transition right after it carries the progress as well
            leaving = any(a.time_to_train_seconds and not a.state.finished for a in state.run.status.attempts)
            wait = _LEAVING_SECONDS if leaving else _PROGRESS_COALESCE_SECONDS
            due = max(due, report.quiet_until, changed_at + wait)
        return due


def status_document(status: BenchmarkRunStatus) -> dict[str, Any]:
    """Return the status as the API server stores it."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def changes(old: dict[str, Any], new: dict[str, Any], path: str = "/status") -> list[dict[str, Any]]:
    """Return the operations (RFC 6902) that turn `old`, at `path` in an object, into `new`; none if they are equal.

    An object that loses a key is replaced as a whole: only additions may be repeated when an answer was lost.
    """
    if not old or old.keys() - new.keys():
        return [] if old == new else [{"op": "add", "path": path, "value": new}]
    operations = []
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            operations += changes(before, value, f"{path}/{key}")
        elif value != before:
            operations.append({"op": "add", "path": f"{path}/{key}", "value": value})
    return operations


def _cause(condition: Condition) -> str:
    """Return in a word what a run waits for other than time: a node, an image, a quota. That is reported at once."""
    if condition.reason != AttemptState.PENDING or _ROUTINE.search(condition.message):
        return ""
    word = _CAUSE.sub(r"\1", condition.message)
    return _SAME_CAUSE.get(word, word)


def is_starting(status: BenchmarkRunStatus) -> bool:
    """Return whether the first attempt's pods are being created and nothing is wrong."""
    running = status.condition(ConditionType.RUNNING)
    return running is not None and running.reason in _STARTING and not _cause(running)


def significant(status: BenchmarkRunStatus) -> tuple[object, ...]:
    """Return the part of a status whose changes are reported at once; the rest is progress and can wait."""
    attempts = tuple(
        (a.index, a.try_, "Starting" if a.state in _STARTING else a.state, a.stored) for a in status.attempts
    )
    conditions = tuple(
        (c.type, "Starting", _cause(c)) if c.reason in _STARTING else (c.type, c.status, c.reason)
        for c in status.conditions
    )
    return attempts, conditions, status.result, status.score
