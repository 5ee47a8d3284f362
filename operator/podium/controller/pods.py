"""Reads the Jobs and pods that a watch delivers into snapshots. Pure functions.

A Job is ours if the run that its label names also owns it, and a pod is ours if such a Job controls it. Labels only
select, since anybody can put them on any object. Objects that are not ours are read as None and unreadable ones raise;
`podium.kube.Informer` ignores both.

Only what `decide` needs is kept: thousands of full pod objects would fill the memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from podium.api import GROUP, KIND, PLURAL, VERSION, TryId, unix_seconds
from podium.documents import DocumentError, read_json
from podium.kube import Resource
from podium.launch import ATTEMPT_LABEL, CONTAINER, RUN_UID_LABEL, STAGE_CONTAINER, TRY_LABEL
from podium.reconcile import Container, ObservedJob, Staging, job_names

BENCHMARK_RUNS = Resource(PLURAL, f"apis/{GROUP}/{VERSION}")
_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A Job of a run, without its containers: these come from its pods."""

    namespace: str
    run_uid: str
    id: TryId
    job: ObservedJob

    @property
    def belongs_to(self) -> str:
        return self.run_uid


@dataclass(frozen=True, slots=True)
class PodSnapshot:
    """A pod that a Job controls and whose label names a run. It is ours if the Job is: see `Observation.update`."""

    namespace: str
    uid: str
    run_uid: str
    job_uid: str
    node: str  # name of the cluster's node, "" while unscheduled
    container: Container

    @property
    def belongs_to(self) -> str:
        return self.run_uid


def read_job(body: Mapping[str, Any]) -> JobSnapshot | None:
    """Return the snapshot of a Job; None if the run that its label names does not own it.

    A malformed object may raise any exception.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    owner = next((o for o in _owners(metadata, KIND, GROUP) if o["uid"] == labels.get(RUN_UID_LABEL)), None)
    if owner is None:
        return None
    id_ = TryId(attempt=int(labels[ATTEMPT_LABEL]), number=int(labels[TRY_LABEL]))
    if metadata["name"] not in job_names(owner["name"], id_):
        return None
    finished: Literal["", "Complete", "Failed"] = ""
    message = ""
    for condition in status.get("conditions") or ():
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            finished = condition["type"]
            message = condition.get("message", "")
    return JobSnapshot(
        namespace=_text(metadata["namespace"]),
        run_uid=_text(owner["uid"]),
        id=id_,
        job=ObservedJob(
            name=_text(metadata["name"]),
            uid=_text(metadata["uid"]),
            created=unix_seconds(metadata["creationTimestamp"]),
            suspended=bool(body["spec"].get("suspend")),
            finished=finished,
            message=message,
        ),
    )


def read_pod(body: Mapping[str, Any]) -> PodSnapshot | None:
    """Return the snapshot of a pod; None if no Job controls it.

    A malformed object may raise any exception.
    """
    metadata = body["metadata"]
    job = next((o for o in _owners(metadata, "Job", "batch") if o.get("controller") is True), None)
    if job is None:
        return None
    return PodSnapshot(
        namespace=_text(metadata["namespace"]),
        uid=_text(metadata["uid"]),
        run_uid=_text(metadata["labels"][RUN_UID_LABEL]),
        job_uid=_text(job["uid"]),
        node=_text(body["spec"].get("nodeName", "")),
        container=_container(body),
    )


def _owners(metadata: Mapping[str, Any], kind: str, group: str) -> Sequence[Mapping[str, Any]]:
    """Return the owners of an object that have this kind."""
    owners = metadata.get("ownerReferences") or ()
    return [o for o in owners if o["kind"] == kind and o["apiVersion"].startswith(f"{group}/")]


def _text(value: object) -> str:
    """Check that an identity is text, since it becomes a key. Raises TypeError if it is not."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _container(body: Mapping[str, Any]) -> Container:
    metadata, status = body["metadata"], body.get("status") or {}
    state, before = (
        _state(status.get("containerStatuses"), CONTAINER),
        _state(status.get("initContainerStatuses"), STAGE_CONTAINER),
    )
    staging = _staging(before)
    if "waiting" in before or (staging and staging.exit_code):
        state = before  # the trainer's own state only says that it is waiting
    name = _text(metadata["name"])
    index = int(metadata["annotations"][_INDEX])  # every pod of an Indexed Job has one
    if index < 0:
        raise ValueError(f"annotation {_INDEX}: {index} is negative")
    deleted = None
    if "deletionTimestamp" in metadata:  # deletionTimestamp is the end of the grace period
        deleted = unix_seconds(metadata["deletionTimestamp"]) - (metadata.get("deletionGracePeriodSeconds") or 0)
    if "terminated" in state:
        ended = state["terminated"]
        # Evicted is reported on the pod, OOMKilled on the container
        reason = status.get("reason") or ended.get("reason", "")
        exit_code = ended.get("exitCode")
        finished_at = unix_seconds(ended.get("finishedAt") or metadata["creationTimestamp"])
        if deleted is not None and exit_code:  # killed by its deletion, whatever the exit code
            reason, exit_code = "Deleted", None
            # the pods that fail because of it are deleted later: the order shows which was the cause
            finished_at = min(finished_at, deleted)
        return Container(
            name=name,
            node_index=index,
            started=unix_seconds(ended["startedAt"]) if ended.get("startedAt") and state is not before else None,
            finished=finished_at,
            exit_code=exit_code,
            stopped=reason,
            message=status.get("message", ""),
            staging=staging,
        )
    if status.get("phase") in ("Failed", "Succeeded"):  # evicted before its container ran, or its node is gone
        return _without_status(body, index)
    if "running" in state:
        started = unix_seconds(state["running"]["startedAt"])
        return Container(name=name, node_index=index, started=started, deleted=deleted, staging=staging)
    waiting = state.get("waiting") or _unscheduled(status)
    why, message = waiting.get("reason", ""), waiting.get("message", "")
    return Container(name=name, node_index=index, waiting=why, message=message, deleted=deleted, staging=staging)


