"""Fake nodes on a real control plane, for scale: pods are scheduled, run for a while and complete; they have logs."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import ClusterError

_SIZE = {"cpu": "64", "memory": "512Gi", "pods": "110"}
_LOG_SHARE = 0.8  # of a pod's life: its log is whole before it completes
_LIVE_LOG_SHARE = 0.25  # the same, for a log that begins when it is first read, on a busy machine many seconds later


def start_nodes(
    plane: ControlPlane,
    count: int,
    *,
    pod_seconds: float = 0,
    log: Path | None = None,
    replay: Path | None = None,
    live: bool = False,
) -> None:
    """`count` Ready nodes. Pods of Jobs complete after `pod_seconds`. Logs come in one of two ways:

    `replay`: each pod plays this training log back, line by line, from the first read that follows it to 0.8 of
    `pod_seconds`; with `live`, from the first read on, in a quarter of it.
    `log`: each pod's log is this file, in the format of a container runtime
    (``2026-01-01T00:00:00.000000000Z stdout F the line``); a stream that follows it never ends, 128 are the most.
    """
    programs = tools.find_all(["kwok", "kwok-stages"])
    config = plane.folder / "kwok.yaml"
    documents = [*_stages(programs["kwok-stages"].read_text(), pod_seconds), *([_one_log(log)] if log else [])]
    config.write_text("\n---\n".join(json.dumps(document) for document in documents))
    plane.pki.certificate("kwok", "CN=kwok", "IP:127.0.0.1,DNS:localhost", "serverAuth")
    if replay:
        _serve_logs(plane, replay, pod_seconds, live=live)
    plane.processes.start(
        "kwok",
        programs["kwok"],
        *("--kubeconfig", plane.kubeconfig, "--config", config),
        *("--manage-all-nodes", "--node-lease-duration-seconds=40"),
        *("--node-ip", "127.0.0.1", "--node-port", plane.logs_port if replay else plane.kwok_port),
        *("--server-address", f"127.0.0.1:{plane.kwok_port}"),
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


def _stages(text: str, pod_seconds: float) -> list[dict[str, Any]]:
    """kwok's own, but a pod runs for a while, and does not claim at its end to have started only now."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    for document in documents:
        if document["metadata"]["name"] != "pod-complete":
            continue
        if pod_seconds:
            document["spec"]["delay"] = {"durationMilliseconds": int(pod_seconds * 1000)}
        template = document["spec"]["next"]["statusTemplate"]
        now, then = "startedAt: {{ $now | Quote }}", "startedAt: {{ $origin.state.running.startedAt | Quote }}"
        if now not in template:
            raise ClusterError("kwok's stage pod-complete has changed: see to startedAt")
        document["spec"]["next"]["statusTemplate"] = template.replace(now, then)
    return documents


def _one_log(file: Path) -> dict[str, Any]:
    logs = {"logs": [{"logsFile": str(file), "follow": False}]}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": {"name": "all"}, "spec": logs}


def _serve_logs(plane: ControlPlane, log: Path, pod_seconds: float, *, live: bool) -> None:
    plane.processes.start(
        "pod-logs",
        *(sys.executable, "-m", "tests.cluster.podlogs", "--log", log.resolve()),
        *("--seconds", pod_seconds * (_LIVE_LOG_SHARE if live else _LOG_SHARE), "--open", pod_seconds),
        *(["--live"] if live else []),
        *("--port", plane.logs_port, "--cert", plane.pki.path("kwok.crt"), "--key", plane.pki.path("kwok.key")),
        env={"PYTHONPATH": str(tools.HERE.parents[1])},
    )

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", plane.logs_port), 1):
            return True
        return False

    plane.processes.wait("logs of the fake pods", listens, 20, ("pod-logs",))
