"""The installed chart: operators as pods of their image, restricted pods everywhere, through changes and a lost leader.

The tests follow each other on one release, as an administrator's days do.
"""

from __future__ import annotations

import json
import os
import time
import uuid

import pytest

from tests.cluster.fixtures import kubectl_for
from tests.cluster.images import TRAINER
from tests.cluster.parts import until
from tests.e2e.releases import RESTRICTED, Release, kill_hard, leads, trainer_on_claims, values_file
from tests.e2e.run_queries import Bucket, attempts, condition, ended, get, wait_for
from tests.e2e.test_spine import EXAMPLE

FAILOVER_SECONDS = 20


@pytest.fixture(scope="module")
def release(kubeconfig, operator_image, s3, tmp_path_factory):
    """Installed before the first test, with two replicas; what is left of it goes after the last."""
    kubectl = kubectl_for(kubeconfig)
    suffix = uuid.uuid4().hex[:6]
    release = Release(kubectl, kubeconfig, f"podium-system-{suffix}", f"bench-{suffix}")
    for name in (release.namespace, release.runs):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
        kubectl("apply", "-f", "-", stdin=namespace)
    try:
        trainer = trainer_on_claims(kubectl, release.runs)
        if image := os.environ.get("PODIUM_TEST_TRAINER_IMAGE"):
            trainer = {"image": image, "allow": {"images": ["*"]}, "shareNodes": True}
        file = values_file(tmp_path_factory.mktemp("chart"), operator_image, s3, s3.bucket(release.runs), trainer)
        release.install(file)
        yield release
    finally:
        print(release.logs())
        release.helm("uninstall", "--ignore-not-found", "--wait")
        kubectl("delete", "namespace", release.namespace, release.runs, "--wait=false")
        kubectl("delete", "persistentvolumes", "-l", f"podium-test={release.runs}", "--wait=false")


def jobs(release: Release) -> list[str]:
    return sorted(release.kubectl("-n", release.runs, "get", "jobs", "-o", "name").replace("job.batch/", "").split())


def trains(run, attempt=1) -> bool:
    """Whether this attempt or a later one trains."""
    assert not ended(run), run["status"]
    return any(state == "Training" and index >= attempt for index, _, state, _ in attempts(run))


def names(pods) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def test_two_operators_stand_and_one_leads(release):
    pods = release.pods()
    assert [pod["status"]["containerStatuses"][0]["ready"] for pod in pods] == [True, True]
    until(lambda: len(release.leaders()) == 1, 10, "one of them leads")
    for pod in pods:
        words = ("exec", pod["metadata"]["name"], "--", "python", "-c")
        said = release.kubectl("-n", release.namespace, *words, "open('/opt/podium/x', 'w')", refused=True)
        assert "Read-only file system" in said
        assert release.kubectl("-n", release.namespace, *words, "import os; print(os.getuid())") == "65532\n"


@pytest.mark.timeout(600)
def test_a_run_is_scored_through_upgrade_and_rollback(release, s3, kubectl):
    """The run of the demo. A setting for training pods is changed and taken back meanwhile: operators roll, pods do not."""
    namespace = release.runs
    kubectl("-n", namespace, "apply", "-f", EXAMPLE)
    wait_for(kubectl, namespace, "resnet-digits", "attempt 1 trains", trains, 180)
    first = names(release.pods())
    release.upgrade("trainer.pod.labels.cost-center=lab")
    second = names(release.pods())
    assert len(second) == 2
    assert not first & second, "every operator was replaced"

    def labeled(attempt):
        text = kubectl(
            "-n", namespace, "get", "pods", "-l", f"cost-center=lab,podium.dev/attempt={attempt}", "-o", "name"
        )
        return bool(text.split())

    wait_for(kubectl, namespace, "resnet-digits", "a later attempt trains", lambda run: trains(run, 2), 180)
    release.helm("rollback", "--wait", "--timeout", "120s")
    assert not second & names(release.pods())
    kubectl("-n", namespace, "wait", "--for=condition=Complete", "benchmarkrun/resnet-digits", "--timeout=400s")

    run = get(kubectl, namespace, "resnet-digits")
    assert [a[:3] for a in attempts(run)] == [(n, 0, "Converged") for n in range(1, 6)]
    assert run["status"]["score"]["valid"]
    assert jobs(release) == [f"podium-resnet-digits-{n}-0" for n in range(1, 6)]
    bucket = Bucket(s3, run["status"]["result"]["uri"])
    assert bucket.verify() == run["status"]["result"]["sha256"]
    assert [a["index"] for a in bucket.json("result.json")["attempts"]] == [1, 2, 3, 4, 5]
    assert not any(labeled(n) for n in range(1, 6)), "a run keeps the settings that it was admitted with"
    print(f"revisions: {release.helm('history').count('podium-0.1.0')}")


