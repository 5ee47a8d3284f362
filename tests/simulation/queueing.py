"""A queue in front of Jobs, as Kueue is: it holds them suspended, admits, preempts, and admits again."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.apiserver import ApiServer, Change, Object
from tests.simulation.jobs import is_finished
from tests.simulation.world import World

LABEL = "kueue.x-k8s.io/queue-name"


class Queue:
    """Admits up to `slots` Jobs at a time, first come first served; none while closed."""

    def __init__(self, world: World, server: ApiServer, slots: int) -> None:
        self.world, self.server, self.slots = world, server, slots
        self.closed = False
        self.admits: Callable[[str], None] = lambda uid: None  # called with each Job that it admits
        self.waiting: list[str] = []  # uids of Jobs, in order
        self.admitted: set[str] = set()
        self._preempted: set[str] = set()  # in no state to wait yet
        server.listeners["jobs"].append(self._changed)

    def _changed(self, change: Change) -> None:
        job, uid = change.object, change.object["metadata"]["uid"]
        if LABEL not in (job["metadata"].get("labels") or {}):
            return
        if change.type == "DELETED" or is_finished(job):
            self.admitted.discard(uid)
            if uid in self.waiting:
                self.waiting.remove(uid)
        elif uid not in self.admitted and uid not in self.waiting and uid not in self._preempted:
            self.waiting.append(uid)
        self.world.after(self.world.random.uniform(0.1, 2.0), self.admit)

    def admit(self) -> None:
        """Admit as many Jobs as there are free slots."""
        while self.waiting and len(self.admitted) < self.slots and not self.closed:
            job = self._job(uid := self.waiting.pop(0))
            if job:
                self.admitted.add(uid)
                self.world.say("kueue", f"admits {job['metadata']['name']}")
                self._suspend(job, suspend=False)
                self.admits(uid)

    def preempt(self, wanted: str = "") -> str:
        """Take the machines from a Job, which waits again. Returns its uid, "" if there is none. Without `wanted`, it is
        any that is admitted."""
        jobs = [job for uid in sorted(self.admitted) if (job := self._job(uid)) and not job["spec"].get("suspend")]
        jobs = [job for job in jobs if wanted in ("", job["metadata"]["uid"])]
        if not jobs:
            return ""
        job = self.world.random.choice(jobs)
        self.admitted.discard(job["metadata"]["uid"])
        self._preempted.add(job["metadata"]["uid"])
        self._suspend(job, suspend=True)
        self.world.after(self.world.random.uniform(3, 30), lambda: self._wait_again(job["metadata"]["uid"]))
        return str(job["metadata"]["uid"])

    def _wait_again(self, uid: str) -> None:
        self._preempted.discard(uid)
        job = self._job(uid)
        if job and not is_finished(job):
            self.waiting.append(uid)
            self.admit()

    def _job(self, uid: str) -> Object | None:
        return next((job for job in self.server.all("jobs") if job["metadata"]["uid"] == uid), None)

    def _suspend(self, job: Object, *, suspend: bool) -> None:
        metadata = job["metadata"]
        self.server.update(
            "jobs", metadata["namespace"], metadata["name"], lambda body: body["spec"].update(suspend=suspend)
        )
