"""What a compromised operator could create: no more than the operator needs, by a policy of the chart.

Tried with the token of the operator's service account, on a real API server.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_chart_installed import Cluster, cluster
from tests.api.test_tenancy import SPEC, STORE, names, operator, run
from tests.cluster.charts import CHART
from tests.cluster.fixtures import kubectl_for, since
from tests.cluster.parts import Operator, until

__all__ = ["cluster", "operator"]
pytestmark = since(30, "ValidatingAdmissionPolicy")


@pytest.fixture(scope="module")
def created(cluster: Cluster, operator: Operator) -> dict[str, Any]:
    """A Job as the operator creates it, under another name."""
    cluster.kubectl("-n", "tenants", "create", "-f", "-", stdin=run("model", {**SPEC, "suspend": False}))
    until(lambda: "podium-model-1-0" in names(cluster, "jobs"), 20, "the Job is created")
    job = json.loads(cluster.kubectl("-n", "tenants", "get", "job", "podium-model-1-0", "-o", "json"))
    job["metadata"] = {
        "name": "podium-model-1-1",
        "labels": {key: value for key, value in job["metadata"]["labels"].items() if "podium" in key},
        "ownerReferences": job["metadata"]["ownerReferences"],
    }
    del job["status"], job["spec"]["selector"], job["spec"]["template"]["metadata"]
    return job


def pod(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]


CHANGES: dict[str, tuple[Any, str]] = {
    "no owner": (lambda j: j["metadata"].pop("ownerReferences"), "only for a BenchmarkRun that owns them"),
    "another owner": (
        lambda j: j["metadata"]["ownerReferences"][0].update(kind="ConfigMap", apiVersion="v1"),
        "only for a BenchmarkRun that owns them",
    ),
    "another run's label": (
        lambda j: j["metadata"]["labels"].update({"podium.dev/run-uid": "x"}),
        "only for a BenchmarkRun that owns them",
    ),
    "a name of others": (lambda j: j["metadata"].update(name="redis"), "names must start with podium-"),
    "a token": (lambda j: pod(j).update(automountServiceAccountToken=True), "must not have a service account token"),
    "an account": (lambda j: pod(j).update(serviceAccountName="admin"), "must not use this service account"),
    "the node's network": (lambda j: pod(j).update(hostNetwork=True), "must not use the node's namespaces"),
    "the node's processes": (lambda j: pod(j).update(hostPID=True), "must not use the node's namespaces"),
    "root": (lambda j: pod(j)["securityContext"].update(runAsNonRoot=False), "must not run as root"),
    "the node's disk": (
        lambda j: pod(j)["volumes"].append({"name": "root", "hostPath": {"path": "/"}}),
        "volumes must be emptyDirs, claims",
    ),
    "a Secret's files": (
        lambda j: pod(j)["volumes"].append({"name": "s", "secret": {"secretName": "store"}}),
        "volumes must be emptyDirs, claims",
    ),
    "a token's file": (
        lambda j: pod(j)["volumes"].append(
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
        ),
        "volumes must be emptyDirs, claims",
    ),
    "a Secret's values": (
        lambda j: pod(j)["containers"][0]["env"].append(
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "store", "key": "k"}}}
        ),
        "variables must come from Secrets that trainer.secrets",
    ),
    "all of a Secret": (
        lambda j: pod(j)["containers"][0].update(envFrom=[{"secretRef": {"name": "store"}}]),
        "must not take all variables of a Secret",
    ),
    "privileges": (
        lambda j: pod(j)["containers"][0].update(securityContext={"privileged": True}),
        "must not be privileged",
    ),
    "capabilities": (
        lambda j: pod(j)["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
        "capabilities beyond trainer.pod.securityContext",
    ),
    "root in a container": (
        lambda j: pod(j)["containers"][0]["securityContext"].update(runAsNonRoot=False, runAsUser=0),
        "containers must not run as root",
    ),
    "no filter of system calls": (
        lambda j: pod(j)["containers"][0]["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "must keep the profiles of seccomp and AppArmor",
    ),
    "no filter of system calls in the pod": (
        lambda j: pod(j)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "must keep the profiles of seccomp and AppArmor",
    ),
    "no AppArmor": (
        lambda j: pod(j)["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
        "must keep the profiles of seccomp and AppArmor",
    ),
    "no AppArmor, as annotated": (
        lambda j: j["spec"]["template"].update(
            metadata={"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}}
        ),
        "must keep the profiles of seccomp and AppArmor",
    ),
    "another SELinux type": (
        lambda j: pod(j)["containers"][0]["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
        "must not change SELinux options",
    ),
    "kernel parameters": (
        lambda j: pod(j)["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
        "must not change SELinux options",
    ),
    "a port of the node": (
        lambda j: pod(j)["containers"][0].update(ports=[{"containerPort": 29500, "hostPort": 29500}]),
        "must not use ports of the node",
    ),
    "the pull secrets of others": (
        lambda j: pod(j).update(imagePullSecrets=[{"name": "registry"}]),
        "must not use pull secrets",
    ),
    "a writable claim": (
        lambda j: pod(j)["volumes"].append({"name": "home", "persistentVolumeClaim": {"claimName": "home"}}),
        "must mount claims read-only",
    ),
    "devices of others": (
        lambda j: pod(j).update(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "admin-access"}]),
        "must not claim devices",
    ),
    "a claim that exists": (
        lambda j: pod(j).update(resourceClaims=[{"name": "gpu", "resourceClaimName": "of-others"}]),
        "must not claim devices",
    ),
    "preemption": (lambda j: pod(j).update(priorityClassName="system-node-critical"), "must not use a priority class"),
    "every taint": (lambda j: pod(j).update(tolerations=[{"operator": "Exists"}]), "must not tolerate taints"),
    "another runtime": (lambda j: pod(j).update(runtimeClassName="unsafe"), "must not use a runtime class"),
    "another scheduler": (lambda j: pod(j).update(schedulerName="mine"), "must not name their node, or a scheduler"),
    "another network": (
        lambda j: j["spec"]["template"].update(metadata={"annotations": {"k8s.v1.cni.cncf.io/networks": "x"}}),
        "must not have annotations",
    ),
    "a node past the scheduler": (
        lambda j: pod(j).update(nodeName="control-plane-0"),
        "must not name their node",
    ),
    "an init container": (
        lambda j: pod(j).update(
            initContainers=[{"name": "i", "image": "i", "securityContext": {"privileged": True}}]
        ),
        "must not be privileged",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def as_operator(operator: Operator) -> Any:
    """kubectl with the token of the operator's service account."""
    return kubectl_for(Path(operator.log).parent / "kubeconfig")


