"""Who takes pods away: the controller that declares nodes lost, taint eviction, pod garbage collection, drains, pressure."""

from __future__ import annotations

from tests.simulation.apiserver import ApiServer, Object
from tests.simulation.nodes import Cluster, Container, Node, readiness
from tests.simulation.world import World

TOLERATION_SECONDS = 300.0  # the default for unreachable nodes
_LEASE_SECONDS = 45.0  # without a heartbeat, until a node is NotReady
_GC_SECONDS = 60.0


class Disruptions:
    """Loses and restores nodes, and takes single pods."""

    def __init__(self, world: World, server: ApiServer, cluster: Cluster) -> None:
        self.world, self.server, self.cluster = world, server, cluster

    def disrupt(self, container: Container, kind: str) -> None:
        """Take a running pod away: evicted (by the kubelet), drained, preempted (by the scheduler) or oom."""
        if kind == "oom":
            self.cluster.end(container, 137, "oom", "OOMKilled")
            return
        reasons = {
            "evicted": "TerminationByKubelet",
            "drained": "EvictionByEvictionAPI",
            "preempted": "PreemptionByScheduler",
        }
        self._disruption_target(container, reasons[kind])
        container.cause = kind
        if kind == "evicted":
            self.cluster.status(
                container.place, container.pod_uid, lambda s: s.update(reason="Evicted", message="low on memory")
            )
            self.cluster.end(container, 137, kind)
        else:
            self.server.delete("pods", *container.place, uid=container.pod_uid)

    def _disruption_target(self, container: Container, reason: str) -> None:
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": f"{reason} took it"}
        self._add_condition(container, condition)

    def _add_condition(self, container: Container, condition: Object) -> None:
        self.cluster.status(
            container.place,
            container.pod_uid,
            lambda status: status.update(conditions=[*status.get("conditions", ()), condition]),
        )

    def lose(self, node: Node, *, power: bool) -> None:
        """Disconnect a node from the API server; without power, what runs on it ends as well."""
        node.connected = False
        self.cluster.logs.unreachable.add(node.name)
        self.cluster.logs.silence(node.name)
        if power:
            for container in [c for c in self.cluster.containers.values() if c.node is node and c.ended is None]:
                self.cluster.end(container, 137, "node lost")
        self.world.after(_LEASE_SECONDS, lambda: self._not_ready(node))

    def _not_ready(self, node: Node) -> None:
        if node.connected or not node.exists:
            return
        node.lost_since = self.world.now
        taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}

        def change(body: Object) -> None:
            body["status"] = readiness("Unknown")
            body["spec"]["taints"] = [taint]

        self.server.update("nodes", "", node.name, change)
        for container in self.cluster.on(node):
            ready = {"type": "Ready", "status": "False", "reason": "NodeLost", "message": "Node is unresponsive"}
            self._add_condition(container, ready)
        self.world.after(TOLERATION_SECONDS, lambda: self._evict_from(node))

    def _evict_from(self, node: Node) -> None:
        if node.connected or node.lost_since is None:
            return
        for container in self.cluster.on(node):
            self._disruption_target(container, "DeletionByTaintManager")
            if self.server.find("pods", *container.place):
                self.server.delete("pods", *container.place, uid=container.pod_uid)

    def remove(self, node: Node) -> None:
        """Delete the Node object of a lost node: its pods are then deleted by force."""
        if not node.exists:
            return
        node.exists = False
        self.server.delete("nodes", "", node.name)
        self.world.after(_GC_SECONDS, lambda: self._collect(node))

    def _collect(self, node: Node) -> None:
        for container in self.cluster.on(node) if not node.exists else []:
            self._disruption_target(container, "DeletionByPodGC")
            self.cluster.status(container.place, container.pod_uid, lambda s: s.update(phase="Failed"))
            if self.server.find("pods", *container.place):
                self.server.delete("pods", *container.place, uid=container.pod_uid, grace=0)
            container.removed = True

    def restore(self, node: Node) -> None:
        """Reconnect a node: its kubelet kills what was deleted meanwhile, and reports what ended."""
        if node.connected:
            return
        node.connected, node.lost_since = True, None
        self.cluster.logs.unreachable.discard(node.name)
        if not node.exists:
            node.exists = True
            self.server.create(
                "nodes", "", {"metadata": {"name": node.name, "labels": dict(node.labels)}, "spec": {}, "status": {}}
            )

        def change(body: Object) -> None:
            body["status"] = readiness("True")
            body["spec"].pop("taints", None)

        self.server.update("nodes", "", node.name, change)
        for container in [c for c in self.cluster.containers.values() if c.node is node and not c.removed]:
            pod = self.server.find("pods", *container.place)
            if pod is None or pod["metadata"]["uid"] != container.pod_uid:
                self.cluster.end(container, 137, "object removed")
                container.removed = True
            elif "deletionTimestamp" in pod["metadata"]:
                self.world.after(1.0, lambda uid=container.pod_uid: self.cluster.terminate(uid, "node lost"))
