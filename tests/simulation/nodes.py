"""Nodes: the scheduler, and a kubelet on each.

A pod here is two things: the object on the API server, and the container that really runs on a node (`Container`). They
differ while a node cannot reach the API server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.simulation.apiserver import ApiServer, Change, Object
from tests.simulation.jobs import INDEX
from tests.simulation.podlogs import ContainerLog, PodLogs
from tests.simulation.programs import Program
from tests.simulation.world import World


@dataclass
class Node:
    """One machine with room for one pod."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    clock_offset: float = 0.0
    steps: list[tuple[float, float]] = field(default_factory=list)  # of its clock: when (virtual), by how many seconds
    connected: bool = True  # whether its kubelet and the API server reach each other
    hindrance: str = ""  # why the kubelet cannot start containers at the moment
    exists: bool = True  # whether its Node object does
    lost_since: float | None = None


@dataclass
class Container:
    """The container of one pod, as it really is. Times are virtual seconds."""

    place: tuple[str, str]
    pod_uid: str
    job_uid: str
    run_uid: str
    index: int
    node: Node
    program: Program
    started: float | None = None
    began: float | None = None  # when all ranks ran and its program began
    ended: float | None = None
    exit_code: int | None = None
    cause: str = ""  # why it ended: "program", "deleted", or the fault
    reason: str = ""  # what its kubelet says of that, if not Completed or Error
    printed: list[tuple[float, str, str]] = field(default_factory=list)  # virtual seconds, key, text
    removed: bool = False
    cut_off: bool = False  # its node did not reach the API server at some time


