"""From Kubernetes objects to observations: pure functions over what a watch delivers.

Only what `decide` needs is kept: with thousands of pods the objects themselves would fill the memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from podium.api import TryId
from podium.launch import CONTAINER, STAGE_CONTAINER
from podium.reconcile import Container, Staging

_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A Job of ours."""

    namespace: str
    name: str
    uid: str
    run_uid: str
    id: TryId
    created: float
    suspended: bool
    finished: Literal["", "Complete", "Failed"]
    message: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod of a Job of ours."""

    uid: str
    run_uid: str
    id: TryId
    node: str  # of the cluster, "" while unscheduled
    container: Container


def run_uid(labels: Mapping[str, str]) -> str:
    return labels.get("podium.dev/run-uid", "")


def try_id(labels: Mapping[str, str]) -> TryId:
    return TryId(attempt=int(labels["podium.dev/attempt"]), number=int(labels["podium.dev/try"]))


def job_facts(body: Mapping[str, Any]) -> JobFacts:
    """What matters of a Job."""
    metadata, status = body["metadata"], body.get("status", {})
    finished: Literal["", "Complete", "Failed"] = ""
    message = ""
    for condition in status.get("conditions") or ():
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            finished = condition["type"]
            message = condition.get("message", "")
    return JobFacts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        run_uid=run_uid(metadata["labels"]),
        id=try_id(metadata["labels"]),
        created=unix(metadata["creationTimestamp"]),
        suspended=bool(body["spec"].get("suspend")),
        finished=finished,
        message=message,
    )


def pod_facts(body: Mapping[str, Any]) -> PodFacts:
    """What matters of a pod."""
    metadata = body["metadata"]
    return PodFacts(
        uid=metadata["uid"],
        run_uid=run_uid(metadata["labels"]),
        id=try_id(metadata["labels"]),
        node=body["spec"].get("nodeName", ""),
        container=_container(body),
    )


def _container(body: Mapping[str, Any]) -> Container:
    metadata, status = body["metadata"], body.get("status", {})
    state, before = (
        _state(status.get("containerStatuses"), CONTAINER),
        _state(status.get("initContainerStatuses"), STAGE_CONTAINER),
    )
    staging = _staging(before)
    if "waiting" in before or (staging and staging.exit_code):
        state = before  # the trainer's own says no more than that it waits
    name = metadata["name"]
    index = int((metadata.get("annotations") or {}).get(_INDEX, 0))
    deleted = None
    if "deletionTimestamp" in metadata:  # it is when the grace ends
        deleted = unix(metadata["deletionTimestamp"]) - metadata.get("deletionGracePeriodSeconds", 0)
    if "terminated" in state:
        ended = state["terminated"]
        # Evicted stands on the pod, OOMKilled on the container
        reason = status.get("reason") or ended.get("reason", "")
        exit_code = ended.get("exitCode")
        finished_at = unix(ended.get("finishedAt") or metadata["creationTimestamp"])
        if deleted is not None and exit_code:  # killed by its deletion, whatever the code
            reason, exit_code = "Deleted", None
            # the pods that die of its death are deleted later: the order tells which was the cause
            finished_at = min(finished_at, deleted)
        return Container(
            name=name,
            node_index=index,
            started=unix(ended["startedAt"]) if ended.get("startedAt") and state is not before else None,
            finished=finished_at,
            exit_code=exit_code,
            stopped=reason,
            message=status.get("message", ""),
            staging=staging,
        )
    if status.get("phase") in ("Failed", "Succeeded"):  # evicted before its container ran, or its node is gone
        return _without_status(body, index)
    if "running" in state:
        started = unix(state["running"]["startedAt"])
        return Container(name=name, node_index=index, started=started, deleted=deleted, staging=staging)
    waiting = state.get("waiting") or _unscheduled(status)
    why, message = waiting.get("reason", ""), waiting.get("message", "")
    return Container(name=name, node_index=index, waiting=why, message=message, deleted=deleted, staging=staging)


def _state(statuses: Sequence[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any]:
    return next((status["state"] for status in statuses or () if status["name"] == name), {})


def _staging(state: Mapping[str, Any]) -> Staging | None:
    """The init container that copies the data set, as far as it has come; None where there is none."""
    if "running" in state:
        return Staging(started=unix(state["running"]["startedAt"]))
    if "terminated" in state:
        ended = state["terminated"]
        message = ended.get("message", "")
        return Staging(
            started=unix(ended["startedAt"]) if ended.get("startedAt") else None,
            finished=unix(ended["finishedAt"]) if ended.get("finishedAt") else None,
            exit_code=ended.get("exitCode"),
            last_lines=message if ended.get("exitCode") else "",
            report={} if ended.get("exitCode") else _report(message),
        )
    return Staging() if state else None


def _report(message: str) -> Mapping[str, int | float]:
    """What a successful copying says of itself; an image of the administrator's own may say anything."""
    try:
        report = json.loads(message or "{}")
    except ValueError:
        return {}
    if not isinstance(report, dict):
        return {}
    return {key: value for key, value in report.items() if isinstance(value, int | float)}


def _without_status(body: Mapping[str, Any], index: int) -> Container:
    metadata, status = body["metadata"], body["status"]
    done = status["phase"] == "Succeeded"
    created = unix(metadata["creationTimestamp"])
    return Container(
        name=metadata["name"],
        node_index=index,
        started=unix(status["startTime"]) if status.get("startTime") else created,
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


def unix(timestamp: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(timestamp).timestamp()