PROGRAM = """
import json, time
def line(key, value=None, **metadata):
    event = {"namespace": "", "time_ms": int(time.time() * 1000), "event_type": "POINT_IN_TIME", "key": key,
             "value": value, "metadata": {"file": "mine.py", "lineno": 1, **metadata}}
    print(":::MLLOG", json.dumps(event), flush=True)
line("run_start")
for epoch in range(1, 26):
    time.sleep(2)
    line("eval_accuracy", epoch / 25, epoch_num=epoch)
line("run_stop", status="success")
"""


def steady_run(name):
    """Two attempts of 50 s in a custom image that uses almost no CPU."""
    spec = {
        "round": "v0.6",
        "benchmark": "my-model",
        "division": "open",
        "attempts": 2,
        "quality": {"target": "0.99"},
        "system": {"name": "one", "nodes": 1},
        "template": {"image": TRAINER, "command": ["python3", "-c", PROGRAM]},
    }
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": spec}


@pytest.mark.timeout(400)
def test_the_leader_is_lost_and_the_other_goes_on(release, s3, kubectl):
    """SIGKILL with five runs active: within 20 s the other leads, and nothing is doubled."""
    namespace = release.runs
    runs = [f"steady-{n}" for n in range(1, 6)]
    kubectl(
        "-n",
        namespace,
        "apply",
        "-f",
        "-",
        stdin={"apiVersion": "v1", "kind": "List", "items": [*map(steady_run, runs)]},
    )
    for name in runs:
        wait_for(
            kubectl,
            namespace,
            name,
            f"{name} is evaluated",
            lambda run: "quality" in str(run["status"].get("attempts")),
            90,
        )
    until(lambda: len(release.leaders()) == 1, 10, "one leads")
    [leader] = [pod for pod in release.pods() if leads(pod)]
    before = {name: get(kubectl, namespace, name)["metadata"]["resourceVersion"] for name in runs}

    started = time.monotonic()
    kill_hard(release, leader)
    [heir] = until(release.leaders, FAILOVER_SECONDS, "the other leads", every=0.1)
    leading = time.monotonic() - started

    def moved():
        return [n for n in runs if get(kubectl, namespace, n)["metadata"]["resourceVersion"] != before[n]]

    until(moved, FAILOVER_SECONDS - leading, "the other writes a status", every=0.1)
    print(
        f"after SIGKILL: {leading:.1f} s until the other leads, {time.monotonic() - started:.1f} s until a run moves on"
    )
    assert heir != leader["metadata"]["name"]
    for name in runs:
        run = wait_for(kubectl, namespace, name, f"{name} has ended", ended, 180)
        assert condition(run, "Complete")["status"] == "True", run["status"]
        assert [a[:3] for a in attempts(run)] == [(1, 0, "Converged"), (2, 0, "Converged")]
        bucket = Bucket(s3, run["status"]["result"]["uri"])
        assert bucket.verify() == run["status"]["result"]["sha256"]
        assert [(a["index"], a["try"]) for a in bucket.json("result.json")["attempts"]] == [(1, 0), (2, 0)]
        for attempt in ("001", "002"):
            log = bucket.read(f"attempts/{attempt}/result.txt").decode()
            assert log.count('"eval_accuracy"') == 25, "every line once"
    assert [job for job in jobs(release) if job.startswith("podium-steady")] == [
        f"podium-{name}-{n}-0" for name in runs for n in (1, 2)
    ]


def test_uninstalling_leaves_runs_and_results(release, s3, kubectl):
    """The CRD stays, and with it every run; installing again finds them finished and starts nothing."""
    namespace = release.runs
    release.helm("uninstall", "--wait")
    assert kubectl("-n", release.namespace, "get", "deployments,services,leases", "-o", "name").split() in (
        [],
        ["lease.coordination.k8s.io/podium"],
    )
    assert json.loads(kubectl("get", "crd", "benchmarkruns.podium.dev", "-o", "json"))["metadata"]["name"]
    run = get(kubectl, namespace, "resnet-digits")
    assert condition(run, "Complete")["status"] == "True"
    Bucket(s3, run["status"]["result"]["uri"]).verify()
