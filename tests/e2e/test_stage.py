"""Data sets that are copied to the node before the clock: from a bucket, from a claim, and not at all."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from podium_benchmarks.ncf.generate import generate
from tests.cluster.parts import ACCESS_KEY, SECRET_KEY
from tests.e2e.run_queries import Bucket, attempts, condition, ended, wait_for


def _run(name, data, nodes=1, **more):
    spec = {
        "round": "v0.5",
        "benchmark": "ncf",
        "division": "open",
        "preset": "tiny",
        "attempts": 1,
        "maxRetries": 1,
        "quality": {"target": "0.05"},
        "system": {"name": "cpu", "nodes": nodes},
        "data": data,
        **more,
    }
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def ratings(tmp_path_factory) -> Path:
    """A folder with ratings.csv in ml-20m's layout."""
    folder = tmp_path_factory.mktemp("ratings")
    assert generate(["--out", str(folder), "--users", "400", "--items", "300", "--ratings", "12000"]) == 0
    folder.chmod(0o755)  # pods run as another user
    return folder


@pytest.fixture
def claim(kubectl, namespace, ratings):
    """A claim whose volume is that folder."""
    name = f"ratings-{namespace}"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "hostPath": {"path": str(ratings), "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": "ratings"},
        },
    }
    spec = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    claimed = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "ratings"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=volume)
    kubectl("-n", namespace, "apply", "-f", "-", stdin=claimed)
    yield {"persistentVolumeClaim": {"claimName": "ratings"}, "stage": {}}
    kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.fixture
def data_set(kubectl, namespace, s3, bucket, ratings) -> str:
    """The URL of the ratings in the bucket, and the Secret with which they are read."""
    keys = [f"--from-literal=AWS_ACCESS_KEY_ID={ACCESS_KEY}", f"--from-literal=AWS_SECRET_ACCESS_KEY={SECRET_KEY}"]
    kubectl("-n", namespace, "create", "secret", "generic", "datasets-reader", *keys)
    s3.client().upload_file(str(ratings / "ratings.csv"), bucket.removeprefix("s3://"), "datasets/ratings/ratings.csv")
    return f"{bucket}/datasets/ratings"


@pytest.mark.timeout(600)
def test_runs_whose_data_are_staged(kubectl, namespace, operator, s3, bucket, claim, data_set, ratings):
    operator.start()
    runs = {
        "from-bucket": _run("from-bucket", {"stage": {"from": data_set}}, nodes=2),
        "from-claim": _run("from-claim", claim),
        "missing": _run("missing", {"stage": {"from": f"{bucket}/datasets/no-such"}}),
        "forbidden": _run("forbidden", {"stage": {"from": "s3://another-bucket/datasets"}}),
    }
    for run in runs.values():
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run)
    size = (ratings / "ratings.csv").stat().st_size
    for name, nodes, checked in (("from-bucket", 2, 0), ("from-claim", 1, 1)):
        run = wait_for(kubectl, namespace, name, f"{name} has ended", ended, 240)
        assert condition(run, "Complete")["status"] == "True", run["status"]["attempts"]
        assert run["status"]["score"]["valid"], run["status"]["score"]
        result = Bucket(s3, run["status"]["result"]["uri"])
        result.verify()
        document = result.json("attempts/001/attempt.json")
        assert len(document["pods"]) == nodes
        for pod in document["pods"]:
            staged = pod["stage"]
            assert (staged["files"], staged["bytes"], staged["checkedBySizeOnly"]) == (1, size, checked)
            assert staged["started"] <= staged["finished"] <= pod["started"] <= document["log"]["runStart"]
            log = gzip.decompress(result.read(f"attempts/001/logs/pod-{pod['nodeIndex']}.stage.log.gz")).decode()
            assert f"1 files, {size:,} bytes present" in log
    failed = condition(wait_for(kubectl, namespace, "missing", "missing has ended", ended, 60), "Failed")
    assert failed["reason"] == "AttemptFailed"
    assert "attempt 1 failed: StageFailed: pod podium-missing-1-0-0-" in failed["message"]
    assert f"{bucket}/datasets/no-such has no files; check bucket, prefix and permissions" in failed["message"]
    failed = condition(wait_for(kubectl, namespace, "forbidden", "forbidden has ended", ended, 60), "Failed")
    assert failed["reason"] == "InvalidSpec"
    assert "s3://another-bucket/datasets is not under an allowed prefix" in failed["message"]


@pytest.mark.timeout(600)
def test_an_outage_of_the_bucket_delays_the_copying(kubectl, namespace, operator, s3, data_set):
    """And a suspended run ends it."""
    operator.start()
    s3.stop()
    try:
        kubectl("-n", namespace, "apply", "-f", "-", stdin=_run("outage", {"stage": {"from": data_set}}))

        def copies(run):
            return condition(run, "Running").get("reason") == "Staging"

        run = wait_for(kubectl, namespace, "outage", "the data are copied", copies, 120)
        assert "0 of 1 pods have copied their data" in condition(run, "Running")["message"]
        kubectl("-n", namespace, "patch", "benchmarkrun", "outage", "--type=merge", "-p", '{"spec": {"suspend": true}}')

        def suspended(run):
            return attempts(run)[0][2:] == ("Aborted", "Suspended")

        wait_for(kubectl, namespace, "outage", "the copying has ended", suspended, 60)
        kubectl("-n", namespace, "wait", "--for=delete", "pods", "--all", "--timeout=20s")
        kubectl(
            "-n", namespace, "patch", "benchmarkrun", "outage", "--type=merge", "-p", '{"spec": {"suspend": false}}'
        )

        def copies_again(run):
            return attempts(run)[-1][1:] == (1, "Pending", "Staging")

        wait_for(kubectl, namespace, "outage", "the data are copied again", copies_again, 120)
    finally:
        s3.start()
    run = wait_for(kubectl, namespace, "outage", "the run has ended", ended, 240)
    assert condition(run, "Complete")["status"] == "True", run["status"]
