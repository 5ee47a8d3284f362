"""Executes decisions: creates and deletes Kubernetes objects, and passes uploads to the `Uploader`."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiohttp

from podium.api import GROUP, KIND, VERSION, Reason, TryId, rfc3339
from podium.controller.informers import pods_of_job
from podium.controller.logs import LogCollector
from podium.controller.pods import BENCHMARK_RUNS, JobSnapshot, PodSnapshot, read_job
from podium.controller.state import RunState
from podium.controller.uploads import Uploader
from podium.kube import EVENTS, JOBS, NETWORK_POLICIES, POD_GROUPS, SERVICES, Api, ApiError, Resource, backoff
from podium.launch import (
    ATTEMPT_LABEL,
    RUN_UID_LABEL,
    TRY_LABEL,
    Inputs,
    build_job,
    build_network_policy,
    build_pod_group,
    build_service,
    launch_for,
    new_seed,
)
from podium.reconcile import (
    Action,
    CreateJob,
    DeleteJob,
    DeleteRun,
    DropCheckpoint,
    Emit,
    ReadLog,
    Refusal,
    Run,
    StoreAttempt,
    StoreResult,
    job_names,
)
from podium.text import printable

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0
_HELD_SECONDS = 5.0
UNREACHABLE = (aiohttp.ClientError, TimeoutError)


class ActionExecutor:
    """Executes decisions. `wake` schedules the reconciliation of a run, by uid and delay in seconds.

    `hold` returns why the first Job of a run must wait, for as long as it must.
    """

    def __init__(
        self,
        api: Api,
        uploads: Uploader,
        logs: LogCollector,
        *,
        inputs: Inputs,
        wake: Callable[[str, float], None],
        hold: Callable[[Run], str] = lambda _: "",
    ) -> None:
        self._api = api
        self._uploads = uploads
        self._logs = logs
        self._inputs = inputs
        self._wake = wake
        self._hold = hold

    async def execute(self, state: RunState, actions: Sequence[Action]) -> bool:
        """Execute `actions` in order. Returns whether to decide again at once."""
        look_again = False
        run = state.run
        for action in actions:
            match action:
                case CreateJob(id_):
                    look_again |= await self._create_job(state, id_)
                case DeleteJob(id_):
                    job = state.observation.jobs[id_]
                    await self._api.delete(JOBS, run.namespace, job.name, uid=job.uid)
                case ReadLog(id_):
                    self._logs.read_now(state, id_)
                case DropCheckpoint(id_):
                    self._logs.drop_checkpoint(state, id_)
                case StoreAttempt() | StoreResult():
                    look_again |= await self._uploads.store(state, action)
                case DeleteRun():
                    await self._api.delete(BENCHMARK_RUNS, run.namespace, run.name, uid=run.uid)
                case Emit():
                    await self._emit(state, action)
        return look_again

    async def confirm(self, state: RunState, ids: Iterable[TryId]) -> bool:
        """Ask the API server for the Jobs of `ids`, which no watch shows. Returns whether it has answered."""
        run = state.run
        for id_ in ids:
            found = None
            for name in job_names(run.name, id_):
                try:
                    found = found or read_job(_as_recorded(run, id_, await self._api.get(JOBS, run.namespace, name)))
                except (ApiError, *UNREACHABLE) as error:
                    if not (isinstance(error, ApiError) and error.not_found):
                        _LOG.warning("looking for the Job of %s/%s %s: %s", run.namespace, run.name, id_, error)
                        return False
                except (LookupError, TypeError, ValueError):
                    continue  # it is not ours, or nobody can read it
            if found and found.run_uid == run.uid:
                state.observation.expect(found, time.time())
            else:
                state.observation.missing(id_)
        return True

    async def pods_of(self, state: RunState, jobs: Mapping[TryId, str]) -> dict[TryId, dict[str, PodSnapshot | None]]:
        """Ask the API server for the pods of tries, by the uid of their Job: perhaps no watch shows them.

        Returns the answers, by uid of the pod; a try is missing if there was none.
        """
        run = state.run
        answers: dict[TryId, dict[str, PodSnapshot | None]] = {}
        for id_, job_uid in jobs.items():
            found = {}
            try:
                async for body, pod in pods_of_job(self._api, run, job_uid):
                    found[body["metadata"]["uid"]] = pod
                    if pod and (body["metadata"].get("labels") or {}).get(RUN_UID_LABEL) != run.uid:
                        name, label = pod.container.name, f"{RUN_UID_LABEL}={run.uid}"
                        put_back = f"kubectl label pod -n {run.namespace} {name} {label} --overwrite"
                        await self._emit(state, Emit(Reason.LABEL_MISSING, f"{id_}: put it back with {put_back}"))
            except (ApiError, *UNREACHABLE) as error:
                _LOG.warning("looking for the pods of %s/%s %s: %s", run.namespace, run.name, id_, error)
            else:
                answers[id_] = found
        return answers

    async def _create_job(self, state: RunState, id_: TryId) -> bool:
        """Create the Job of a try, or adopt one that an earlier process created. Returns False if that is refused."""
        run = state.run
        if held := self._hold(run):  # as of now: no deadline counts this time; thousands may wait
            return self._refused(state, Refusal(held, time.time(), final=False), _HELD_SECONDS)
        trainer = self._inputs.trainer(run)
        launch = launch_for(run, id_, new_seed(), self._inputs.rounds(run), trainer.submission)
        try:
            await self._create(run, SERVICES, build_service(launch))
            if trainer.network.enabled:
                await self._create(run, NETWORK_POLICIES, build_network_policy(launch, trainer.network))
            if launch.pod_group:
                await self._create(run, POD_GROUPS, build_pod_group(launch))
            state.launch.asked_at.setdefault(id_, time.monotonic())
            job = _own_job(await self._create(run, JOBS, build_job(launch, trainer)))
        except ApiError as error:
            since = state.launch.refusal.since if state.launch.refusal else time.time()
            refusal = Refusal(f"{error.reason or error.code}: {error}", since, final=error.final)
            return self._refused(state, refusal, _RETRY_SECONDS)
        state.observation.expect(job, time.time())
        state.launch.refusal, state.launch.refusals = None, 0
        return True

    def _refused(self, state: RunState, refusal: Refusal, first: float) -> bool:
        """Note the refusal, and come back later and later, after `first` seconds at first. Returns False."""
        state.launch.refusal = refusal
        state.launch.refusals += 1
        self._wake(state.run.uid, backoff(state.launch.refusals, first=first))
        return False

    async def _create(self, run: Run, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or adopt one that an earlier call created: it is ours only if this run owns it."""
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
        raise _name_taken(resource, name, of_deleted_run=any(owner["kind"] == KIND for owner in owners))

    async def _emit(self, state: RunState, event: Emit) -> None:
        """Post a Kubernetes Event once; a failure is only logged."""
        key = hashlib.sha256(f"{event.reason}/{event.message}".encode()).hexdigest()[:16]
        if key in state.launch.events:
            return
        state.launch.events.add(key)
        run, now = state.run, rfc3339(time.time())
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
            "message": printable(event.message)[:1024],
            "source": {"component": "podium"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS, run.namespace, body)
        except (ApiError, *UNREACHABLE) as error:
            _LOG.warning("event %s of %s/%s: %s", event.reason, run.namespace, run.name, error)


