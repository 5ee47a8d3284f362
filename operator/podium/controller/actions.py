"""Carries out what `decide` asks for: writes to the API server and to the store."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp

from podium.api import GROUP, KIND, PLURAL, VERSION
from podium.controller.logs import LogCollector
from podium.controller.pods import job_facts
from podium.controller.state import RunState
from podium.controller.uploads import Recorder
from podium.kube.client import Api, ApiError
from podium.launch import TrainerDefaults, build_job, build_service, launch_for
from podium.reconcile import (
    Action,
    CreateJob,
    DeleteJob,
    DeleteRun,
    Emit,
    ObservedLog,
    Refusal,
    Run,
    StoreAttempt,
    StoreResult,
    job_name,
)
from podium.results import AttemptFiles
from podium.rounds import Round
from podium.rules import goal_for
from podium.stores import StoreError

_LOG = logging.getLogger(__name__)
_STORE_WAIT_SECONDS = 10.0  # a slow store holds up the status no longer than this
_RETRY_LIMIT_SECONDS = 60.0
_LAST_LINES_SECONDS = 10.0  # a container that is being killed may still print


@dataclass(frozen=True, slots=True)
class ActionResult:
    """Of a decision's actions: may its status be adopted, and is there more to decide at once?"""

    status_holds: bool
    look_again: bool


