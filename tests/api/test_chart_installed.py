"""The chart in a real API server: what is served, what survives, and that its roles are enough and no more.

The operator runs as a process of this machine, with the arguments that the chart gives it and a token of the service
account that the chart makes. The API server's audit log lists every request of that account.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.api.test_crd import OPEN, run
from tests.cluster import kwok
from tests.cluster.charts import CHART, helm, template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ROOT, Kubectl, kubectl_for, needed_parts, until_served
from tests.cluster.parts import Operator, until
from tests.performance.controller.load import SPEC, training_log

DATA = ROOT / "tests/data/chart"
POD_SECONDS = 12.0
STORE = ["--set", "results.url=s3://results/podium"]
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:podium"]},
        {"level": "None"},
    ],
}
Request = tuple[str, str, str]  # group, resource or resource/subresource, verb


@dataclass(frozen=True)
class Cluster:
    """A control plane with a fake node whose pods play a training back, and an audit log. It has no CRD at first."""

    plane: ControlPlane
    audit: Path

    @property
    def kubectl(self) -> Kubectl:
        return kubectl_for(self.plane.kubeconfig)

    def helm(self, *words: object, refused: bool = False) -> str:
        return helm(*words, kubeconfig=self.plane.kubeconfig, refused=refused)

    def asked(self, skip: int) -> list[tuple[Request, int]]:
        """What the operator's account asked for after the first `skip` lines of the log, with the status codes."""
        found = []
        for line in self.audit.read_text().splitlines()[skip:]:
            event = json.loads(line)
            if "objectRef" not in event:
                continue  # discovery, which every account may do
            what = event["objectRef"]
            resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
            request = (what.get("apiGroup", ""), resource, event["verb"])
            found.append((request, event["responseStatus"]["code"]))
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("chart")
    (folder / "policy.json").write_text(json.dumps(AUDIT_POLICY))
    (folder / "training.log").write_text(training_log())
    audit = folder / "audit.log"
    plane = ControlPlane(folder / "plane")
    with needed_parts():
        try:
            flags = (f"--audit-policy-file={folder / 'policy.json'}", f"--audit-log-path={audit}")
            plane.up(scheduler=True, apiserver_flags=flags)
            kwok.start_nodes(plane, 2, pod_seconds=POD_SECONDS, replay=folder / "training.log")
            yield Cluster(plane, audit)
        finally:
            plane.down()


@pytest.fixture
def released(cluster: Cluster) -> Iterator[Callable[..., None]]:
    """Installs the chart as `podium` in the namespace `podium`; afterwards nothing of it is left."""

    def install(*words: object) -> None:
        cluster.helm("install", "podium", CHART, "--namespace", "podium", "--create-namespace", *words)

    yield install
    cluster.helm("uninstall", "podium", "--namespace", "podium", "--ignore-not-found")
    cluster.kubectl("-n", "podium", "delete", "lease", "podium", "--ignore-not-found")
    cluster.kubectl("delete", "crd", "benchmarkruns.podium.dev", "benchmarksweeps.podium.dev", "--ignore-not-found")


@pytest.fixture
def start_operator(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[], Operator]]:
    """Starts the installed operator on this machine."""
    started: list[Operator] = []

    def start() -> Operator:
        deployment = json.loads(cluster.kubectl("-n", "podium", "get", "deployment", "podium", "-o", "json"))
        config = json.loads(cluster.kubectl("-n", "podium", "get", "configmap", "podium", "-o", "json"))
        (tmp_path / "trainer.yaml").write_text(config["data"]["trainer.yaml"])
        given = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        of_a_pod = ("--results-url=", "--trainer-defaults=")
        options = [argument for argument in given if not argument.startswith(of_a_pod)]
        options += ["--results-url", str(tmp_path / "results"), "--trainer-defaults", str(tmp_path / "trainer.yaml")]
        token = cluster.kubectl("-n", "podium", "create", "token", "podium").strip()
        cluster.plane.pki.kubeconfig(tmp_path / "kubeconfig", "podium", cluster.plane.server, token)
        operator = Operator(tmp_path / "kubeconfig", tmp_path, options, {})
        started.append(operator)
        operator.start()
        return operator

    yield start
    for operator in started:
        operator.stop()


# What it needs only to mend a status; the simulation shows that it does (asks for what it may)
RARELY: set[Request] = {("podium.dev", "benchmarkruns", "get")}


