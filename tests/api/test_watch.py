"""``podium watch`` against a real API server, in the place of whose operator the test writes the status."""

from __future__ import annotations

import json
import signal

import pytest
import yaml

from podium.api import Result
from podium.controller.status_writer import status_document
from podium.reconcile import Refusal, decide
from podium.rounds import load_rounds
from tests.api.test_crd import OPEN, run
from tests.cluster import tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import apply_crds, kubectl_for, needed_parts
from tests.cluster.parts import until
from tests.cluster.watching import Watching, watches
from tests.unit.reconcile import examples as ex


@pytest.fixture
def watch(kubeconfig, tmp_path):
    """Starts ``podium watch``."""
    with watches(kubeconfig, tmp_path) as start:
        yield start


@pytest.fixture
def patch(kubectl, namespace):
    """Writes the status of the run `digits`, as the operator would."""

    def write(status):
        body = yaml.safe_dump({"status": status_document(status)})
        path = "benchmarkrun/digits"
        kubectl("-n", namespace, "patch", path, "--subresource=status", "--type=merge", "-p", body)

    return write


def decided(attempts, observed):
    return decide(ex.run(ex.status(*attempts), attempts=5), observed, load_rounds(), ex.T0 + 70).status


def first_attempt():
    """Attempt 1 trains, and was evaluated once."""
    return decided([ex.attempt()], ex.observed(ex.job(ex.running(0), ex.running(1)), ex.log(ex.START, ex.BAD)))


def all_done():
    result = Result(uri="s3://results/lab/digits", sha256="0" * 64)
    return decided([ex.converged(i, 40 + i) for i in range(1, 6)], ex.observed(result=result))


def failed():
    """The API server does not let the first Job be made."""
    refusal = Refusal("jobs.batch is forbidden: exceeded quota", ex.T0, final=True)
    return decided([], ex.observed(launch_refusal=refusal))


def test_a_run_is_followed_to_its_score(kubectl, namespace, watch, patch):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    watching = watch("digits", "-n", namespace)
    watching.sees("waiting for the operator")
    patch(first_attempt())
    watching.sees("attempt 1: created with seed 7", "attempt 1: epoch 3: quality 0.55 of 0.9", "attempt 1: Training")
    patch(all_done())
    output = watching.ends(0)
    for sentence in (
        "attempt 5: Converged after 45.00 s: TargetReached",
        "Complete: 43.00 s time to train",
        "Score: 43.00 s time to train",
        "dropped: fastest",
        "Result: s3://results/lab/digits",
    ):
        assert sentence in output


def test_kubectl_finds_it_as_a_plugin(kubectl, namespace, watch, patch):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    patch(all_done())
    watching = watch("digits", "-n", namespace, program=tools.find("kubectl"))
    assert "Score: 43.00 s" in watching.ends(0)


def test_a_program_reads_a_document_a_line(kubectl, namespace, watch, patch):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    watching = watch("digits", "-n", namespace, "--json")
    until(lambda: "\n" in watching.output(), 20, "the first line")
    patch(failed())
    events = [json.loads(line) for line in watching.ends(1).splitlines()]
    assert {event["event"] for event in events} == {"status"}
    assert events[0]["status"]["conditions"] == []
    conditions = {c["type"]: c for c in events[-1]["status"]["conditions"]}
    assert conditions["Failed"]["reason"] == "LaunchRefused"


def test_a_failed_run_says_why(kubectl, namespace, watch, patch):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    patch(failed())
    output = watch("digits", "-n", namespace).ends(1)
    assert "Failed: LaunchRefused: jobs.batch is forbidden: exceeded quota" in output


def test_a_run_that_is_deleted_ends_it(kubectl, namespace, watch):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    watching = watch("digits", "-n", namespace)
    watching.sees("waiting for the operator")
    kubectl("-n", namespace, "delete", "benchmarkrun", "digits")
    assert "digits was deleted before it ended" in watching.ends(1)


def test_ctrl_c_leaves_the_run_alone(kubectl, namespace, watch):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    watching = watch("digits", "-n", namespace)
    watching.sees("waiting for the operator")
    watching.process.send_signal(signal.SIGINT)
    assert "the run continues" in watching.ends(130)
    kubectl("-n", namespace, "get", "benchmarkrun", "digits")


def test_the_namespace_is_that_of_the_context(kubeconfig, kubectl, namespace, watch, patch, tmp_path):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    patch(all_done())
    config = yaml.safe_load(kubeconfig.read_text())
    (context,) = [c for c in config["contexts"] if c["name"] == config["current-context"]]
    config["contexts"].append({"name": "there", "context": {**context["context"], "namespace": namespace}})
    config["contexts"].append({"name": "elsewhere", "context": {**context["context"], "namespace": "default"}})
    config["current-context"] = "elsewhere"
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))
    assert "Score: 43.00 s" in Watching(file, tmp_path, "digits", "--context", "there").ends(0)
    said = Watching(file, tmp_path, "digits").ends(2)
    assert "namespace default has no BenchmarkRun digits; kubectl get benchmarkruns --all-namespaces lists" in said
    assert "--context no: no such context" in Watching(file, tmp_path, "digits", "--context", "no").ends(2)


def test_a_forbidden_watch_says_so(kubeconfig, kubectl, namespace, tmp_path):
    token = kubectl("-n", namespace, "create", "token", "default").strip()
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))
    said = Watching(file, tmp_path, "digits", "-n", namespace).ends(2)
    assert f'User "system:serviceaccount:{namespace}:default" cannot get resource "benchmarkruns"' in said
    assert f"ask for permission to get and watch benchmarkruns in namespace {namespace}" in said


@pytest.fixture
def plane(tmp_path):
    """A control plane of the test's own, which it may stop."""
    plane = ControlPlane(tmp_path / "plane")
    with needed_parts():
        try:
            plane.up()
            yield plane
        finally:
            plane.down()


def test_a_cluster_without_podium_and_an_api_server_that_stops_for_a_while(plane, tmp_path):
    assert "install Podium there first" in Watching(plane.kubeconfig, tmp_path, "digits").ends(2)
    apply_crds(plane.kubeconfig)
    kubectl = kubectl_for(plane.kubeconfig)
    kubectl("apply", "-f", "-", stdin=run(OPEN))
    watching = Watching(plane.kubeconfig, tmp_path, "digits")
    try:
        watching.sees("waiting for the operator")
        plane.processes.stop("kube-apiserver", signal.SIGKILL)
        watching.sees("the API server does not answer, retrying")
        assert "cannot be reached" in Watching(plane.kubeconfig, tmp_path, "digits").ends(2)
        plane.up()
        watching.sees("the API server responds again")
        body = yaml.safe_dump({"status": status_document(all_done())})
        kubectl("patch", "benchmarkrun/digits", "--subresource=status", "--type=merge", "-p", body)
        assert "Score: 43.00 s" in watching.ends(0)
    finally:
        watching.process.kill()
        watching.process.wait()
