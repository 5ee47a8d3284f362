"""What a person gains who may only create BenchmarkRuns: nothing else. Every way is tried on a real API server.

The chart is installed as it comes, the operator runs with the token of its own service account, and the tenant is a
user with one right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_chart_installed import Cluster, cluster
from tests.cluster.charts import CHART
from tests.cluster.parts import Operator, until

__all__ = ["cluster"]

STORE = ["--set", "results.url=s3://results/podium"]
SPEC: dict[str, Any] = {
    "round": "v0.6",
    "benchmark": "resnet",
    "division": "open",
    "preset": "tiny",
    "suspend": True,
    "system": {"name": "lab", "nodes": 1},
}
TENANT = ("--as", "tenant")
ASK = "or ask the administrator to add it to trainer.allow."
ACCELERATORS = (
    "allowed: nvidia.com/gpu, nvidia.com/gpu.shared, nvidia.com/mig-*, amd.com/gpu, gpu.intel.com/i915, gpu.intel.com/xe, "
    f"habana.ai/gaudi, aws.amazon.com/neuron*, google.com/tpu); remove it, {ASK}acceleratorResources"
)


def template(**fields: Any) -> dict[str, Any]:
    return {"template": fields}


# what is asked for -> the refusal, and with which lists it is allowed
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "image": (
        template(image="evil.example/miner:1"),
        "spec.template.image: 'evil.example/miner:1' is not allowed (none is); remove it, " + ASK + "images",
    ),
    "pull-secret": (
        template(imagePullSecrets=[{"name": "registry"}]),
        "spec.template.imagePullSecrets[0].name: 'registry' is not allowed (none is); remove it, "
        + ASK
        + "imagePullSecrets",
    ),
    "annotation": (
        template(annotations={"k8s.v1.cni.cncf.io/networks": "kube-system/storage"}),
        "spec.template.annotations: 'k8s.v1.cni.cncf.io/networks' is not allowed (allowed: "
        "kueue.x-k8s.io/podset-*topology, kueue.x-k8s.io/podset-slice-size); remove it, " + ASK + "annotations",
    ),
    "priority": (
        template(priorityClassName="system-node-critical"),
        "spec.template.priorityClassName: 'system-node-critical' is not allowed (none is); remove it, "
        + ASK
        + "priorityClasses",
    ),
    "queue-priority": (
        {"queueName": "gpus", "queuePriorityClass": "urgent"},
        "spec.queuePriorityClass: 'urgent' is not allowed (none is); remove it, " + ASK + "queuePriorityClasses",
    ),
    "toleration": (
        template(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        "spec.template.tolerations[0].key: 'node-role.kubernetes.io/control-plane' is not allowed (none is); remove it, "
        + ASK
        + "tolerations",
    ),
    "every-taint": (
        template(tolerations=[{"operator": "Exists"}]),
        "spec.template.tolerations[0].key: '' is not allowed (none is); remove it, " + ASK + "tolerations",
    ),
    "writable-claim": (
        {"data": {"persistentVolumeClaim": {"claimName": "home", "readOnly": False}}},
        "spec.data.persistentVolumeClaim.readOnly: tenants/home must be mounted read-only; remove readOnly: false, "
        + ASK
        + "writableClaims",
    ),
    "devices": (
        template(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]),
        "spec.template.env[0].name: 'NVIDIA_VISIBLE_DEVICES' is not allowed (none is); remove it, " + ASK + "env",
    ),
    "preload": (
        template(env=[{"name": "FINE", "value": "1"}, {"name": "LD_PRELOAD", "value": "/proc/self/cwd/x.so"}]),
        "spec.template.env[1].name: 'LD_PRELOAD' is not allowed (none is); remove it, " + ASK + "env",
    ),
    "every-gpu": (
        {"system": {"name": "s", "nodes": 1, "acceleratorsPerNode": 1, "acceleratorResource": "rdma/hca"}},
        "spec.system.acceleratorResource: 'rdma/hca' is not allowed (" + ACCELERATORS,
    ),
    "a-vendors-network-card": (
        {"system": {"name": "s", "nodes": 1, "acceleratorsPerNode": 1, "acceleratorResource": "nvidia.com/hostdev"}},
        "spec.system.acceleratorResource: 'nvidia.com/hostdev' is not allowed (" + ACCELERATORS,
    ),
    "device-claim": (
        template(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "admin-access"}]),
        "spec.template.resourceClaims[0].resourceClaimTemplateName: 'admin-access' is not allowed (none is); remove it, "
        + ASK
        + "resourceClaimTemplates",
    ),
    "secret": (
        template(secrets=["operator-store"]),
        ("spec.template.secrets[0]: 'operator-store' is not offered (none is); remove it, or ask the administrator to "
        "add it to trainer.secrets"),
    ),
    "credential": (
        template(args=["--key", "AKIAIOSFODNN7EXAMPLE"]),
        ("spec.template.args[1]: looks like a credential, which everybody who can read the run could use; revoke it, "
        "put the new one into a Secret, and name it in template.secrets"),
    ),
    "bucket": (
        {"data": {"stage": {"from": "s3://payroll/2026"}}},
        ("spec.data.stage.from: s3://payroll/2026 is not under an allowed prefix (none); use one of them, or ask the "
        "administrator to add it to trainer.stage.allowedPrefixes"),
    ),
}  # fmt: skip
# fields that a Pod has and a run has not: kubectl refuses them, other clients see them dropped
NO_FIELD: dict[str, dict[str, Any]] = {
    "host-path": template(volumes=[{"name": "root", "hostPath": {"path": "/"}}]),
    "privileged": template(securityContext={"privileged": True}),
    "account": template(serviceAccountName="admin"),
    "host-network": template(hostNetwork=True),
    "env-from": template(env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
    "node": template(nodeName="control-plane-0"),
    "scheduler": template(schedulerName="mine"),
    "runtime-class": template(runtimeClassName="unsafe"),
    "namespaces": template(
        affinity={
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "namespaceSelector": {}, "labelSelector": {}}
                ]
            }
        }
    ),
}


def run(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The chart as it comes, and its operator with its own token; the namespace `tenants`, with one tenant."""
    folder = tmp_path_factory.mktemp("operator")
    cluster.helm("install", "podium", CHART, "--namespace", "podium", "--create-namespace", *STORE)
    kubectl = cluster.kubectl
    kubectl("create", "namespace", "tenants")
    kubectl("-n", "tenants", "create", "role", "tenant", "--verb=create", "--resource=benchmarkruns.podium.dev")
    kubectl("-n", "tenants", "create", "rolebinding", "tenant", "--role=tenant", "--user=tenant")
    config = json.loads(kubectl("-n", "podium", "get", "configmap", "podium", "-o", "json"))
    (folder / "trainer.yaml").write_text(config["data"]["trainer.yaml"])
    token = kubectl("-n", "podium", "create", "token", "podium").strip()
    cluster.plane.pki.kubeconfig(folder / "kubeconfig", "podium", cluster.plane.server, token)
    options = ["--results-url", str(folder / "results"), "--trainer-defaults", str(folder / "trainer.yaml")]
    options += ["--operator-image", "podium-operator:1"]
    process = Operator(folder / "kubeconfig", folder, options, {})
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def refused(cluster: Cluster, operator: Operator) -> dict[str, str]:
    """The message of every run of `WAYS` that has failed, by name."""
    for name, (more, _) in WAYS.items():
        cluster.kubectl(*TENANT, "-n", "tenants", "create", "-f", "-", stdin=run(name, {**SPEC, **more}))
    until(lambda: len(messages(cluster)) == len(WAYS), 30, "every run is refused")
    return messages(cluster)