def granted(values: Path, *words: str) -> set[Request]:
    """What the chart's roles allow the operator, whatever the namespace, with the APIs of this cluster.

    It has no PodGroups: tests/api/test_placement.py has them.
    """
    allowed = set()
    for document in yaml.safe_load_all(template("-f", values, *words)):
        if document and document["kind"] in ("Role", "ClusterRole") and "aggregate" not in str(document["metadata"]):
            for rule in document["rules"]:
                allowed |= {
                    (group, resource, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    if resource != "podgroups"
                    for verb in rule["verbs"]
                }
    return allowed


def whole_life(cluster: Cluster, namespace: str) -> None:
    """All that an operator does: two attempts, a suspended one, foreign objects in the way, deletion after a while, and
    sweeps."""
    kubectl = cluster.kubectl

    def apply(name: str, **more: object) -> None:
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run({**SPEC, **more}, name))

    def ended(name: str, condition: str) -> str:
        kubectl("-n", namespace, "wait", f"benchmarkrun/{name}", f"--for=condition={condition}", "--timeout=90s")
        path = f'jsonpath={{.status.conditions[?(@.type=="{condition}")].message}}'
        return kubectl("-n", namespace, "get", "benchmarkrun", name, "-o", path)

    kubectl("-n", namespace, "create", "service", "clusterip", "podium-foreign-service", "--tcp=80")
    kubectl("-n", namespace, "create", "job", "podium-foreign-job-1-0", "--image=none")
    apply("whole", attempts=2)
    apply("paused")
    apply("foreign-service")
    apply("foreign-job")
    job = ["-n", namespace, "get", "jobs", "-o", "name"]
    until(lambda: "podium-paused-1-0" in kubectl(*job), 30, "the Job of the run that will be suspended")
    kubectl("-n", namespace, "patch", "benchmarkrun", "paused", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    until(lambda: "podium-paused-1-0" not in kubectl(*job), 30, "the Job of the suspended run is deleted")
    assert "services 'podium-foreign-service' exists and does not belong to this run" in ended(
        "foreign-service", "Failed"
    )
    assert "jobs 'podium-foreign-job-1-0' exists and does not belong to this run" in ended("foreign-job", "Failed")
    ended("whole", "Complete")
    patch = '{"spec": {"ttlSecondsAfterFinished": 1}}'
    kubectl("-n", namespace, "patch", "benchmarkrun", "whole", "--type=merge", "-p", patch)
    runs = ["-n", namespace, "get", "benchmarkruns", "-o", "name"]
    until(lambda: "whole" not in kubectl(*runs), 30, "the finished run is deleted after its time")
    sweep = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkSweep"}
    for over in ({"over": "nodes", "nodes": {"selector": {"kubernetes.io/hostname": "fake-0"}}},
                 {"over": "nodeCounts", "nodeCounts": [1]}):  # fmt: skip
        spec = {**over, "template": SPEC, "verdict": {"maxRuns": 1}}
        metadata = {"name": over["over"].lower(), "namespace": namespace}
        kubectl("apply", "-f", "-", stdin={**sweep, "metadata": metadata, "spec": spec})
    until(lambda: "nodecounts-" in kubectl(*runs), 30, "the run of a sweep")
    kubectl("-n", namespace, "delete", "benchmarksweeps", "--all")
    kubectl("-n", namespace, "create", "quota", "none", "--hard=pods=0")
    time.sleep(1)  # it is counted
    apply("refused")
    path = 'jsonpath={.status.conditions[?(@.type=="Running")].message}'
    cause = lambda: kubectl("-n", namespace, "get", "benchmarkrun", "refused", "-o", path)  # noqa: E731
    until(lambda: "exceeded quota: none" in cause(), 15, "the cause stands on the run")


def test_the_roles_are_what_the_operator_needs_and_no_more(cluster, released, start_operator, tmp_path):
    released(*STORE)
    before = len(cluster.audit.read_text().splitlines())
    cluster.kubectl("create", "namespace", "anywhere")
    operator = start_operator()
    whole_life(cluster, "anywhere")
    metrics = operator.metrics()
    assert operator.stop() == 0
    asked = cluster.asked(before)
    assert [request for request, code in asked if code == 403] == []
    granted_ = granted(DATA / "minimal.yaml", "--set", "rbac.aggregate=false")
    assert {request for request, _ in asked} | RARELY == granted_
    assert 'code="403"' not in metrics
    [system] = (tmp_path / "results").glob("*/whole-*/system.json")
    assert json.loads(system.read_text())["nodesSeen"][0]["capacity"]["cpu"] == "64"


def test_roles_in_two_namespaces_are_enough_there(cluster, released, start_operator, tmp_path):
    for namespace in ("lab", "night"):
        cluster.kubectl("create", "namespace", namespace)
    released(*STORE, "--set", "watchNamespaces={lab,night},rbac.aggregate=false,networkPolicy.trainers.enabled=true")
    roles = json.loads(
        cluster.kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=podium", "-o", "json")
    )
    assert roles["items"] == []
    before = len(cluster.audit.read_text().splitlines())
    operator = start_operator()
    whole_life(cluster, "lab")
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "podium-blocked"}}
    cluster.kubectl("-n", "lab", "apply", "-f", "-", stdin={**policy, "spec": {"podSelector": {}}})
    cluster.kubectl("-n", "lab", "apply", "-f", "-", stdin=run(SPEC, "blocked"))
    cluster.kubectl("-n", "lab", "wait", "benchmarkrun/blocked", "--for=condition=Failed", "--timeout=30s")
    cluster.kubectl("-n", "night", "apply", "-f", "-", stdin=run(SPEC, "second"))
    cluster.kubectl("-n", "night", "wait", "benchmarkrun/second", "--for=condition=Complete", "--timeout=60s")
    made = json.loads(cluster.kubectl("-n", "night", "get", "networkpolicy", "podium-second", "-o", "json"))
    same_run = {"podSelector": {"matchLabels": made["spec"]["podSelector"]["matchLabels"]}}
    assert list(same_run["podSelector"]["matchLabels"]) == ["podium.dev/run-uid"]
    assert made["spec"]["ingress"] == [{"from": [same_run]}]
    dns = {"k8s-app": "kube-dns"}
    assert [rule["to"][0]["podSelector"]["matchLabels"] for rule in made["spec"]["egress"]][1:] == [dns]
    cluster.kubectl("-n", "anywhere", "apply", "-f", "-", stdin=run(SPEC, "elsewhere"))
    metrics = operator.metrics()
    assert operator.stop() == 0
    assert cluster.kubectl("-n", "anywhere", "get", "jobs", "-l", "podium.dev/run=elsewhere", "-o", "name") == ""

    asked = cluster.asked(before)
    assert {request for request, code in asked if code == 403} == {("", "nodes", "get"), ("", "nodes", "list")}
    allowed = granted(DATA / "namespaced.yaml")
    assert {request for request, code in asked if code != 403} | RARELY == allowed
    refused = [line for line in metrics.splitlines() if 'code="403"' in line]
    assert all('resource="nodes"' in line for line in refused)
    [system] = (tmp_path / "results").glob("*/whole-*/system.json")
    [node, other] = json.loads(system.read_text())["nodesSeen"]
    assert (node["name"], other["name"]) == ("fake-0", "fake-1")
    assert 'cannot get resource "nodes"' in node["unknown"]