def test_the_account_may_create_what_the_operator_creates(as_operator, created):
    as_operator("-n", "tenants", "create", "--dry-run=server", "-f", "-", stdin=created)


@pytest.mark.parametrize("change", CHANGES)
def test_the_account_may_not_create_more(as_operator, created, change):
    job = copy.deepcopy(created)
    CHANGES[change][0](job)
    said = as_operator("-n", "tenants", "create", "--dry-run=server", "-f", "-", stdin=job, refused=True)
    assert "ValidatingAdmissionPolicy 'podium-podium-jobs'" in said, said
    assert CHANGES[change][1] in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clusterIP": "", "selector": {"podium.dev/run-uid": "UID"}}, "Services must be headless"),
        ({"externalIPs": ["203.0.113.1"]}, "Services must be headless"),
        ({"selector": {"app": "redis"}}, "Services must select the pods of their run"),
        ({"selector": {"podium.dev/run-uid": "UID", "app": "x"}}, "Services must select the pods of their run"),
    ],
)
def test_the_account_may_not_create_other_services(as_operator, created, change, sentence):
    uid = created["metadata"]["ownerReferences"][0]["uid"]
    spec = {"clusterIP": "None", "selector": {"podium.dev/run-uid": uid}, "ports": [{"port": 29500}], **change}
    spec["selector"] = {key: value.replace("UID", uid) for key, value in spec["selector"].items()}
    metadata = {**created["metadata"], "name": "podium-other"}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    said = as_operator("-n", "tenants", "create", "--dry-run=server", "-f", "-", stdin=body, refused=True)
    assert sentence in said


