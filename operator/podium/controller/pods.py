"""Reads the Jobs and pods that a watch delivers into snapshots. Pure functions.

A Job is ours if the run that its label names also owns it, and a pod is ours if such a Job controls it. Labels only
select, since anybody can put them on any object. Objects that are not ours are read as None and unreadable ones raise;
`podium.kube.Informer` ignores both.

Only what `decide` needs is kept: thousands of full pod objects would fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from podium.api import GROUP, KIND, PLURAL, VERSION, Reason, TryId, unix_seconds
from podium.documents import DocumentError, read_json
from podium.kube import Resource
from podium.launch import (
    ATTEMPT_LABEL,
    CONTAINER,
    QUEUE_LABEL,
    RUN_UID_LABEL,
    SEED_ANNOTATION,
    STAGE_CONTAINER,
    STAGE_FOLDER_CONTAINER,
    TRY_LABEL,
)
from podium.mllog import last_output
from podium.reconcile import Container, ObservedJob, Staging, job_names

BENCHMARK_RUNS = Resource(PLURAL, f"apis/{GROUP}/{VERSION}")
CONTROLLER_LABEL = "batch.kubernetes.io/controller-uid"  # by which a Job selects its pods: it releases one without it
_INDEX = "batch.kubernetes.io/job-completion-index"
_SEED_DIGITS = 10
_KILLED = frozenset({137, 143})  # by SIGKILL, by SIGTERM
_EPOCH = 86400.0  # the runtime stamps a container that never started with 1970-01-01
NODE_LOST = Reason.NODE_LOST.value  # the node lifecycle controller uses the same word
_LOST = frozenset({NODE_LOST, "NodeNotReady", "NodeUnreachable", "NodeStatusUnknown"})


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

    @property
    def outlasts(self) -> bool:
        return False

    def after(self, _: JobSnapshot, /) -> JobSnapshot:
        return self


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

    @property
    def outlasts(self) -> bool:
        return self.container.end_reported

    def after(self, earlier: PodSnapshot, /) -> PodSnapshot:
        """Return this snapshot with what an earlier one of the pod showed and it does not.

        When the kubelet has ended a container, it deletes the pod once more, and only the time of that is left: after
        the end of the container, as if it had ended by itself.
        """
        since, deleted = earlier.container.deleted, self.container.deleted
        if since is None or (deleted is not None and deleted <= since):
            return self
        return replace(self, container=_deleted(self.container, since))


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
    seed = (metadata.get("annotations") or {}).get(SEED_ANNOTATION)
    started = status.get("startTime")
    return JobSnapshot(
        namespace=_text(metadata["namespace"]),
        run_uid=_text(owner["uid"]),
        id=id_,
        job=ObservedJob(
            name=_text(metadata["name"]),
            uid=_text(metadata["uid"]),
            created=unix_seconds(metadata["creationTimestamp"]),
            suspended=bool(body["spec"].get("suspend")),
            seed=int(seed) if seed and seed.isascii() and seed.isdigit() and len(seed) <= _SEED_DIGITS else None,
            admitted=unix_seconds(started) if started else None,
            deleting="deletionTimestamp" in metadata,
            queue=QUEUE_LABEL in labels,
            **_outcome(status),
        ),
    )


def _outcome(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an `ObservedJob` that say how the Job ended, or is about to end."""
    found: dict[str, Any] = {}
    for condition in status.get("conditions") or ():
        if condition["status"] != "True":
            continue
        kind, why = condition["type"], condition.get("reason", "")
        if kind in ("Complete", "Failed"):
            found |= {"finished": kind, "message": condition.get("message", "")}
        elif kind == "FailureTarget":  # it fails once its last pod is gone, which a dead kubelet never reports
            found["failing"] = condition.get("message", "") or why
            found["failing_since"] = _since(condition)
        elif kind == "Suspended":
            found["suspended_since"] = _since(condition)
        if kind in ("Failed", "FailureTarget"):
            found["reason"] = why
    return found


def _since(condition: Mapping[str, Any]) -> float | None:
    stamp = condition.get("lastTransitionTime")
    return unix_seconds(stamp) if stamp else None


