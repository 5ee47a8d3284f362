"""The Job controller and the garbage collector.

Indexed Jobs with ``backoffLimit: 0``. Since Kubernetes 1.31 a failing Job first gets the condition FailureTarget, and
Failed only when all of its pods are gone: a pod on a dead node holds it up. Pods keep a finalizer until they are counted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.simulation.apiserver import ApiServer, Change, Object, Refused, copy
from tests.simulation.world import World

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
CONTROLLER = "batch.kubernetes.io/controller-uid"


class JobController:
    """Creates and deletes pods for Jobs, and derives each Job's status from them."""

    def __init__(self, world: World, server: ApiServer) -> None:
        self.world, self.server = world, server
        self.slow_seconds = 0.0
        self._queued: set[str] = set()
        self._failed: dict[str, set[str]] = {}  # by Job: uids of counted pods
        self._succeeded: dict[str, set[str]] = {}  # by Job: indexes
        server.listeners["jobs"].append(self._job_changed)
        server.listeners["pods"].append(self._pod_changed)

    def _job_changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if "template" in change.object["spec"]:  # not a stranger's, which nothing runs
            self._queue(metadata["namespace"], metadata["name"], metadata["uid"])

    def _pod_changed(self, change: Change) -> None:
        for owner in change.object["metadata"].get("ownerReferences", ()):
            if owner["kind"] == "Job":
                self._queue(change.object["metadata"]["namespace"], owner["name"], owner["uid"])

    def _queue(self, namespace: str, name: str, uid: str) -> None:
        if uid not in self._queued:
            self._queued.add(uid)
            delay = self.world.random.uniform(0.02, 0.2 + self.slow_seconds)
            self.world.after(delay, lambda: self._reconcile(namespace, name, uid))

    def _queue_later(self, namespace: str, name: str, uid: str, seconds: float) -> None:
        """Look at a Job again in `seconds`, and at every change until then."""
        self.world.after(seconds, lambda: self._queue(namespace, name, uid))

    def _reconcile(self, namespace: str, name: str, uid: str) -> None:
        self._queued.discard(uid)
        job = self.server.find("jobs", namespace, name)
        if job is None or job["metadata"]["uid"] != uid or "deletionTimestamp" in job["metadata"] or is_finished(job):
            for pod in self.server.owned_by("pods", uid):
                self._release(pod)
            return
        failed, succeeded = self._count(uid)
        status = copy(job.get("status") or {})
        conditions = {c["type"]: c for c in status.get("conditions", ())}
        if why := self._why_it_ends(job, status, len(failed), len(succeeded)):
            conditions.setdefault(why[0], self._condition(*why))
        ending = "FailureTarget" in conditions or "SuccessCriteriaMet" in conditions
        if ending or job["spec"].get("suspend"):
            for pod in self._alive(uid):
                self._release(pod)
                self._delete(pod)
        alive = self._alive(uid)
        if ending and not alive:
            cause = conditions.get("FailureTarget") or conditions["SuccessCriteriaMet"]
            type_ = "Failed" if cause["type"] == "FailureTarget" else "Complete"
            conditions[type_] = {**cause, "type": type_}
        elif not ending and job["spec"].get("suspend"):
            conditions["Suspended"] = self._condition("Suspended", "JobSuspended", "Job suspended")
            status.pop("startTime", None)
        elif not ending:
            conditions.pop("Suspended", None)
            status.setdefault("startTime", self.world.stamp())
            self._create_missing(job, alive, succeeded)
        active = [pod for pod in alive if "deletionTimestamp" not in pod["metadata"]]
        status |= {"active": len(active), "terminating": len(alive) - len(active)}
        status |= {"failed": len(failed), "succeeded": len(succeeded), "conditions": list(conditions.values())}
        self.server.update("jobs", namespace, name, lambda body: body.update(status=status))
        limit = job["spec"].get("activeDeadlineSeconds")
        if limit and status.get("startTime") != (job.get("status") or {}).get("startTime"):
            self._queue_later(namespace, name, uid, limit + 1.0)

    def _count(self, uid: str) -> tuple[set[str], set[str]]:
        """Count the pods that ended, and let them go. Returns the uids of failed ones and the indexes that succeeded."""
        failed, succeeded = self._failed.setdefault(uid, set()), self._succeeded.setdefault(uid, set())
        for pod in self.server.owned_by("pods", uid):
            phase, metadata = pod["status"]["phase"], pod["metadata"]
            gone = "deletionTimestamp" in metadata and metadata["deletionGracePeriodSeconds"] == 0
            if phase == "Succeeded":
                succeeded.add(metadata["annotations"][INDEX])
            elif (phase == "Failed" or gone) and FINALIZER in metadata.get("finalizers", ()):
                failed.add(metadata["uid"])
            if phase in ("Succeeded", "Failed") or gone:
                self._release(pod)
        return failed, succeeded

    def _alive(self, uid: str) -> list[Object]:
        """Return the pods that have not ended, terminating ones included."""
        return [p for p in self.server.owned_by("pods", uid) if p["status"]["phase"] in ("Pending", "Running")]

    def _why_it_ends(self, job: Object, status: Object, failed: int, succeeded: int) -> tuple[str, str, str] | None:
        limit = job["spec"].get("activeDeadlineSeconds")
        if failed > job["spec"].get("backoffLimit", 6):
            return "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if limit and "startTime" in status and self.world.wall >= _unix(status["startTime"]) + limit:
            return "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"
        if succeeded >= job["spec"]["completions"]:
            return "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
        return None

    def _create_missing(self, job: Object, alive: list[Object], succeeded: set[str]) -> None:
        """Create the pods that are missing; with ``podReplacementPolicy: Failed``, none beside a terminating one."""
        metadata, template = job["metadata"], job["spec"]["template"]
        there = {p["metadata"]["annotations"][INDEX] for p in alive} | succeeded
        for index in map(str, range(job["spec"]["completions"])):
            if index in there:
                continue
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
            body = {
                "metadata": {
                    "name": f"{metadata['name']}-{index}-{self.world.random.randrange(16**5):05x}",
                    "labels": {**template["metadata"].get("labels", {}), CONTROLLER: metadata["uid"]},
                    "annotations": {**template["metadata"].get("annotations", {}), INDEX: index},
                    "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
                    "finalizers": [FINALIZER],
                },
                "spec": {"containers": [{"name": "trainer", "image": "trainer"}]} | _affinity(template),
                "status": {"phase": "Pending"},
            }
            try:
                self.server.create("pods", metadata["namespace"], body)
            except Refused as refused:
                self._event(job, f"Error creating: {refused.message}")
                self._queue_later(metadata["namespace"], metadata["name"], metadata["uid"], 10.0)

    def _event(self, job: Object, message: str) -> None:
        name = f"{job['metadata']['name']}.{self.world.random.getrandbits(40):010x}"
        reference = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        body: dict[str, Any] = {"metadata": {"name": name, "labels": {}}, "involvedObject": reference}
        body |= {"type": "Warning", "reason": "FailedCreate", "message": message, "lastTimestamp": self.world.stamp()}
        self.server.create("events", job["metadata"]["namespace"], body)

    def _release(self, pod: Object) -> None:
        """Remove our finalizer."""
        metadata = pod["metadata"]
        if FINALIZER in metadata.get("finalizers", ()):
            self.server.update(
                "pods", metadata["namespace"], metadata["name"], lambda body: body["metadata"].pop("finalizers")
            )

    def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if "deletionTimestamp" not in metadata and self.server.find("pods", metadata["namespace"], metadata["name"]):
            self.server.delete("pods", metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _condition(self, type_: str, reason: str, message: str) -> Object:
        stamp = self.world.stamp()
        return {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": stamp}


_OWNERS = {"BenchmarkSweep": "benchmarksweeps", "BenchmarkRun": "benchmarkruns", "Job": "jobs"}
_OWNED = {"benchmarksweeps": ("benchmarkruns",), "benchmarkruns": ("jobs", "services"), "jobs": ("pods",)}


class GarbageCollector:
    """Deletes what is owned by an object that is gone, in the background."""

    def __init__(self, world: World, server: ApiServer) -> None:
        self.world, self.server = world, server
        for owner in _OWNED:
            server.listeners[owner].append(lambda change, owner=owner: self._owner_changed(change, owner))
        for dependent in ("benchmarkruns", "jobs", "services"):
            server.listeners[dependent].append(lambda change, kind=dependent: self._created(change, kind))

    def _created(self, change: Change, plural: str) -> None:
        """What is created for a sweep or a run that is gone goes as well."""
        for owner in change.object["metadata"].get("ownerReferences", ()):
            if change.type == "ADDED" and owner["kind"] in ("BenchmarkSweep", "BenchmarkRun"):
                self.world.after(20.0, lambda owner=owner: self._collect_orphans(plural, owner))

    def _collect_orphans(self, plural: str, owner: Object) -> None:
        if owner["uid"] not in {one["metadata"]["uid"] for one in self.server.all(_OWNERS[owner["kind"]])}:
            for body in self.server.owned_by(plural, owner["uid"]):
                metadata = body["metadata"]
                self.server.delete(plural, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _owner_changed(self, change: Change, plural: str) -> None:
        metadata = change.object["metadata"]
        foreground = "foregroundDeletion" in metadata.get("finalizers", ())
        if change.type == "DELETED" or (foreground and "deletionTimestamp" in metadata):
            delay = self.world.random.choice((0.1, 1.0, 20.0))
            self.world.after(delay, lambda: self._collect(metadata, plural, foreground=foreground))

    def _collect(self, owner: Object, plural: str, *, foreground: bool) -> None:
        for dependents in _OWNED[plural]:
            for body in self.server.owned_by(dependents, owner["uid"]):
                metadata = body["metadata"]
                self.server.delete(dependents, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        if foreground:  # nothing of ours blocks the owner
            self.server.update(
                plural, owner["namespace"], owner["name"], lambda body: body["metadata"].pop("finalizers", None)
            )


def _affinity(template: Object) -> Object:
    """Return the part of a pod's spec that says which nodes it may run on."""
    affinity = template.get("spec", {}).get("affinity")
    return {"affinity": affinity} if affinity else {}


def is_finished(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions", ())
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _unix(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
