"""Where a real scheduler puts the pods of a run, and that it starts them together where it can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import Kubectl, apply_crds, kubectl_for, needed_parts, since
from tests.cluster.parts import Operator, until

SPEC: dict[str, Any] = {"round": "v0.6", "benchmark": "resnet", "division": "open", "preset": "tiny"}
GATES = ("--runtime-config=scheduling.k8s.io/v1beta1=true", "--feature-gates=GenericWorkload=true")
NODES = 3
pytestmark = since(37, "scheduling.k8s.io/v1beta1")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Three fake nodes, and a scheduler that knows PodGroups."""
    plane = ControlPlane(tmp_path_factory.mktemp("placement"))
    with needed_parts():
        try:
            plane.up(scheduler=True, apiserver_flags=GATES, scheduler_flags=GATES[1:])
            kwok.start_nodes(plane, NODES, pod_seconds=600)
            apply_crds(plane.kubeconfig)
            yield plane
        finally:
            plane.down()


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    return kubectl_for(plane.kubeconfig)


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("operator")
    process = Operator(plane.kubeconfig, folder, ["--results-url", str(folder / "results")], {})
    process.start()
    yield process
    process.stop()


def apply(kubectl: Kubectl, name: str, nodes: int, **more: Any) -> None:
    spec = {**SPEC, "system": {"name": "lab", "nodes": nodes}, **more}
    body = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=body)


def nodes_of(kubectl: Kubectl, name: str) -> list[str | None]:
    pods = json.loads(kubectl("get", "pods", "-l", f"podium.dev/run={name}", "-o", "json"))["items"]
    return sorted((pod["spec"].get("nodeName") for pod in pods), key=str)


def message(kubectl: Kubectl, name: str, kind: str) -> str:
    path = f'jsonpath={{.status.conditions[?(@.type=="{kind}")].message}}'
    return kubectl("get", "benchmarkrun", name, "-o", path)


def test_the_pods_of_a_run_are_on_different_nodes(kubectl, operator):
    apply(kubectl, "three", NODES)
    until(lambda: len(set(nodes_of(kubectl, "three")) - {None}) == NODES, 30, "every node has one")
    assert len(nodes_of(kubectl, "three")) == NODES
    together = "; the scheduler starts its pods together"
    until(lambda: message(kubectl, "three", "Admitted").endswith(together), 20, "the condition says so")
    group = json.loads(kubectl("get", "podgroup", "podium-three-1-0", "-o", "json"))
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": NODES}}
    assert group["metadata"]["ownerReferences"][0]["name"] == "three"


def test_a_run_that_does_not_fit_holds_no_node(kubectl, operator):
    """Without a PodGroup, three of the four pods would start and wait for the fourth."""
    apply(kubectl, "four", NODES + 1)
    until(lambda: len(nodes_of(kubectl, "four")) == NODES + 1, 30, "the pods exist")
    until(lambda: "Unschedulable" in message(kubectl, "four", "Running"), 30, "the reason is reported")
    time.sleep(2)
    assert nodes_of(kubectl, "four") == [None] * (NODES + 1)
    kubectl("delete", "benchmarkrun", "four")


def test_without_pod_groups_the_pods_that_fit_start_alone(kubectl, operator):
    """The spread alone keeps the fourth pod off an occupied node, in the scheduler's words."""
    apply(kubectl, "queued", NODES + 1, queueName="nobody")  # a queue instead of a PodGroup
    until(lambda: "podium-queued-1-0" in kubectl("get", "jobs", "-o", "name"), 20, "the Job exists")
    assert "podium-queued-1-0" not in kubectl("get", "podgroups", "-o", "name")
    kubectl("patch", "job", "podium-queued-1-0", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    until(lambda: len(set(nodes_of(kubectl, "queued")) - {None}) == NODES, 30, "three pods have nodes")
    time.sleep(2)
    assert nodes_of(kubectl, "queued").count(None) == 1
    until(lambda: "topology spread constraints" in message(kubectl, "queued", "Running"), 30, "the scheduler's words")
    assert message(kubectl, "queued", "Admitted").endswith("; Kueue starts its pods together")
    kubectl("delete", "benchmarkrun", "queued")


def test_a_single_pod_may_share_a_node_and_needs_no_group(kubectl, operator, tmp_path: Path):
    for name in ("one", "two", "more", "most"):
        apply(kubectl, name, 1)
    until(lambda: all(nodes_of(kubectl, n) not in ([], [None]) for n in ("one", "two", "more", "most")), 30, "all run")
    assert "podium-one-1-0" not in kubectl("get", "podgroups", "-o", "name")
