"""Why a run does not start stands on the run within ten seconds, in the words of whoever refuses."""

from __future__ import annotations

import json
import time

import pytest

from tests.api.test_crd import run
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import apply_crds, kubectl_for, needed_parts
from tests.cluster.parts import Operator, until

SPEC = {
    "round": "v0.6",
    "benchmark": "own",
    "division": "open",
    "attempts": 1,
    "quality": {"target": "0.9"},
    "system": {"name": "gpu", "nodes": 2, "acceleratorsPerNode": 8},
    "template": {"image": "own:1", "command": ["x"]},
}
TRAINER = """
allow:
  images: ["*"]
stage:
  image: podium-operator:1
  allowedPrefixes: ["s3://datasets/"]
  volume:
    hostPath: {path: /cache, type: DirectoryOrCreate}
"""
SECONDS = 10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """kubectl for a control plane with a scheduler, no node, and an operator."""
    folder = tmp_path_factory.mktemp("causes")
    plane = ControlPlane(folder / "plane")
    operator = None
    with needed_parts():
        try:
            plane.up(scheduler=True)
            apply_crds(plane.kubeconfig)
            (folder / "trainer.yaml").write_text(TRAINER)
            options = ["--results-url", str(folder / "results"), "--trainer-defaults", str(folder / "trainer.yaml")]
            operator = Operator(plane.kubeconfig, folder, options, {})
            operator.start()
            yield kubectl_for(plane.kubeconfig)
        finally:
            if operator:
                operator.stop()
            plane.down()


@pytest.fixture
def place(cluster):
    """Makes a namespace, with objects in it, where a run is then refused."""

    def place(name, *objects, **labels):
        metadata = {"name": name, "labels": labels}
        cluster("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        for made in objects:
            cluster("-n", name, "create", "-f", "-", stdin=made)
        time.sleep(1)  # the quota is counted, the webhook is known
        return name

    return place


def condition(cluster, namespace, kind="Running"):
    """(status, reason, message) of a condition."""
    found = json.loads(cluster("-n", namespace, "get", "benchmarkrun", "r", "-o", "json"))
    conditions = found.get("status", {}).get("conditions", [])
    return next(((c["status"], c["reason"], c["message"]) for c in conditions if c["type"] == kind), ("", "", ""))


def shows(cluster, namespace, words, reason="Pending"):
    """The condition Running has these words within ten seconds; returns its message."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and words not in condition(cluster, namespace)[2]:
        time.sleep(0.2)
    status, found, message = condition(cluster, namespace)
    assert words in message
    assert (status, found) == ("False", reason)
    return message


def quota(**hard):
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}


def start(cluster, namespace):
    cluster("-n", namespace, "create", "-f", "-", stdin=run(SPEC, "r"))


def test_a_quota_on_accelerators(cluster, place):
    namespace = place("gpus", quota(**{"requests.nvidia.com/gpu": "4"}))
    start(cluster, namespace)
    message = shows(cluster, namespace, "exceeded quota: q, requested: requests.nvidia.com/gpu=8")
    assert 'pods "' in message
    assert "limited: requests.nvidia.com/gpu=4" in message


def test_a_quota_that_allows_one_of_two_pods(cluster, place):
    namespace = place("half", quota(**{"requests.nvidia.com/gpu": "8"}))
    start(cluster, namespace)
    shows(cluster, namespace, "exceeded quota: q")


def test_a_quota_on_jobs(cluster, place):
    """The Job itself is refused."""
    namespace = place("jobs", quota(**{"count/jobs.batch": "0"}))
    start(cluster, namespace)
    shows(cluster, namespace, "exceeded quota: q, requested: count/jobs.batch=1", "LaunchRefused")
    cluster("-n", namespace, "delete", "resourcequota", "q")
    until(lambda: "podium-r-1-0" in cluster("-n", namespace, "get", "jobs", "-o", "name"), 30, "the Job is created")
    until(lambda: condition(cluster, namespace)[1] == "Pending", 15, "the refusal is over")


def test_pod_security(cluster, place):
    namespace = place("secure", **{"pod-security.kubernetes.io/enforce": "restricted"})
    staged = {**SPEC, "data": {"stage": {"from": "s3://datasets/own/"}}}  # to a folder of the node
    cluster("-n", namespace, "create", "-f", "-", stdin=run(staged, "r"))
    shows(cluster, namespace, 'violates PodSecurity "restricted:latest"')


def test_a_limit_range(cluster, place):
    limits = {"type": "Container", "max": {"nvidia.com/gpu": "4"}}
    namespace = place(
        "limited",
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [limits]}},
    )
    start(cluster, namespace)
    shows(cluster, namespace, "maximum nvidia.com/gpu usage per Container is 4")


def test_an_admission_webhook(cluster, place):
    hook = {
        "name": "check.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hooked"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    cluster(
        "create", "-f", "-",
        stdin={"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
               "metadata": {"name": "check"}, "webhooks": [hook]},
    )  # fmt: skip
    namespace = place("hooked")
    start(cluster, namespace)
    shows(cluster, namespace, 'failed calling webhook "check.example.com"')


def test_no_node(cluster, place):
    namespace = place("nodeless")
    start(cluster, namespace)
    shows(cluster, namespace, "Unschedulable: no nodes available to schedule pods")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("CreateContainerConfigError", 'secret "token" not found'),
        ("ErrImagePull", 'failed to pull image "own:1": not found'),
        ("ImagePullBackOff", 'Back-off pulling image "own:1"'),
    ],
)
def test_a_kubelets_words(cluster, place, reason, message):
    """There is no kubelet here: kubectl says what it would."""
    namespace = place(f"kubelet-{reason.lower()}")
    start(cluster, namespace)
    pods = ["-n", namespace, "get", "pods", "-o", "name"]
    until(lambda: len(cluster(*pods).split()) == 2, SECONDS, "the Job has its pods")
    waiting = {"name": "trainer", "ready": False, "restartCount": 0, "image": "own:1", "imageID": ""}
    status = {"containerStatuses": [{**waiting, "state": {"waiting": {"reason": reason, "message": message}}}]}
    time.sleep(2)  # a status was written: the next one must not wait
    for pod in cluster(*pods).split():
        patch = json.dumps({"status": status})
        cluster("-n", namespace, "patch", pod, "--subresource=status", "--type=merge", "-p", patch)
    words = f"{reason}: {message}"
    until(
        lambda: any(words in condition(cluster, namespace, kind)[2] for kind in ("Running", "Failed")),
        SECONDS,
        f"{words!r} stands on the run",
    )