def test_people_get_to_runs_by_the_roles_that_kubernetes_ships(cluster, released):
    released(*STORE)
    for name in ("view", "edit", "admin"):
        cluster.kubectl("-n", "default", "create", "rolebinding", name, f"--clusterrole={name}", f"--user={name}")

    def may(person: str, verb: str, subresource: str = "") -> bool:
        what = {"group": "podium.dev", "resource": "benchmarkruns", "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": person, "resourceAttributes": {"namespace": "default", "verb": verb, **what}},
        }
        status = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", stdin=review))["status"]
        return bool(status["allowed"])

    reading, writing = ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")
    until(lambda: may("view", "get") and may("admin", "create"), 20, "the roles are aggregated")
    assert [verb for verb in (*reading, *writing) if may("view", verb)] == list(reading)
    for person in ("edit", "admin"):
        assert [verb for verb in (*reading, *writing) if may(person, verb)] == [*reading, *writing]
        assert not may(person, "patch", "status"), "results are the operator's"


# ---- install, upgrade, roll back, uninstall ----


@pytest.mark.parametrize("case", ["minimal", "namespaced", "claim", "fabric"])
def test_the_api_server_takes_every_manifest(cluster, case):
    """A dry run on the server: every field is known there and every value is one that it accepts."""
    for namespace in ("podium", "lab", "night"):
        cluster.kubectl(
            "apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
    version = json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    made = template("-f", DATA / f"{case}.yaml", "--set", "serviceMonitor.enabled=false", "--kube-version", version)
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=made)


