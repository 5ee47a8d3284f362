"""Fake nodes on a real control plane, for scale: pods are scheduled, run for a while and complete; they have logs."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.cluster import tools
from tests.cluster.controlplane import ControlPlane

_SIZE = {"cpu": "64", "memory": "512Gi", "pods": "110"}


def start_nodes(plane: ControlPlane, count: int, *, pod_seconds: float = 0, log: Path | None = None) -> None:
    """`count` Ready nodes. Pods of Jobs complete after `pod_seconds`; every container's log is the file `log`.

    The file has the format of a container runtime: ``2026-01-01T00:00:00.000000000Z stdout F the line``.
    """
    programs = tools.ensure(["kwok", "kwok-stages"])
    documents = list(yaml.safe_load_all(programs["kwok-stages"].read_text()))
    for document in documents:
        if pod_seconds and document["metadata"]["name"] == "pod-complete":
            document["spec"]["delay"] = {"durationMilliseconds": int(pod_seconds * 1000)}
    if log:
        logs = {"logs": [{"logsFile": str(log), "follow": False}]}
        documents.append(
            {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": {"name": "all"}, "spec": logs}
        )
    config = plane.folder / "kwok.yaml"
    config.write_text("\n---\n".join(json.dumps(document) for document in documents))
    plane.pki.certificate("kwok", "CN=kwok", "IP:127.0.0.1,DNS:localhost", "serverAuth")
    plane.processes.start(
        "kwok",
        programs["kwok"],
        *("--kubeconfig", plane.kubeconfig, "--config", config),
        *("--manage-all-nodes", "--node-lease-duration-seconds=40"),
        *("--node-ip", "127.0.0.1", "--node-port", plane.kwok_port, "--server-address", f"127.0.0.1:{plane.kwok_port}"),
        *("--tls-cert-file", plane.pki.path("kwok.crt"), "--tls-private-key-file", plane.pki.path("kwok.key")),
    )
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"fake-{i}", "labels": {"kubernetes.io/hostname": f"fake-{i}"}},
            "status": {"capacity": _SIZE, "allocatable": _SIZE},
        }
        for i in range(count)
    ]
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
    ready = '-o=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'

    def all_ready() -> bool:
        return plane.kubectl("get", "nodes", ready).split().count("True") >= count

    plane.processes.wait(f"{count} fake nodes ready", all_ready, 120, ("kwok",))
