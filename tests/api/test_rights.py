"""What the operator does without a right that it needs: it says so, and does everything else."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request

import pytest
import yaml

from tests.api.test_crd import OPEN, run
from tests.cluster.parts import Operator, until

RULES = [
    {"apiGroups": ["podium.dev"], "resources": ["benchmarkruns"], "verbs": ["list", "watch", "delete"]},
    {"apiGroups": ["podium.dev"], "resources": ["benchmarkruns/status"], "verbs": ["patch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "create"]},
]


def readiness(operator: Operator) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{operator.url}/readyz", timeout=5) as response:
            return response.status, response.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


@pytest.fixture
def allow(kubectl, namespace):
    """Gives the account `default` of the namespace these rights in a namespace."""

    def allow(place, name, rules):
        metadata = {"name": name, "namespace": place}
        kubectl(
            "apply", "-f", "-",
            stdin={"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        )  # fmt: skip
        account = f"{namespace}:default"
        kubectl("-n", place, "create", "rolebinding", name, f"--role={name}", f"--serviceaccount={account}")

    return allow


@pytest.fixture
def operator_of(kubeconfig, kubectl, namespace, tmp_path):
    """Starts an operator that has only the rights of the account `default` of the namespace."""
    config = yaml.safe_load(kubeconfig.read_text())
    token = kubectl("-n", namespace, "create", "token", "default").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    started = []

    def start(*options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        results = ["--results-url", str(tmp_path / "results")]
        operator = Operator(tmp_path / "kubeconfig", folder, [*results, *options], {})
        started.append(operator)
        operator.start()
        return operator

    yield start
    for operator in started:
        operator.stop()


def test_a_namespace_without_the_role_does_not_stop_the_others(kubectl, namespace, allow, operator_of):
    other, absent = f"{namespace}-other", f"{namespace}-absent"
    kubectl("create", "namespace", other)
    allow(namespace, "podium", RULES)
    try:
        kubectl("-n", other, "apply", "-f", "-", stdin=run(OPEN, "later"))
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "first"))
        operator = operator_of("--namespace", absent, "--namespace", namespace, "--namespace", other)

        def jobs(place):
            return kubectl("-n", place, "get", "jobs", "-o", "name")

        until(lambda: "first-1-0" in jobs(namespace), 30, "the run in the allowed namespace has a Job")
        assert readiness(operator) == (200, "leading")
        refused = f"GET /apis/podium.dev/v1alpha1/namespaces/{other}/benchmarkruns is refused, retrying: 403"
        until(lambda: refused in operator.log.read_text(), 10, "the operator says what it may not do")
        assert jobs(other) == ""
        allow(other, "podium", RULES)
        until(lambda: "later-1-0" in jobs(other), 60, "a run in the namespace that came later has a Job")

        kubectl("-n", other, "delete", "role", "podium")
        time.sleep(5)
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "second"))
        until(lambda: "second-1-0" in jobs(namespace), 20, "the others go on when a Role goes away")
        kubectl("-n", namespace, "delete", "benchmarkrun", "first")
        kubectl("delete", "namespace", other, "--wait=false")
        time.sleep(3)
        assert operator.metrics()  # it runs
        operator.kill()
        operator.start()  # with one namespace absent, and one being deleted
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "third"))
        until(lambda: "third-1-0" in jobs(namespace), 30, "the others go on after a restart")
    finally:
        kubectl("delete", "namespace", other, "--wait=false", "--ignore-not-found")


GET = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["podium"]}
CREATE = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}


def test_a_missing_lease(kubectl, namespace, allow, operator_of):
    allow(namespace, "podium", RULES)
    options = ("--namespace", namespace, "--lease", f"{namespace}/podium")
    operator = operator_of(*options)
    until(lambda: "cannot get resource" in readiness(operator)[1], 15, "it says that it cannot read the Lease")
    assert readiness(operator)[0] == 503
    allow(namespace, "lease", [{**GET, "verbs": ["get", "update"]}])
    says = f"the Lease {namespace}/podium does not exist, and this operator cannot create it"
    until(lambda: says in readiness(operator)[1], 15, "it says that it cannot create the Lease")
    code, text = readiness(operator)
    assert (code, text.rpartition("; ")[2]) == (
        503,
        "create it, or allow the operator's ServiceAccount to create Leases in that namespace",
    )
    assert operator.log.read_text().count("cannot create it") == 1
    allow(namespace, "create", [CREATE])
    until(lambda: readiness(operator) == (200, "leading"), 15, "it creates the Lease and leads")
    second = operator_of(*options)
    until(lambda: readiness(second) == (200, "standing by"), 15, "the second replica stands by, ready")


def test_a_leader_that_was_frozen_ends_without_a_write(kubectl, namespace, allow, operator_of):
    allow(namespace, "podium", [*RULES, {**GET, "verbs": ["get", "update"]}, CREATE])
    options = ("--namespace", namespace, "--lease", f"{namespace}/podium")
    first = operator_of(*options)
    until(lambda: readiness(first) == (200, "leading"), 20, "the first replica leads")
    second = operator_of(*options)
    until(lambda: readiness(second) == (200, "standing by"), 15, "the second replica stands by")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        until(lambda: readiness(second) == (200, "leading"), 30, "the second replica leads")
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "now"))
        jobs = ["-n", namespace, "get", "jobs", "-o", "name"]
        until(lambda: "now-1-0" in kubectl(*jobs), 20, "the second replica has made a Job")
    finally:
        os.kill(first.pid, signal.SIGCONT)
    until(lambda: first._process.poll() is not None, 10, "the first replica ends")
    assert first._process.returncode == 1
    log = first.log.read_text()
    assert "this process ends, and its container starts again on standby" in log
    assert "Traceback" not in log
    assert readiness(second) == (200, "leading")