def test_pods_fit_the_restricted_standard(cluster, released):
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": "podium", "labels": enforced}
    cluster.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    released(*STORE)
    try:
        pods = ["-n", "podium", "get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "name"]
        until(lambda: len(cluster.kubectl(*pods).split()) == 2, 20, "two pods are admitted")
    finally:
        cluster.kubectl("label", "namespace", "podium", "pod-security.kubernetes.io/enforce-")


def test_install_upgrade_roll_back_uninstall(cluster, released):
    def image() -> str:
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        return cluster.kubectl("-n", "podium", "get", "deployment", "podium", "-o", path)

    def state() -> tuple[str, str]:
        release = json.loads(cluster.helm("status", "podium", "-n", "podium", "-o", "json"))
        return release["info"]["status"], release["version"]

    released(*STORE)
    cluster.kubectl("-n", "default", "apply", "-f", "-", stdin=run(OPEN, "survivor"))
    assert image() == "podium-operator:0.1.0"
    cluster.helm("upgrade", "podium", CHART, "-n", "podium", "--reuse-values", "--set", "image.tag=0.2.0")
    assert (image(), *state()) == ("podium-operator:0.2.0", "deployed", 2)
    said = cluster.helm(
        "upgrade", "podium", CHART, "-n", "podium", "--reuse-values", "--set", "results.url=x", refused=True
    )
    assert 'results.url "x" is not a supported results URL: write s3://bucket/prefix' in said
    assert image() == "podium-operator:0.2.0"
    cluster.helm("rollback", "podium", "1", "-n", "podium")
    assert (image(), *state()) == ("podium-operator:0.1.0", "deployed", 3)

    cluster.helm("uninstall", "podium", "-n", "podium")
    left = cluster.kubectl(
        "get", "all,sa,cm,secrets,pdb,leases,roles,rolebindings", "-n", "podium", "-o", "name"
    ).split()
    assert [name for name in left if "podium" in name and not name.startswith(("pod/", "replicaset"))] == []
    assert "survivor" in cluster.kubectl("-n", "default", "get", "benchmarkruns", "-o", "name")
    released(*STORE)  # takes the kept CRD up again
    cluster.helm("uninstall", "podium", "-n", "podium")
    released(*STORE, "--set", "crds.enabled=false")
    cluster.helm("uninstall", "podium", "-n", "podium")
    assert "survivor" in cluster.kubectl("-n", "default", "get", "benchmarkruns", "-o", "name")


def test_without_keep_the_crd_goes_with_the_release(cluster, released):
    released(*STORE, "--set", "crds.keep=false")
    assert "benchmarkruns" in cluster.kubectl("get", "crds", "-o", "name")
    cluster.helm("uninstall", "podium", "-n", "podium", "--wait")
    until(lambda: "benchmarkruns" not in cluster.kubectl("get", "crds", "-o", "name"), 20, "the CRD is gone")


def test_the_run_of_the_notes_is_accepted(cluster, released):
    released(*STORE)
    notes = cluster.helm("get", "notes", "podium", "-n", "podium")
    manifest = re.search(r"<<END\n(.*?)END\n", notes, re.DOTALL)
    assert manifest
    cluster.kubectl("-n", "default", "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_load(manifest[1]))


def test_an_operator_that_is_sooner_than_the_crd_waits_for_it(cluster, released, start_operator):
    released(*STORE, "--set", "crds.enabled=false")
    operator = start_operator()
    waits = "waiting until BenchmarkRuns can be listed: the CustomResourceDefinition is not installed"
    until(lambda: waits in operator.log.read_text(), 20, "the operator says what it waits for")
    cluster.kubectl("apply", "--server-side", "-f", ROOT / "crds")
    until(lambda: "podium_leader 1.0" in operator.metrics(), 20, "the operator leads")
    until_served(cluster.kubectl, "benchmarkruns.podium.dev")
    cluster.kubectl("-n", "default", "apply", "-f", "-", stdin=run(OPEN, "late"))
    jobs = ["-n", "default", "get", "jobs", "-o", "name"]
    until(lambda: "podium-late-1-0" in cluster.kubectl(*jobs), 20, "the operator has made a Job")