def _as_recorded(run: Run, id_: TryId, body: dict[str, Any]) -> dict[str, Any]:
    """Return the Job of a try with the labels and the owner that it was created with, if the status recorded its uid.

    A Job that somebody has taken them off still runs, although no watch shows it as ours.
    """
    metadata = body["metadata"]
    if not any((a.id, a.job_uid) == (id_, metadata["uid"]) for a in run.status.attempts):
        return body
    labels = {RUN_UID_LABEL: run.uid, ATTEMPT_LABEL: str(id_.attempt), TRY_LABEL: str(id_.number)}
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": run.name, "uid": run.uid}
    given = {"labels": {**(metadata.get("labels") or {}), **labels}, "ownerReferences": [owner]}
    return {**body, "metadata": {**metadata, **given}}


def _own_job(body: dict[str, Any]) -> JobSnapshot:
    """Return the snapshot of a created or adopted Job. Raises ApiError if somebody has changed its labels."""
    try:
        job = read_job(body)
    except (LookupError, TypeError, ValueError):
        job = None
    if job is None:
        raise _name_taken(JOBS, body["metadata"]["name"], of_deleted_run=False)
    return job


def _name_taken(resource: Resource, name: str, *, of_deleted_run: bool) -> ApiError:
    """Return the error for a name that another object has; an object of a deleted run will go away by itself."""
    message = f"{resource.plural} {name!r} exists and does not belong to this run; " + (
        "waiting for it to be deleted" if of_deleted_run else "delete it, or rename the run"
    )
    return ApiError(409 if of_deleted_run else 422, "NameTaken", message)
