"""The operator against a real API server: its Lease, its probes, what it does when a name is taken."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.api.test_crd import OPEN, run
from tests.cluster.parts import REGION, Operator, until

STRANGERS = Path(__file__).parents[1] / "data" / "kubernetes" / "stranger-pod.yaml"


def readiness(operator: Operator) -> str:
    """What the operator says, ready or not."""
    try:
        with urllib.request.urlopen(f"{operator.url}/readyz", timeout=5) as response:
            return response.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.read().decode().strip()


@pytest.fixture
def replicas(kubeconfig, namespace, tmp_path):
    """Two replicas that share a Lease; not started."""
    made = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        options = [
            "--results-url",
            str(tmp_path / "results"),
            "--namespace",
            namespace,
            "--lease",
            f"{namespace}/podium",
        ]
        made.append(Operator(kubeconfig, folder, options, {}, port=8190 + number))
    yield made
    for operator in made:
        operator.stop()


def test_one_replica_leads_and_the_other_takes_over(kubectl, namespace, replicas):
    first, second = replicas
    first.start()
    until(lambda: readiness(first) == "leading", 20, "the first replica leads")
    second.start()
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "before"))
    until(
        lambda: "podium-before-1-0" in kubectl("-n", namespace, "get", "jobs", "-o", "name"),
        20,
        "the leader has made a Job",
    )
    assert readiness(second) == "standing by"
    first.kill()
    started = time.monotonic()
    until(lambda: readiness(second) == "leading", 30, "the second replica leads")
    assert time.monotonic() - started < 20
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "after"))
    until(
        lambda: "podium-after-1-0" in kubectl("-n", namespace, "get", "jobs", "-o", "name"),
        20,
        "the new leader has made a Job",
    )
    jobs = kubectl("-n", namespace, "get", "jobs", "-o", "name").split()
    assert sorted(jobs) == ["job.batch/podium-after-1-0", "job.batch/podium-before-1-0"]


def test_a_replica_that_is_asked_to_stop_hands_over_at_once(kubectl, namespace, replicas):
    first, second = replicas
    first.start()
    until(lambda: readiness(first) == "leading", 20, "the first replica leads")
    second.start()
    lease = ["-n", namespace, "get", "lease", "podium", "-o", "jsonpath={.spec.holderIdentity}"]
    holder = kubectl(*lease)
    time.sleep(3)  # the second has seen that the Lease is held
    assert readiness(second) == "standing by"
    started = time.monotonic()
    assert first.stop() == 0
    until(lambda: readiness(second) == "leading", 10, "the second replica leads")
    assert time.monotonic() - started < 8  # else it would be the 12 s of the Lease
    assert kubectl(*lease) not in ("", holder)
    assert second.stop() == 0
    assert kubectl(*lease) == ""


def test_a_replica_that_stands_by_stops_at_once(kubectl, namespace, replicas):
    first, second = replicas
    first.start()
    until(lambda: readiness(first) == "leading", 20, "the first replica leads")
    second.start()
    started = time.monotonic()
    assert second.stop() == 0
    assert time.monotonic() - started < 5
    assert readiness(first) == "leading"


def test_a_foreign_service_of_the_same_name_is_not_touched(kubectl, namespace, replicas):
    operator = replicas[0]
    operator.start()
    kubectl("-n", namespace, "create", "service", "clusterip", "podium-taken", "--tcp=80")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "taken"))
    kubectl("-n", namespace, "wait", "benchmarkrun/taken", "--for=condition=Failed", "--timeout=30s")
    path = 'jsonpath={.status.conditions[?(@.type=="Failed")].message}'
    said = kubectl("-n", namespace, "get", "benchmarkrun", "taken", "-o", path)
    assert "services 'podium-taken' exists and does not belong to this run; delete it, or rename the run" in said
    assert kubectl("-n", namespace, "get", "service", "podium-taken", "-o", "jsonpath={.spec.ports[0].port}") == "80"


def test_an_unwritable_store_is_reported_at_the_start(kubeconfig, namespace, tmp_path):
    options = [
        "--results-url",
        "s3://no-such-place/x",
        "--results-endpoint",
        "http://127.0.0.1:9",
        "--namespace",
        namespace,
    ]
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    operator = Operator(kubeconfig, tmp_path, options, credentials, port=8193)
    operator.start()
    try:
        sentence = "cannot write to the result store: s3://no-such-place/x/.podium-probe"
        until(lambda: sentence in operator.log.read_text(), 30, "the log says so")
        until(lambda: operator.log.read_text().count(sentence) > 1, 30, "it is asked again")
    finally:
        operator.stop()


def test_the_log_says_what_the_store_can_do(kubeconfig, namespace, tmp_path, server):
    """A store that is down when the operator starts is probed once it is up."""
    server.stop()
    options = ["--results-url", f"{server.bucket('able')}/x", "--results-endpoint", server.endpoint]
    options += ["--results-region", REGION, "--namespace", namespace]
    operator = Operator(kubeconfig, tmp_path, options, server.environment)
    try:
        operator.start()
        until(lambda: "cannot write to the result store" in operator.log.read_text(), 30, "it is down")
        server.start()
        able = (
            "the result store can be used: s3://able/x: put, get, list, delete, conditional put: yes; checksums: header"
        )
        until(lambda: able in operator.log.read_text(), 30, "the log says what it can do")
    finally:
        operator.stop()


def test_pods_and_jobs_of_others_are_left_alone(kubectl, namespace, replicas):
    """Whatever label they carry, before the operator starts and while it works."""
    strangers = STRANGERS.read_text().replace("namespace: default", f"namespace: {namespace}")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=strangers)
    operator = replicas[0]
    operator.start()
    until(lambda: readiness(operator) == "leading", 20, "the operator leads")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "after"))
    until(lambda: "podium-after-1-0" in kubectl("-n", namespace, "get", "jobs", "-o", "name"), 20, "a Job for the run")
    uid = kubectl("-n", namespace, "get", "benchmarkrun", "after", "-o", "jsonpath={.metadata.uid}")
    claim = f"podium.dev/run-uid={uid},podium.dev/attempt=1,podium.dev/try=0"
    kubectl("-n", namespace, "run", "rank0", "--image=busybox", f"--labels={claim}")
    kubectl("-n", namespace, "label", "pod", "netcheck", "seen=twice")

    def ignored(resource: str) -> float:
        with urllib.request.urlopen(f"{operator.url}/metrics", timeout=5) as response:
            line = f'podium_ignored_objects_total{{reason="foreign",resource="{resource}"}} '
            return float(response.read().decode().partition(line)[2].partition("\n")[0])

    until(lambda: ignored("pods") == 2, 20, "both pods are counted")
    assert ignored("jobs") == 1
    log = operator.log.read_text()
    assert log.count(f"ignoring foreign pods: {namespace}/netcheck") == 1
    assert log.count(f"ignoring foreign pods: {namespace}/rank0") == 1
    assert operator.stop() == 0