def messages(cluster: Cluster) -> dict[str, str]:
    listed = json.loads(cluster.kubectl("-n", "tenants", "get", "benchmarkruns", "-o", "json"))["items"]
    return {
        one["metadata"]["name"]: condition["message"]
        for one in listed
        for condition in one.get("status", {}).get("conditions", ())
        if (condition["type"], condition["status"], condition["reason"]) == ("Failed", "True", "InvalidSpec")
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_more_is_refused_with_the_remedy(refused, way):
    assert refused[way] == WAYS[way][1]


def test_refused_runs_have_no_jobs(cluster, refused):
    assert cluster.kubectl("-n", "tenants", "get", "jobs,services,pods", "-o", "name") == ""


@pytest.mark.parametrize("way", NO_FIELD)
def test_a_field_of_pods_that_a_run_does_not_have(cluster, operator, way):
    body = run(f"no-{way}", {**SPEC, **NO_FIELD[way]})
    said = cluster.kubectl(*TENANT, "-n", "tenants", "create", "-f", "-", stdin=body, refused=True)
    assert "unknown field" in said, said


def test_a_spec_beyond_64_kib_is_refused(cluster, operator):
    words = ["x" * 4000] * 20
    body = run("long", {**SPEC, **template(command=words)})
    cluster.kubectl(*TENANT, "-n", "tenants", "create", "-f", "-", stdin=body)
    until(lambda: "long" in messages(cluster), 20, "the run is refused")
    assert messages(cluster)["long"].startswith("spec: 80")
    assert messages(cluster)["long"].endswith("bytes as JSON; at most 65536 are allowed: move programs into the image")


def test_the_tenant_has_one_right(cluster, operator):
    cluster.kubectl("-n", "tenants", "create", "-f", "-", stdin=run("own", SPEC))
    status = '{"status": {"conditions": []}}'
    for words in (
        ["patch", "benchmarkrun", "own", "--subresource=status", "--type=merge", "-p", status],
        ["get", "jobs"],
        ["create", "job", "mine", "--image=none"],
        ["create", "service", "clusterip", "mine", "--tcp=80"],
    ):
        assert "orbidden" in cluster.kubectl(*TENANT, "-n", "tenants", *words, refused=True)


def test_a_run_takes_no_name_that_others_use(cluster, operator):
    cluster.kubectl("-n", "tenants", "create", "-f", "-", stdin=run("redis", {**SPEC, "suspend": False}))
    until(lambda: "podium-redis-1-0" in names(cluster, "jobs"), 20, "the Job is created")
    assert names(cluster, "services") == ["podium-redis"]


def test_a_run_of_another_controller_is_left_alone(cluster, operator):
    spec = {**SPEC, "suspend": False, "managedBy": "kueue.x-k8s.io/multikueue"}
    cluster.kubectl("-n", "tenants", "create", "-f", "-", stdin=run("elsewhere", spec))
    cluster.kubectl("-n", "tenants", "create", "-f", "-", stdin=run("here", {**SPEC, "suspend": False}))
    until(lambda: "podium-here-1-0" in names(cluster, "jobs"), 20, "the Job of a later run is created")
    path = "jsonpath={.status}"
    assert cluster.kubectl("-n", "tenants", "get", "benchmarkrun", "elsewhere", "-o", path) == ""


def names(cluster: Cluster, kind: str) -> list[str]:
    return [
        name.rpartition("/")[2] for name in cluster.kubectl("-n", "tenants", "get", kind, "-o", "name").splitlines()
    ]