class ActionExecutor:
    """The hands of the controller. `wake` brings a run's worker after so many seconds."""

    def __init__(
        self,
        api: Api,
        recorder: Recorder,
        logs: LogCollector,
        *,
        rounds: Mapping[str, Round],
        trainer: TrainerDefaults,
        wake: Callable[[str, float], None],
    ) -> None:
        self._api = api
        self._recorder = recorder
        self._logs = logs
        self._rounds = rounds
        self._trainer = trainer
        self._wake = wake
        self._nodes: dict[str, dict[str, Any]] = {}

    async def execute(self, state: RunState, actions: Sequence[Action]) -> ActionResult:
        """Carry out `actions` in order. A refused Job leaves the status as it was; a store may take its time."""
        look_again = False
        for action in actions:
            match action:
                case CreateJob():
                    if not await self._create_job(state, action):
                        return ActionResult(status_holds=False, look_again=False)
                case DeleteJob(id_):
                    state.pod_logs[id_] = await self._logs.collect(state, id_)
                    uid = state.jobs[id_].uid
                    await self._api.delete("jobs", state.run.namespace, job_name(state.run.name, id_), uid=uid)
                case StoreAttempt():
                    look_again |= await self._store(
                        state, str(action.attempt.id), partial(self._attempt, state, action)
                    )
                case StoreResult():
                    look_again |= await self._store(state, "result", partial(self._result, state, action))
                case DeleteRun():
                    await self._api.delete(PLURAL, state.run.namespace, state.run.name, uid=state.run.uid)
                case Emit():
                    await self._emit(state, action)
        return ActionResult(status_holds=True, look_again=look_again)

    # ---- Kubernetes ----

    async def _create_job(self, state: RunState, action: CreateJob) -> bool:
        run = state.run
        launch = launch_for(run, action, self._rounds)
        if refused := self._trainer.stage.refusal(run.spec):
            state.refusal = Refusal(refused, time.time(), final=True)
            self._wake(run.uid, 0.0)
            return False
        try:
            await self._create(run, "services", build_service(launch))
            job = await self._create(run, "jobs", build_job(launch, self._trainer))
        except ApiError as error:
            since = state.refusal.since if state.refusal else time.time()
            state.refusal = Refusal(f"{error.reason or error.code}: {error}", since, final=error.final)
            state.refusals += 1
            self._wake(run.uid, _backoff(state.refusals))
            return False
        state.created[action.id] = job_facts(job)
        state.refusal, state.refusals = None, 0
        return True

    async def _create(self, run: Run, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create, or adopt what an earlier call created: it is ours only if its owner is this very run."""
        try:
            return await self._api.create(resource, run.namespace, body)
        except ApiError as error:
            if not error.conflict:
                raise
        name = body["metadata"]["name"]
        existing = await self._api.get(resource, run.namespace, name)
        owners = existing["metadata"].get("ownerReferences", ())
        if any(owner["uid"] == run.uid for owner in owners):
            return existing
        going = any(owner["kind"] == KIND for owner in owners)  # of a deleted run of the same name
        message = f"{resource} {name!r} exists and does not belong to this run; " + (
            "waiting for it to go" if going else "delete it, or give the run another name"
        )
        raise ApiError(409 if going else 422, "NameTaken", message)

    async def _emit(self, state: RunState, event: Emit) -> None:
        """Post a Kubernetes Event once; failing to is no reason to stop."""
        key = hashlib.sha256(f"{event.reason}/{event.message}".encode()).hexdigest()[:16]
        if key in state.events:
            return
        state.events.add(key)
        run, now = state.run, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        reference = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "namespace": run.namespace,
            "name": run.name,
            "uid": run.uid,
        }
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{run.name}.{key}", "namespace": run.namespace},
            "involvedObject": reference,
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:1024],
            "source": {"component": "podium"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create("events", run.namespace, body)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            _LOG.warning("event %s of %s/%s: %s", event.reason, run.namespace, run.name, error)

    # ---- the store ----

    async def _store(self, state: RunState, key: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Start or look after an upload; True when it has come to its end just now."""
        task = state.storing.get(key)
        started = task is None
        if task is None:
            if (pause := state.store_retry_at - time.monotonic()) > 0:
                self._wake(state.run.uid, pause)
                return False
            task = state.storing[key] = asyncio.ensure_future(work())
        done, _ = await asyncio.wait({task}, timeout=_STORE_WAIT_SECONDS)
        if not done:
            if started:
                task.add_done_callback(lambda _: self._wake(state.run.uid, 0.0))
            return False
        del state.storing[key]
        try:
            task.result()
        except StoreError as error:
            state.store_error = str(error)
            state.store_failures += 1
            state.store_retry_at = time.monotonic() + _backoff(state.store_failures)
            _LOG.warning("%s of %s/%s is not stored: %s", key, state.run.namespace, state.run.name, error)
        else:
            state.store_error, state.store_failures = "", 0
        return True

    async def _attempt(self, state: RunState, action: StoreAttempt) -> None:
        id_ = action.attempt.id
        following = state.logs.get(id_)
        if following and not following.book.ended:
            await asyncio.wait({following.task}, timeout=_LAST_LINES_SECONDS)
        log = state.observed().logs.get(id_, ObservedLog())
        files = AttemptFiles(
            summary=log.summary,
            lines=list(following.book.mlperf_lines()) if following else (),
            containers=sorted(state.containers.get(id_, {}).values(), key=lambda c: c.node_index),
            pod_logs=await self._logs.collect(state, id_),
        )
        await self._recorder.put_attempt(state.run, action, files)
        state.stored.add(id_)
        state.read[id_] = log
        state.pod_logs.pop(id_, None)
        if following := state.logs.pop(id_, None):
            following.task.cancel()
            following.book.close()

    async def _result(self, state: RunState, action: StoreResult) -> None:
        targets = goal_for(state.run.spec, self._rounds).targets
        nodes = [await self._node(name) for name in sorted(state.nodes)]
        state.result = await self._recorder.put_result(state.run, action, targets, nodes)

    async def _node(self, name: str) -> Mapping[str, Any]:
        """What system.json tells of a node of the cluster."""
        if name not in self._nodes:
            try:
                node = await self._api.get_node(name)
            except ApiError as error:
                return {"name": name, "unknown": str(error)}
            labels = node["metadata"].get("labels", {})
            interesting = ("node.kubernetes.io/", "topology.kubernetes.io/", "nvidia.com/", "kubernetes.io/arch")
            self._nodes[name] = {
                "name": name,
                "capacity": node["status"].get("capacity", {}),
                "info": node["status"].get("nodeInfo", {}),
                "labels": {key: value for key, value in labels.items() if key.startswith(interesting)},
            }
        return self._nodes[name]


def _backoff(failures: int) -> float:
    return min(_RETRY_LIMIT_SECONDS, 2.0**failures)