def _state(statuses: Sequence[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any]:
    return next((status["state"] for status in statuses or () if status["name"] == name), {})


def _staging(state: Mapping[str, Any]) -> Staging | None:
    """Return the state of the init container that copies the data set; None for a pod without one."""
    if "running" in state:
        return Staging(started=unix_seconds(state["running"]["startedAt"]))
    if "terminated" in state:
        ended = state["terminated"]
        message = ended.get("message", "")
        return Staging(
            started=unix_seconds(ended["startedAt"]) if ended.get("startedAt") else None,
            finished=unix_seconds(ended["finishedAt"]) if ended.get("finishedAt") else None,
            exit_code=ended.get("exitCode"),
            last_lines=message if ended.get("exitCode") else "",
            report={} if ended.get("exitCode") else _report(message),
        )
    return Staging() if state else None


def _report(message: str) -> Mapping[str, int | float]:
    """Return what a successful copy reports; a custom image may print anything."""
    try:
        report = read_json((message or "{}").encode(), "termination message")
    except DocumentError:
        return {}
    if not isinstance(report, dict):
        return {}
    return {key: value for key, value in report.items() if isinstance(value, int | float)}


def _without_status(body: Mapping[str, Any], index: int) -> Container:
    metadata, status = body["metadata"], body["status"]
    done = status["phase"] == "Succeeded"
    created = unix_seconds(metadata["creationTimestamp"])
    return Container(
        name=_text(metadata["name"]),
        node_index=index,
        started=unix_seconds(status["startTime"]) if status.get("startTime") else created,
        finished=created,
        exit_code=0 if done else None,
        stopped=status.get("reason", "Completed" if done else "Failed"),
        message=status.get("message", ""),
    )


def _unscheduled(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return condition  # type: ignore[no-any-return]
    return {}
