"""Carries out BenchmarkSweeps: creates their runs, and reports what the runs' rates say of each row.

Everything is read from the API server for each decision; between two of them nothing is remembered but that a sweep
exists. A sweep is looked at every few seconds while it goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import ValidationError

from podium.api import GROUP, KIND, VERSION, AttemptStatus, ConditionType
from podium.api.sweep import SWEEP_KIND, SWEEP_PLURAL, BenchmarkSweepSpec, BenchmarkSweepStatus
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.status_writer import changes
from podium.controller.uploads import Recorder
from podium.kube import NODES, Api, ApiError, Object, Resource, WorkQueue
from podium.reconcile import read_run, size_refusal
from podium.reconcile.sweep import (
    NewRun,
    Node,
    Sweep,
    SweepDecision,
    SweepEnd,
    SweepRun,
    decide_sweep,
    ended_sweep,
    failed_sweep,
    waiting_sweep,
)
from podium.rounds import Round
from podium.rules import check_form
from podium.stores import StoreError

SWEEPS = Resource(SWEEP_PLURAL, f"apis/{GROUP}/{VERSION}")
SWEEP_LABEL = "podium.dev/sweep-uid"
_ROW, _NUMBER = "podium.dev/sweep-row", "podium.dev/sweep-number"
_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 10.0
_SERVED_SECONDS = 10.0
_FORBIDDEN = 403


class Sweeps:
    """All sweeps of the operator."""

    def __init__(
        self, api: Api, recorder: Recorder, rounds: Mapping[str, Round], clock: Callable[[], float] = time.time
    ) -> None:
        self.queue: WorkQueue[str] = WorkQueue(self._work, workers=4)
        self.served = asyncio.Event()  # whether the API server has BenchmarkSweeps: an older CRD set has none
        self._api = api
        self._recorder = recorder
        self._rounds = rounds
        self._clock = clock
        self._places: dict[str, tuple[str, str]] = {}  # namespace and name, by uid
        self._generations: dict[str, int] = {}  # by uid, as last seen

    def sweep_changed(self, body: Mapping[str, Any], *, deleted: bool) -> None:
        """Handle a BenchmarkSweep that is new, has changed or is gone. Its runs go with it (owner references)."""
        metadata = body["metadata"]
        uid, generation = metadata["uid"], metadata["generation"]
        if deleted:
            self._forget(uid)
        elif self._generations.get(uid) != generation:  # else it is our own patch
            self._places[uid] = (metadata["namespace"], metadata["name"])
            self._generations[uid] = generation
            self.queue.add(uid)

    def _forget(self, uid: str) -> None:
        self._places.pop(uid, None)
        self._generations.pop(uid, None)

    async def run(self) -> None:
        """Work until canceled, once there are BenchmarkSweeps."""
        while not self.served.is_set():
            await asyncio.sleep(_SERVED_SECONDS)
            with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError):
                if await self._api.serves(SWEEPS):
                    self.served.set()
        await self.queue.run()

    async def _work(self, uid: str) -> None:
        if uid not in self._places:
            return
        generation = self._generations[uid]
        if await self._goes_on(uid):
            self.queue.add_after(uid, _LOOK_SECONDS)
        elif self._generations.get(uid) == generation:  # else it has been changed meanwhile, and is looked at again
            self._forget(uid)  # a watch that was interrupted may never say that it is gone

    async def _goes_on(self, uid: str) -> bool:
        """Bring a sweep one step closer to its end. Returns whether there is more to do."""
        try:
            body = await self._api.get(SWEEPS, *self._places[uid])
        except ApiError as error:
            if error.not_found:
                return False
            raise
        metadata = body["metadata"]
        if metadata["uid"] != uid or "deletionTimestamp" in metadata:
            return False
        try:
            status = BenchmarkSweepStatus.model_validate(body.get("status") or {})
        except ValidationError:
            _LOG.warning("the status of sweep %s/%s cannot be read: it is left alone", *self._places[uid])
            return False
        if status.complete or (status.ended and status.observed_generation == metadata["generation"]):
            return False
        status = await self._next(body, status)
        await self._report(body, status)
        return not status.ended

    async def _next(self, body: Object, status: BenchmarkSweepStatus) -> BenchmarkSweepStatus:
        """Read all that a sweep rests on, create the runs that it needs, and return its new status.

        What the API server refuses stands in the status. Raises ApiError if it may pass soon, aiohttp.ClientError and
        TimeoutError.
        """
        metadata, now = body["metadata"], self._clock()
        spec, refusal = _read_spec(body["spec"])
        sweep = Sweep(metadata["namespace"], metadata["name"], metadata["uid"], metadata["generation"], spec, status)
        if refusal:
            return failed_sweep(sweep, refusal, now)
        try:
            nodes = [node async for node in self._nodes(spec)] if spec.nodes else []
            runs = [run async for run in self._runs(sweep)]
            decision = decide_sweep(sweep, nodes, runs, self._rounds, now)
            if decision.create and not _is_recorded(decision, status):
                await self._report(body, decision.status)
            in_the_way = [await self._create(body, run) for run in decision.create]
        except ApiError as error:
            if error.final:
                return failed_sweep(sweep, f"spec.template: {error}", now)
            if error.code != _FORBIDDEN:
                raise
            return waiting_sweep(sweep, status.rows, str(error), now)
        if cause := next(filter(None, in_the_way), ""):
            return waiting_sweep(sweep, decision.status.rows, cause, now)
        return await self._end(sweep, decision.end, runs, now) if decision.end else decision.status

    async def _end(self, sweep: Sweep, end: SweepEnd, runs: Sequence[SweepRun], now: float) -> BenchmarkSweepStatus:
        """Store the result, and return the status that says so; during an outage, the one that says what is missing."""
        try:
            end, result = await self._recorder.put_sweep(sweep, end, runs)
        except (StoreError, OSError) as error:
            _LOG.warning("cannot store the result of sweep %s/%s: %s", sweep.namespace, sweep.name, error)
            return waiting_sweep(sweep, end.rows, f"{end.message}; the result cannot be stored: {error}", now)
        return ended_sweep(sweep, end, result, now)

    async def _nodes(self, spec: BenchmarkSweepSpec) -> AsyncIterator[Node]:
        selector = ",".join(f"{key}={value}" for key, value in (spec.nodes.selector if spec.nodes else {}).items())
        async for bodies, _ in self._api.pages(NODES, None, selector):
            for body in bodies:
                yield read_node(body)

    async def _runs(self, sweep: Sweep) -> AsyncIterator[SweepRun]:
        async for bodies, _ in self._api.pages(BENCHMARK_RUNS, sweep.namespace, f"{SWEEP_LABEL}={sweep.uid}"):
            for body in bodies:
                if is_of(body, sweep.uid):
                    yield read_sweep_run(body)

    async def _create(self, sweep: Object, run: NewRun) -> str:
        """Create a run, if no earlier decision has. Returns what is in its way, "" if nothing is."""
        namespace, body = sweep["metadata"]["namespace"], run_of(sweep, run)
        try:
            await self._api.create(BENCHMARK_RUNS, namespace, body)
        except ApiError as error:
            if not error.conflict:
                raise
            return await self._in_the_way(sweep, namespace, run.name)
        return ""

    async def _in_the_way(self, sweep: Object, namespace: str, name: str) -> str:
        """Return what is wrong if `sweep` does not count the run that has a name, and would wait for it for ever."""
        uid = sweep["metadata"]["uid"]
        try:
            found = await self._api.get(BENCHMARK_RUNS, namespace, name)
        except ApiError as error:
            if error.not_found:
                return ""
            raise
        if is_of(found, uid):
            label = (found["metadata"].get("labels") or {}).get(SWEEP_LABEL)
            return "" if label == uid else f"BenchmarkRun {name} lacks the label {SWEEP_LABEL}: {uid}; put it back"
        return f"BenchmarkRun {name} exists and is not of this sweep; delete it, so that the sweep can create its own"

    async def _report(self, body: Object, status: BenchmarkSweepStatus) -> None:
        """Write what has changed in the status of a sweep, and let `body` have it."""
        document = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if operations := changes(body.get("status") or {}, document):
            metadata = body["metadata"]
            await self._api.patch_status(
                SWEEPS, metadata["namespace"], metadata["name"], operations, uid=metadata["uid"]
            )
            body["status"] = document


def _is_recorded(decision: SweepDecision, status: BenchmarkSweepStatus) -> bool:
    """Return whether a status has what the new runs of a sweep are made of: the template, and the nodes of their rows.

    A process that knows only the runs could not find out whether the template has changed since, and would form other
    groups of the nodes that there are then, under the same names.
    """
    known = {row.name for row in status.rows}
    return status.template_sha256 is not None and all(run.row in known for run in decision.create)


def _read_spec(spec: Mapping[str, Any]) -> tuple[BenchmarkSweepSpec, str]:
    """Return a spec, and what is wrong with it: an older CRD may have accepted what the models reject."""
    none = BenchmarkSweepSpec.model_construct(over="nodes", template={})
    if refusal := size_refusal(spec):
        return none, refusal
    try:
        return BenchmarkSweepSpec.model_validate(spec), ""
    except ValidationError as error:
        return none, "; ".join(map(str, check_form(error, model=BenchmarkSweepSpec)))


def run_of(sweep: Object, run: NewRun) -> Object:
    """Return a BenchmarkRun of a sweep; it is deleted with it."""
    metadata = sweep["metadata"]
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": SWEEP_KIND, "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": run.name,
            "namespace": metadata["namespace"],
            "labels": {SWEEP_LABEL: metadata["uid"]},
            "annotations": {_ROW: run.row, _NUMBER: str(run.number)},
            "ownerReferences": [{**owner, "controller": False, "blockOwnerDeletion": False}],
        },
        "spec": dict(run.spec),
    }


def is_of(run: Mapping[str, Any], sweep_uid: str) -> bool:
    """Return whether a sweep owns a run: anybody can put a label on one."""
    owners = run["metadata"].get("ownerReferences") or ()
    return any(owner.get("kind") == SWEEP_KIND and owner.get("uid") == sweep_uid for owner in owners)


def read_sweep_run(body: Mapping[str, Any]) -> SweepRun:
    """Read a run of a sweep from the API server."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    row, number = str(annotations.get(_ROW, "")), str(annotations.get(_NUMBER, ""))
    place = {"name": metadata["name"], "row": row, "number": int(number) if number.isdecimal() else 0}
    try:
        run = read_run(body)
    except ValidationError:  # a newer operator has written its status
        return SweepRun(**place, uid=metadata["uid"], ended=False)
    end = run.status.end
    return SweepRun(
        **place,
        uid=run.uid,
        ended=end is not None,
        rates=tuple(rate for attempt in run.status.attempts if (rate := _rate(attempt))),
        failure=f"{end.reason}: {end.message}" if end and end.type == ConditionType.FAILED else "",
        result=run.status.result,
    )


def _rate(attempt: AttemptStatus) -> float | None:
    """Return the samples per second of an attempt, or the trainings per hour."""
    if not attempt.state.succeeded:
        return None
    if attempt.samples_per_second:
        return float(attempt.samples_per_second)
    seconds = float(attempt.time_to_train_seconds or 0)
    return 3600 / seconds if seconds > 0 else None


def read_node(body: Mapping[str, Any]) -> Node:
    """Read a node from the API server."""
    name, spec, status = body["metadata"]["name"], body.get("spec") or {}, body.get("status") or {}
    ready: Mapping[str, Any] = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    problem = ""
    if spec.get("unschedulable"):
        problem = f"node {name} is cordoned"
    elif ready.get("status") != "True":
        problem = f"node {name} is not ready: {ready.get('message') or ready.get('reason') or 'it has not reported'}"
    return Node(name, {key: str(value) for key, value in (status.get("allocatable") or {}).items()}, problem)