class Cluster:
    """All nodes and what runs on them. `program_of` returns what the pods of a Job run."""

    def __init__(
        self, world: World, server: ApiServer, logs: PodLogs, nodes: int, program_of: Callable[[Object], Program]
    ) -> None:
        self.world, self.server, self.logs = world, server, logs
        offsets = (0.0, 0.0, 0.0, -40.0, 40.0)
        self.nodes = {
            name: Node(name, clock_offset=world.random.choice(offsets)) for name in (f"node-{i}" for i in range(nodes))
        }
        self.containers: dict[str, Container] = {}  # by uid of the pod
        self.on_start: list[Callable[[Container], None]] = []
        self._program_of = program_of
        self._handled: set[str] = set()  # deletions that a kubelet has begun to carry out
        server.listeners["pods"].append(self._changed)
        for name in self.nodes:
            server.create(
                "nodes", "", {"metadata": {"name": name, "labels": {}}, "spec": {}, "status": readiness("True")}
            )

    @property
    def random(self) -> Random:
        return self.world.random

    # ---- scheduler ----

    def _changed(self, change: Change) -> None:
        pod = change.object
        metadata = pod["metadata"]
        place = (metadata["namespace"], metadata["name"])
        if change.type == "DELETED":
            self.logs.exists.pop(place, None)
            self._removed(metadata["uid"])
        elif change.type == "ADDED" and pod["spec"]:
            self.logs.exists[place] = True
            self.world.after(self.random.uniform(0.05, 0.5), lambda: self._schedule(place, metadata["uid"]))
        elif "deletionTimestamp" in metadata and metadata["uid"] in self.containers:
            self.world.after(0.05, lambda: self.terminate(metadata["uid"], "deleted"))

    def _schedule(self, place: tuple[str, str], uid: str) -> None:
        pod = self.server.find("pods", *place)
        if pod is None or pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"]:
            return
        taken = {c.node.name for c in self.containers.values() if not c.removed}
        free = [n for n in self.nodes.values() if n.name not in taken and n.exists and n.lost_since is None]
        pinned = _pinned(pod)
        free = [n for n in free if n.name in pinned or not pinned]
        if not free:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            condition["message"] = (
                f"0/{len(self.nodes)} nodes are available: {len(self.nodes)} Insufficient nvidia.com/gpu."
            )
            self.status(place, uid, lambda status: status.update(conditions=[condition]))
            self.world.after(5.0, lambda: self._schedule(place, uid))
            return
        node = self.random.choice(free)
        owner = pod["metadata"]["ownerReferences"][0]["uid"]
        container = Container(
            place,
            uid,
            owner,
            pod["metadata"]["labels"]["podium.dev/run-uid"],
            int(pod["metadata"]["annotations"][INDEX]),
            node,
            self._program_of(pod),
        )
        self.containers[uid] = container

        def bind(body: Object) -> None:
            body["spec"]["nodeName"] = node.name
            body["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]

        self.server.update("pods", *place, bind)
        self.world.after(self.random.uniform(0.2, 1.0), lambda: self._pull(container))

    # ---- kubelet ----

    def _pull(self, container: Container) -> None:
        if container.ended is not None or container.removed or not container.node.connected:
            container.cut_off = container.cut_off or not container.node.connected
            if container.ended is None and not container.removed:
                self.world.after(10.0, lambda: self._pull(container))
            return
        hindrance = container.node.hindrance
        self._report(container, {"waiting": {"reason": hindrance or "ContainerCreating", "message": hindrance}})
        if hindrance:
            self.world.after(20.0, lambda: self._pull(container))
        else:
            self.world.after(self.random.uniform(1, 30), lambda: self._start(container))

    def _start(self, container: Container) -> None:
        if container.ended is not None or container.removed:
            return
        container.started = self.world.now
        container.cut_off = container.cut_off or not container.node.connected
        self.logs.logs[container.place] = ContainerLog(container.node.name)
        for observer in self.on_start:
            observer(container)
        self._report(container, {"running": {"startedAt": self._stamp(container)}}, phase="Running")
        self._rendezvous(container.job_uid)

    def _rendezvous(self, job_uid: str) -> None:
        """Let the programs of a Job begin once all of its ranks run: torchrun waits for them."""
        ranks = [
            c for c in self.containers.values() if c.job_uid == job_uid and c.started is not None and c.ended is None
        ]
        jobs = [job for job in self.server.all("jobs") if job["metadata"]["uid"] == job_uid]
        if not jobs or len(ranks) < jobs[0]["spec"]["completions"]:
            return
        for rank in ranks:
            rank.began = self.world.now
            if rank.index == 0:
                self._print_later(rank, 0)
            if (seconds := rank.program.ends) != float("inf"):
                self.world.after(seconds, lambda rank=rank: self.end(rank, rank.program.exit_code, "program"))

    def _print(self, container: Container, number: int) -> None:
        """Print line `number`, and arrange for the next one."""
        if container.ended is not None or container.started is None:
            return
        unix = self.world.wall + container.node.clock_offset
        line = container.program.lines[number]
        text = line.text(unix)
        container.printed.append((self.world.now, line.key, text))
        self.logs.append(container.place, unix, text)
        self._print_later(container, number + 1)

    def _print_later(self, container: Container, number: int) -> None:
        lines = container.program.lines
        if number < len(lines) and container.began is not None:
            seconds = max(0.001, container.began + lines[number].at - self.world.now)
            self.world.after(seconds, lambda: self._print(container, number))

    def end(self, container: Container, exit_code: int, cause: str, reason: str = "") -> None:
        """The container ends; the other ranks of its Job notice after a while."""
        if container.ended is not None:
            return
        container.ended, container.exit_code, container.cause = self.world.now, exit_code, cause
        container.reason = reason
        if container.started is None:
            self._sync(container)
            return
        self.world.say(container.place[1], f"ends with {exit_code} ({cause})")
        self.logs.close(container.place)
        self.world.after(self.random.uniform(0.05, 1.5), lambda: self._sync(container))
        if cause != "program":
            for other in self.containers.values():
                if other.job_uid == container.job_uid and other.ended is None and other.started is not None:
                    delay = other.program.survives
                    self.world.after(delay, lambda rank=other: self.end(rank, 1, f"peer {cause}"))

    def _sync(self, container: Container) -> None:
        """Report the end of a container; once its node is connected."""
        if not container.node.connected:
            self.world.after(5.0, lambda: self._sync(container))
            return
        phase = "Succeeded" if container.exit_code == 0 else "Failed"
        if container.started is not None:
            ended = {
                "exitCode": container.exit_code,
                "reason": container.reason or ("Completed" if container.exit_code == 0 else "Error"),
                "startedAt": self._stamp(container),
                "finishedAt": self._stamp(container, container.ended),
            }
            pod = self.server.find("pods", *container.place) or {"metadata": {}}
            kept = "deletionTimestamp" not in pod["metadata"]
            sidecar = kept and container.program.kind == "has a sidecar" and container.cause == "program"
            self._report(container, {"terminated": ended}, phase="Running" if sidecar else phase)
            if sidecar:
                return
        else:
            self._report(container, None, phase="Failed")
        pod = self.server.find("pods", *container.place)
        if pod and pod["metadata"]["uid"] == container.pod_uid and "deletionTimestamp" in pod["metadata"]:
            self._confirm(container)
        else:
            container.removed = True  # its machine is free

    def terminate(self, uid: str, cause: str) -> None:
        """Carry out a deletion: SIGTERM, then SIGKILL after the grace period, then confirm."""
        container = self.containers[uid]
        if not container.node.connected or uid in self._handled:
            return  # the kubelet will see it when it is back
        self._handled.add(uid)
        if container.ended is not None or container.started is None:
            container.ended = container.ended or self.world.now
            container.cause = container.cause or cause
            if container.exit_code is None:
                container.exit_code = 137
            self.world.after(
                0.3, lambda: self._sync(container)
            )  # a kubelet reports the end, then confirms the deletion
            return
        grace, program = 30.0, container.program
        if program.leaves_after < grace:
            self.world.after(program.leaves_after, lambda: self._leave(container, program.leaves_with, cause))
        else:
            self.world.after(grace, lambda: self._leave(container, 137, cause))

    def _leave(self, container: Container, exit_code: int, cause: str) -> None:
        """End with SIGTERM or SIGKILL; a sidecar ends as well, although the program had ended by itself."""
        if container.ended is None:
            self.end(container, exit_code, cause)
        elif not container.removed:
            self._confirm(container)

    def _confirm(self, container: Container) -> None:
        """The kubelet has removed the containers: the API server may remove the pod."""
        container.removed = True

        def gone(body: Object) -> None:  # the kubelet deletes it once more; when it was deleted first is lost
            body["metadata"].update(deletionTimestamp=self.world.stamp(), deletionGracePeriodSeconds=0)

        pod = self.server.find("pods", *container.place)
        if pod and pod["metadata"]["uid"] == container.pod_uid:
            self.server.update("pods", *container.place, gone)

    def _removed(self, uid: str) -> None:
        """The object is gone, perhaps by force: the kubelet kills what still runs."""
        container = self.containers.get(uid)
        if container and container.ended is None and container.node.connected:
            self.end(container, 137, "object removed")
        if container and (container.node.connected or container.ended is not None):
            container.removed = True

    def _report(self, container: Container, state: dict[str, Any] | None, phase: str = "Pending") -> None:
        def change(status: Object) -> None:
            if status["phase"] not in ("Failed", "Succeeded"):
                status["phase"] = phase
            if state is not None:
                image = "registry.example/trainer@sha256:" + "0" * 64 if "waiting" not in state else ""
                status["containerStatuses"] = [{"name": "trainer", "state": state, "imageID": image}]
                if container.program.kind == "has a sidecar" and phase == "Running":
                    running = {"running": {"startedAt": self._stamp(container)}}
                    status["containerStatuses"].append({"name": "proxy", "state": running})
            status.setdefault("startTime", self.world.stamp())

        if container.node.connected:
            self.status(container.place, container.pod_uid, change)

    def status(self, place: tuple[str, str], uid: str, change: Callable[[Object], object]) -> None:
        pod = self.server.find("pods", *place)
        if pod and pod["metadata"]["uid"] == uid:
            self.server.update("pods", *place, lambda body: change(body["status"]))

    def _stamp(self, container: Container, at: float | None = None) -> str:
        at = container.started if at is None else at
        assert at is not None
        unix = self.world.wall - self.world.now + at + container.node.clock_offset
        return f"{datetime.fromtimestamp(int(unix), UTC):%Y-%m-%dT%H:%M:%SZ}"

    # ---- queries ----

    def running(self) -> list[Container]:
        """Return the containers that run on nodes that answer."""
        return [c for c in self.containers.values() if c.started is not None and c.ended is None and c.node.connected]

    def on(self, node: Node) -> list[Container]:
        """Return the containers whose pods the API server knows to be on a node, and not ended."""
        found = []
        for container in self.containers.values():
            pod = self.server.find("pods", *container.place) if container.node is node else None
            if pod and pod["metadata"]["uid"] == container.pod_uid and pod["status"]["phase"] in ("Pending", "Running"):
                found.append(container)
        return found


def _pinned(pod: Object) -> list[str]:
    """Return the names of the nodes that the affinity of a pod allows; none if it allows every node."""
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", ())
    return [name for term in terms for one in term.get("matchFields", ()) for name in one["values"]]


def readiness(status: str) -> Object:
    return {"conditions": [{"type": "Ready", "status": status}], "capacity": {}, "nodeInfo": {}}