def test_the_account_may_not_delete_the_jobs_of_others(cluster, as_operator):
    cluster.kubectl("-n", "tenants", "create", "job", "podium-bystander", "--image=none")
    said = as_operator("-n", "tenants", "delete", "job", "podium-bystander", refused=True)
    assert "the operator may delete only Jobs that a BenchmarkRun owns" in said


OPENED: dict[str, Any] = {
    "allow": {
        "priorityClasses": ["bench-*"],
        "tolerations": ["gpu"],
        "annotations": ["example.org/*"],
        "imagePullSecrets": ["team-*"],
        "writableClaims": ["tenants/scratch-*"],
        "resourceClaimTemplates": ["rdma-*"],
    },
    "pod": {
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
        "hostNetwork": True,
        "schedulerName": "gang",
        "runtimeClassName": "nvidia",
        "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma"},
        "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
        "podSecurityContext": {"runAsNonRoot": False, "runAsUser": 0, "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
        "securityContext": {"seccompProfile": {"type": "Unconfined"}, "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]}},
    },
}  # fmt: skip


def test_the_account_may_create_what_the_administrator_opens(cluster, as_operator, created):
    values = Path(cluster.plane.kubeconfig).parent / "opened.json"
    values.write_text(json.dumps({"trainer": OPENED}))
    cluster.helm("upgrade", "podium", CHART, "--namespace", "podium", *STORE, "-f", values)
    job, settings = copy.deepcopy(created), OPENED["pod"]
    job["spec"]["template"]["metadata"] = {"annotations": {**settings["annotations"], "example.org/x": "1"}}
    pod(job).update(
        hostNetwork=True,
        schedulerName="gang",
        runtimeClassName="nvidia",
        priorityClassName="bench-high",
        imagePullSecrets=[{"name": "registry"}, {"name": "team-a"}],
        resourceClaims=[{"name": "nics", "resourceClaimTemplateName": "rdma-nics"}],
        tolerations=[*settings["tolerations"], {"key": "gpu", "operator": "Exists"}],
    )
    claims = [("shared", False), ("scratch-1", False), ("data", True)]
    pod(job)["volumes"] += [
        {"name": name, "persistentVolumeClaim": {"claimName": name, "readOnly": read_only}}
        for name, read_only in claims
    ]
    pod(job)["securityContext"].update(settings["podSecurityContext"])
    pod(job)["containers"][0]["securityContext"].update(settings["securityContext"])
    pod(job)["containers"][0]["ports"][0]["hostPort"] = 29500

    def accepted() -> bool:
        try:
            as_operator("-n", "tenants", "create", "--dry-run=server", "-f", "-", stdin=job)
        except AssertionError:
            return False
        return True

    until(accepted, 30, "the Job is accepted once the API server has seen the new policy")
    pod(job)["priorityClassName"] = "system-bench-high"
    said = as_operator("-n", "tenants", "create", "--dry-run=server", "-f", "-", stdin=job, refused=True)
    assert "must not use a priority class" in said
    pod(job)["priorityClassName"] = "bench-low"
    pod(job)["volumes"][-1]["persistentVolumeClaim"]["readOnly"] = False
    said = as_operator("-n", "tenants", "create", "--dry-run=server", "-f", "-", stdin=job, refused=True)
    assert "must mount claims read-only" in said
