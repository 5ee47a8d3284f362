"""Where a real scheduler puts the pods of a run, and that it starts them together where it can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podium.launch import TrainerDefaults, build_job
from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import Kubectl, apply_crds, kubectl_for, needed_parts, since
from tests.cluster.parts import Operator, until
from tests.unit.launch.test_manifests import launch

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
            plane.up(scheduler=True, apiserver_flags=GATES, controller_flags=GATES[1:], scheduler_flags=GATES[1:])
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
    (folder / "trainer.json").write_text(json.dumps({"allow": {"resourceClaimTemplates": ["nics"]}}))
    options = ["--results-url", str(folder / "results"), "--trainer-defaults", str(folder / "trainer.json")]
    process = Operator(plane.kubeconfig, folder, options, {})
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


def test_nodes_that_failed_are_avoided(kubectl, plane):
    """Two at once: Kubernetes takes one value for each requirement on a node's name."""
    job = build_job(replace(launch(system={"name": "lab", "nodes": 1}), avoid=("fake-0", "fake-1")), TrainerDefaults())
    job["metadata"] = {"name": "avoids"}
    kubectl("create", "-f", "-", stdin=job)
    path = "jsonpath={.items[*].spec.nodeName}"
    until(lambda: kubectl("get", "pods", "-l", "job-name=avoids", "-o", path) == "fake-2", 30, "the third node has it")


NIC = "nic.example.com"
GPUS = json.dumps({"status": {kind: {"nvidia.com/gpu": "8"} for kind in ("capacity", "allocatable")}})


def devices(*nodes: str) -> list[dict[str, Any]]:
    """A network card on each of these nodes, as its driver says, and a template that claims one."""
    api, name = "resource.k8s.io/v1", {"name": "nics"}
    request = {"name": "nic", "exactly": {"deviceClassName": "nics"}}
    selector = {"cel": {"expression": f"device.driver == '{NIC}'"}}
    return [
        {"apiVersion": api, "kind": "DeviceClass", "metadata": name, "spec": {"selectors": [selector]}},
        {"apiVersion": api, "kind": "ResourceClaimTemplate", "metadata": name,
         "spec": {"spec": {"devices": {"requests": [request]}}}},
        *(
            {"apiVersion": api, "kind": "ResourceSlice", "metadata": {"name": f"nics-{node}"}, "spec": {
                "driver": NIC, "nodeName": node, "devices": [{"name": "nic-0"}],
                "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}}
            for node in nodes
        ),
    ]  # fmt: skip


def test_claimed_devices_decide_beside_those_of_device_plugins(kubectl, operator):
    """Every node has GPUs, and two of the three have a network card."""
    for node in range(NODES):
        kubectl("patch", "node", f"fake-{node}", "--subresource=status", "--type=merge", "-p", GPUS)
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": devices("fake-1", "fake-2")})
    claims = [{"name": "nic", "resourceClaimTemplateName": "nics"}]
    two = {"name": "lab", "nodes": 2, "acceleratorsPerNode": 8}
    apply(kubectl, "fast", 2, system=two, template={"resourceClaims": claims})
    until(lambda: nodes_of(kubectl, "fast") == ["fake-1", "fake-2"], 30, "the nodes with a card have the pods")
    allocated = json.loads(kubectl("get", "resourceclaims", "-o", "json"))["items"]
    found = [result for claim in allocated for result in claim["status"]["allocation"]["devices"]["results"]]
    assert sorted(result["pool"] for result in found) == ["fake-1", "fake-2"]
    assert {owner["kind"] for claim in allocated for owner in claim["metadata"]["ownerReferences"]} == {"Pod"}
