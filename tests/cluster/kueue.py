"""Kueue on a real node: its own chart with a program that is built here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import images, tools
from tests.cluster.charts import helm
from tests.cluster.fixtures import Kubectl, kubectl_for
from tests.cluster.node import Node
from tests.cluster.parts import until

GROUP = "kueue.x-k8s.io"
API = f"{GROUP}/v1beta2"
_NAMESPACE, _IMAGE = "kueue-system", "localhost/kueue"
_SETTINGS = {
    "image.repository": _IMAGE,
    "image.tag": "1",
    "image.pullPolicy": "Never",
    "resources.requests.cpu": "50m",
}


@contextmanager
def kueue(node: Node, folder: Path) -> Iterator[Kubectl]:
    """Kueue until the end of the block, with a function like kubectl. Its webhooks see every Job of the cluster."""
    first, kubectl = node.kubelets[0], kubectl_for(node.plane.kubeconfig)
    program, chart = tools.find("kueue"), tools.find("kueue-chart")
    if f"{_IMAGE}:1" not in first.images():
        archive = folder / "kueue.tar"
        layer = images.layer_of({"manager": program})
        images.archive(archive, f"{_IMAGE}:1", layer, {"Entrypoint": ["/manager"], "User": "65532:65532"})
        first.load(archive)
        archive.unlink()
    words = [word for key, value in _SETTINGS.items() for word in ("--set", f"controllerManager.manager.{key}={value}")]
    words += ["--set", rf"controllerManager.nodeSelector.kubernetes\.io/hostname={first.name}"]
    release = ("kueue", "--namespace", _NAMESPACE)
    try:
        helm("install", *release, chart, "--create-namespace", *words, kubeconfig=node.plane.kubeconfig)
        # aggregated APIs that do not answer (the API server has no front-proxy certificates) stop every namespace's end
        kubectl("delete", "apiservices", *(f"{version}.visibility.{GROUP}" for version in ("v1beta1", "v1beta2")))
        _wait(kubectl)
        yield kubectl
    finally:
        helm("uninstall", *release, "--ignore-not-found", kubeconfig=node.plane.kubeconfig)
        kubectl("delete", "namespace", _NAMESPACE, "--wait=false", "--ignore-not-found")


def _wait(kubectl: Kubectl) -> None:
    """It makes its certificate and waits until that is mounted: a minute, or at once in a second pod."""

    def certificate() -> bool:
        words = ("-n", _NAMESPACE, "get", "secret", "kueue-webhook-server-cert", "-o", "json")
        return "tls.crt" in json.loads(kubectl(*words)).get("data", {})

    until(certificate, 60, "Kueue has made its certificate")
    kubectl("-n", _NAMESPACE, "delete", "pods", "--all", "--grace-period=1")
    kubectl("-n", _NAMESPACE, "rollout", "status", "deployment/kueue-controller-manager", "--timeout=120s")

    def webhooks() -> bool:
        flavor = {"apiVersion": API, "kind": "ResourceFlavor", "metadata": {"name": "default"}}
        try:
            kubectl("apply", "--dry-run=server", "-f", "-", stdin=flavor)
        except AssertionError:  # its Service has not yet got the new pod
            return False
        return True

    until(webhooks, 60, "Kueue's webhooks answer")


def queue(kubectl: Kubectl, namespace: str, cpus: int) -> None:
    """The LocalQueue `gpu` of a namespace, whose jobs share that many CPUs. One of the class `high` preempts others."""
    share = {"name": "cpu", "nominalQuota": str(cpus)}
    flavors = [{"name": "default", "resources": [share]}]
    cluster_queue = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": ["cpu"], "flavors": flavors}],
    }
    items = [
        {"kind": "ResourceFlavor", "metadata": {"name": "default"}},
        {"kind": "WorkloadPriorityClass", "metadata": {"name": "high"}, "value": 1000},
        {"kind": "ClusterQueue", "metadata": {"name": namespace}, "spec": cluster_queue},
        {
            "kind": "LocalQueue",
            "metadata": {"name": "gpu", "namespace": namespace},
            "spec": {"clusterQueue": namespace},
        },
    ]
    objects = [{"apiVersion": API, **item} for item in items]
    kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": objects})
