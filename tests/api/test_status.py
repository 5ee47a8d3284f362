"""What a real API server makes of changes of a status."""

from __future__ import annotations

import json

import pytest

from podium.api import AttemptState
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.status_writer import changes
from podium.kube import ApiError, connect_as_kubectl
from tests.api.test_crd import OPEN, run
from tests.api.test_operator import readiness, replicas  # noqa: F401 - a fixture
from tests.cluster.parts import until

STATUS = {"observedGeneration": 1, "progress": {"attempt": "1/1", "epoch": "5"}}


@pytest.fixture
async def api(kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    api, _ = await connect_as_kubectl(None)
    yield api
    await api.close()


async def test_a_status_reaches_only_the_run_with_its_uid(kubectl, namespace, api):
    async def patch(run, operations):
        name, uid = run["metadata"]["name"], run["metadata"]["uid"]
        return (await api.patch_status(BENCHMARK_RUNS, namespace, name, operations, uid=uid))["status"]

    old = await api.create(BENCHMARK_RUNS, namespace, run(OPEN, "digits"))
    assert await patch(old, changes({}, STATUS)) == STATUS
    later = {"observedGeneration": 1, "progress": {"attempt": "1/1", "epoch": "6", "samples": 7}}
    assert await patch(old, changes(STATUS, later)) == later
    assert await patch(old, changes(STATUS, later)) == later  # as after a lost answer
    assert await patch(old, changes(later, STATUS)) == STATUS
    with pytest.raises(ApiError, match="observedGeneration") as refused:
        await patch(old, changes(STATUS, {**STATUS, "observedGeneration": 10**19}))
    assert refused.value.final

    kubectl("-n", namespace, "delete", "benchmarkrun", "digits")
    new = await api.create(BENCHMARK_RUNS, namespace, run(OPEN, "digits"))
    for operations in (changes({}, STATUS), changes(STATUS, later)):
        with pytest.raises(ApiError, match="rejected our request due to an error in our request") as refused:
            await patch(old, operations)
        assert refused.value.final
    with pytest.raises(ApiError) as refused:  # an addition to what is not there
        await patch(new, changes(STATUS, later))
    assert refused.value.final
    assert "status" not in await api.get(BENCHMARK_RUNS, namespace, "digits")

    # why it is no merge patch: in one of a status, the uid means nothing
    merge = json.dumps({"metadata": {"uid": old["metadata"]["uid"]}, "status": STATUS})
    kubectl("-n", namespace, "patch", "benchmarkrun", "digits", "--subresource=status", "--type=merge", "-p", merge)
    reached = await api.get(BENCHMARK_RUNS, namespace, "digits")
    assert (reached["metadata"]["uid"], reached["status"]) == (new["metadata"]["uid"], STATUS)


def test_a_deletion_that_waits_for_a_finalizer_changes_the_generation(kubectl, namespace):
    """The operator looks at a run again only if its generation has changed."""
    body = run(OPEN, "digits")
    body["metadata"]["finalizers"] = ["podium.dev/test"]
    kubectl("-n", namespace, "create", "-f", "-", stdin=body)
    kubectl("-n", namespace, "delete", "benchmarkrun", "digits", "--wait=false")
    path = "jsonpath={.metadata.generation} {.metadata.deletionTimestamp}"
    generation, _, deleted = kubectl("-n", namespace, "get", "benchmarkrun", "digits", "-o", path).partition(" ")
    assert (generation, bool(deleted)) == ("2", True)
    kubectl(
        "-n", namespace, "patch", "benchmarkrun", "digits", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )


def test_a_run_whose_status_cannot_be_read_says_so(kubectl, namespace, replicas):  # noqa: F811
    """A newer operator wrote it, and its CRD, which stays when the chart is rolled back, allowed that."""
    crd = ("crd/benchmarkruns.podium.dev", "--type=json", "-p")
    states = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/attempts/items/properties/state/enum"
    kubectl("patch", *crd, json.dumps([{"op": "add", "path": f"{states}/-", "value": "Paused"}]))
    try:
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "digits"))
        attempt = {"index": 1, "try": 0, "state": "Paused", "seed": 1, "job": "podium-digits-1-0"}
        patch = json.dumps({"status": {"attempts": [attempt]}})
        write = ("-n", namespace, "patch", "benchmarkrun", "digits", "--subresource=status", "--type=merge", "-p")

        def is_accepted():
            try:
                return kubectl(*write, patch)
            except AssertionError:  # the API server does not serve the new schema yet
                return ""

        until(is_accepted, 20, "the new state is accepted")

        def read(path):
            return kubectl("-n", namespace, "get", "benchmarkrun", "digits", "-o", f"jsonpath={{{path}}}")

        recorded = read(".status.attempts")
        operator = replicas[0]
        operator.start()

        running = '.status.conditions[?(@.type=="Running")]'
        until(lambda: read(f"{running}.reason") == "StatusUnreadable", 30, "the run says that it cannot be read")
        assert "status.attempts.0.state: Input should be 'Pending'" in read(f"{running}.message")
        assert read(".status.attempts") == recorded
        kubectl(*write, json.dumps({"status": None}))  # somebody starts it from the beginning
        until(lambda: read(".status.attempts[0].state") == "Pending", 30, "the run goes on")
        assert read(f"{running}.reason") == "Pending"
        assert readiness(operator) == "leading"
    finally:
        kubectl("patch", *crd, json.dumps([{"op": "remove", "path": f"{states}/{len(AttemptState)}"}]))


def test_a_deleted_run_that_only_a_finalizer_keeps_says_so(kubectl, namespace, replicas):  # noqa: F811
    body = run(OPEN, "digits")
    body["metadata"]["finalizers"] = ["example.com/keep"]

    def read(path):
        return kubectl("-n", namespace, "get", "benchmarkrun", "digits", "-o", f"jsonpath={{{path}}}")

    def jobs():
        return kubectl("-n", namespace, "get", "jobs", "-o", "name")

    replicas[0].start()
    kubectl("-n", namespace, "create", "-f", "-", stdin=body)
    until(lambda: read(".status.attempts[0].state") == "Pending", 30, "its first attempt is listed")
    kubectl("-n", namespace, "delete", "benchmarkrun", "digits", "--wait=false")
    running = '.status.conditions[?(@.type=="Running")]'
    until(lambda: "only a finalizer keeps the object" in read(f"{running}.message"), 30, "it says that it was deleted")
    assert (read(f"{running}.reason"), read(".status.attempts[0].reason")) == ("RunDeleted", "RunDeleted")
    until(lambda: not jobs(), 30, "its Job is deleted")
    version = read(".metadata.resourceVersion")
    for restart in (False, True):
        if restart:
            replicas[0].stop()
            replicas[0].start()
        kubectl("-n", namespace, "create", "-f", "-", stdin=run(OPEN, f"after-{restart}".lower()))
        until(lambda restart=restart: f"after-{restart}".lower() in jobs(), 30, "the operator works")
    assert (read(".metadata.resourceVersion"), "podium-digits" in jobs()) == (version, False), (
        "nothing is written again"
    )
    kubectl(
        "-n", namespace, "patch", "benchmarkrun", "digits", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    kubectl("-n", namespace, "create", "-f", "-", stdin=run(OPEN, "later"))
    until(lambda: "podium-later" in jobs(), 30, "the operator works without it")