def read_pod(body: Mapping[str, Any], run_uid: str | None = None) -> PodSnapshot | None:
    """Return the snapshot of a pod; None if no Job controls it. A `run_uid` stands in for a label that was taken off.

    A malformed object may raise any exception.
    """
    metadata = body["metadata"]
    job = next((o for o in _owners(metadata, "Job", "batch") if o.get("controller") is True), None)
    if job is None:
        return None
    return PodSnapshot(
        namespace=_text(metadata["namespace"]),
        uid=_text(metadata["uid"]),
        run_uid=_text(metadata["labels"][RUN_UID_LABEL] if run_uid is None else run_uid),
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
    trainer, before = (
        _status(status.get("containerStatuses"), CONTAINER),
        _status(status.get("initContainerStatuses"), STAGE_CONTAINER),
    )
    folder = _status(status.get("initContainerStatuses"), STAGE_FOLDER_CONTAINER)
    made = folder.get("state") or {}
    if "waiting" in made or made.get("terminated", {}).get("exitCode"):
        before = folder  # the container that copies waits for it, or will never run
    state, staged = trainer.get("state") or {}, before.get("state") or {}
    staging = _staging(staged)
    if "waiting" in staged or (staging and staging.exit_code):
        state = staged  # the trainer's own state only says that it is waiting
    index = int(metadata["annotations"][_INDEX])  # every pod of an Indexed Job has one
    if index < 0:
        raise ValueError(f"annotation {_INDEX}: {index} is negative")
    deleted = None
    if "deletionTimestamp" in metadata:  # deletionTimestamp is the end of the grace period
        deleted = unix_seconds(metadata["deletionTimestamp"]) - (metadata.get("deletionGracePeriodSeconds") or 0)
    disrupted = next(_conditions(status, "DisruptionTarget", "True"), {})
    pod = Container(
        name=_text(metadata["name"]),
        node_index=index,
        deleted=deleted,
        staging=staging,
        uid=_text(metadata["uid"]),
        node=_text(body["spec"].get("nodeName", "")),
        image_id=_text(trainer.get("imageID", "")),
        disruption=disrupted.get("reason", ""),
        message=disrupted.get("message", ""),
        node_lost=_is_node_lost(status),
        memory_limited=_is_memory_limited(body["spec"]),
        created=unix_seconds(metadata["creationTimestamp"]),
        sidecar=_sidecar(status),
    )
    if "terminated" in state:
        return _terminated(pod, state["terminated"], body, ran=state is not staged)
    if status.get("phase") in ("Failed", "Succeeded"):  # evicted before its container ran, or its node is gone
        return _without_status(pod, body)
    if pod.node_lost and deleted is not None:  # it is gone for good, although no kubelet will ever say so
        started = _started(state.get("running") or {})
        return replace(pod, started=started, finished=deleted, stopped=NODE_LOST, message=_message(pod, status))
    if "running" in state:
        return replace(pod, started=unix_seconds(state["running"]["startedAt"]))
    waiting = state.get("waiting") or next(iter(_conditions(status, "PodScheduled", "False")), {})
    return replace(pod, waiting=waiting.get("reason", ""), message=_message(pod, waiting))


def _terminated(pod: Container, ended: Mapping[str, Any], body: Mapping[str, Any], *, ran: bool) -> Container:
    """Return the container of a pod that ended as `ended` says; `ran` if it is the trainer's."""
    status = body["status"]
    # Evicted is reported on the pod, OOMKilled on the container
    reason = status.get("reason") or ended.get("reason", "")
    started = _started(ended) if ran else None
    pod = replace(
        pod,
        started=started,
        finished=unix_seconds(ended.get("finishedAt") or body["metadata"]["creationTimestamp"]),
        exit_code=ended.get("exitCode"),
        end_reported=ran,
        signal=ended.get("signal") or None,
        stopped=reason,
        message=_message(pod, status, ended if ran and started is None else {}),
        last_output=last_output(ended.get("message", "")) if started is not None and ended.get("exitCode") else "",
    )
    return pod if pod.deleted is None else _deleted(pod, pod.deleted)


def _deleted(container: Container, since: float) -> Container:
    """Return a container whose pod is being deleted since then (unix seconds)."""
    container = replace(container, deleted=since)
    finished, exit_code = container.finished, container.exit_code
    if finished is None or exit_code is None or (since > finished and exit_code not in _KILLED):
        return container
    # ended by its deletion, whatever the exit code: many programs exit with 0 or 1 on SIGTERM. The pods that fail
    # because of it are deleted later: the order shows which was the cause.
    return replace(container, finished=min(finished, since), exit_code=None, stopped="Deleted")


def _started(state: Mapping[str, Any]) -> float | None:
    """Return when a container started; None if it never did."""
    started = unix_seconds(state["startedAt"]) if state.get("startedAt") else 0.0
    return started if started > _EPOCH else None


def _is_node_lost(status: Mapping[str, Any]) -> bool:
    """Return whether the pod's node does not report any more.

    The node lifecycle controller then sets Ready to False and leaves ContainersReady, which only the kubelet sets.
    """
    if status.get("reason") in _LOST or status.get("phase") == "Unknown":
        return True
    unready = next(iter(_conditions(status, "Ready", "False")), None)
    if unready is None:
        return False
    reason = unready.get("reason", "")
    return reason in _LOST or (not reason and any(_conditions(status, "ContainersReady", "True")))


def _is_memory_limited(spec: Mapping[str, Any]) -> bool:
    containers = (c for c in spec.get("containers") or () if c.get("name") == CONTAINER)
    return any("memory" in ((c.get("resources") or {}).get("limits") or {}) for c in containers)


def _sidecar(status: Mapping[str, Any]) -> str:
    """Return the name of a container that somebody has added to the pod and that still runs; empty if none does."""
    statuses = status.get("containerStatuses") or ()
    added = (s for s in statuses if s["name"] != CONTAINER and "running" in (s.get("state") or {}))
    return next((_text(s["name"]) for s in added), "")


def _conditions(status: Mapping[str, Any], kind: str, value: str) -> Iterator[Mapping[str, Any]]:
    conditions = status.get("conditions") or ()
    return (c for c in conditions if c["type"] == kind and c["status"] == value)


def _status(statuses: Sequence[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any]:
    return next((status for status in statuses or () if status["name"] == name), {})


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


def _without_status(pod: Container, body: Mapping[str, Any]) -> Container:
    metadata, status = body["metadata"], body["status"]
    done = status["phase"] == "Succeeded"
    created = unix_seconds(metadata["creationTimestamp"])
    return replace(
        pod,
        started=unix_seconds(status["startTime"]) if status.get("startTime") else created,
        finished=created,
        exit_code=0 if done else None,
        stopped=status.get("reason", "Completed" if done else "Failed"),
        message=_message(pod, status),
    )


def _message(pod: Container, *places: Mapping[str, Any]) -> str:
    """Return the first message in `places`, else what the pod's condition says of its disruption."""
    return next((text for place in places if (text := place.get("message"))), pod.message)
