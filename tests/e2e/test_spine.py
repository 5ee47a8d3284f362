"""From kubectl apply to the scored result in object storage, on real parts, through crashes and outages."""

from __future__ import annotations

import json

import pytest

from tests.cluster.fixtures import ROOT
from tests.cluster.parts import until
from tests.e2e.run_queries import Bucket, attempts, children, condition, ended, get, wait_for

EXAMPLE = ROOT / "examples/resnet-digits.yaml"
SERIES = 'podium_run_quality{run="resnet-digits"}'


@pytest.mark.timeout(900)
def test_a_run_is_scored_although_the_operator_is_killed(kubectl, namespace, operator, prometheus, s3, watch):
    """The very file of the demo; SIGKILL during attempt 2."""
    operator.start()
    kubectl("-n", namespace, "apply", "-f", EXAMPLE)
    watching = watch("resnet-digits", "-n", namespace, "--logs")

    def in_attempt_2(run):
        return (2, 0, "Training") in [try_[:3] for try_ in attempts(run)]

    before = wait_for(kubectl, namespace, "resnet-digits", "attempt 2 trains", in_attempt_2, 180)
    operator.kill()
    scraped = prometheus.query(f"max_over_time({SERIES}[5m])")
    assert scraped, "Prometheus has scraped the quality of a run in progress"
    assert 0 < float(scraped[0]["value"][1]) <= 1
    operator.start()
    run = wait_for(kubectl, namespace, "resnet-digits", "the run is Complete", ended, 400)

    assert condition(run, "Complete")["status"] == "True", run["status"]
    assert [a[:3] for a in attempts(run)] == [(i, 0, "Converged") for i in range(1, 6)]
    assert run["status"]["attempts"][0] == before["status"]["attempts"][0] | {"stored": True}
    seeds = {attempt["seed"] for attempt in run["status"]["attempts"]}
    assert len(seeds) == 5

    kubectl("-n", namespace, "wait", "--for=condition=Complete", "jobs", "--all", "--timeout=30s")
    jobs = json.loads(kubectl("-n", namespace, "get", "jobs", "-o", "json"))["items"]
    assert sorted(job["metadata"]["name"] for job in jobs) == [f"podium-resnet-digits-{i}-0" for i in range(1, 6)]
    assert all(job["spec"]["completionMode"] == "Indexed" and job["status"]["succeeded"] == 2 for job in jobs)
    _check_one_after_the_other(kubectl, namespace)
    bucket = Bucket(s3, run["status"]["result"]["uri"])
    _check_score(kubectl, namespace, run, bucket)
    assert bucket.verify() == run["status"]["result"]["sha256"]
    assert [a["index"] for a in bucket.json("result.json")["attempts"]] == [1, 2, 3, 4, 5]
    for key in ("result.txt", "attempt.json", "logs/pod-0.log.gz", "logs/pod-1.log.gz"):
        assert f"attempts/002/{key}" in bucket.files()
    _check_row(kubectl, namespace, run)
    _check_watch(watching.ends(0), kubectl, namespace, run)
    until(lambda: prometheus.query('podium_run_time_to_train_seconds{run="resnet-digits"}'), 10, "the score is scraped")


def _check_one_after_the_other(kubectl, namespace):
    """No container of an attempt runs beside one of the next."""
    times, nodes = {}, {}
    for pod in json.loads(kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]:
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        attempt = pod["metadata"]["labels"]["podium.dev/attempt"]
        times.setdefault(int(attempt), []).append((ended["startedAt"], ended["finishedAt"]))
        nodes.setdefault(int(attempt), set()).add(pod["spec"]["nodeName"])
    assert {attempt: len(pods) for attempt, pods in times.items()} == dict.fromkeys(range(1, 6), 2)
    assert all(len(used) == 2 for used in nodes.values()), "one pod a node"
    for attempt in range(1, 5):
        assert max(end for _, end in times[attempt]) <= min(start for start, _ in times[attempt + 1])


def _check_score(kubectl, namespace, run, bucket):
    """The olympic mean of the stored logs, which are the pods' own; nothing here uses Podium's arithmetic."""
    seconds = {}
    for attempt in run["status"]["attempts"]:
        printed = kubectl("-n", namespace, "logs", "-l", _rank0_of(attempt), "--tail=-1")
        lines = [line for line in printed.splitlines() if line.startswith(":::MLLOG ")]
        assert bucket.read(f"attempts/{attempt['index']:03}/result.txt").decode().splitlines() == lines
        events = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        values = {event["key"]: event["value"] for event in events}
        times = {event["key"]: event["time_ms"] / 1000 for event in events}
        seconds[attempt["index"]] = times["run_stop"] - times["run_start"]
        assert float(attempt["timeToTrainSeconds"]) == pytest.approx(seconds[attempt["index"]], abs=0.001)
        assert attempt["seed"] == values["seed"]
    fastest, *counted, slowest = sorted(seconds, key=seconds.get)
    score = run["status"]["score"]
    assert score["valid"]
    assert score["dropped"] == sorted([fastest, slowest])
    mean = sum(seconds[index] for index in counted) / len(counted)
    assert float(score["timeToTrainMinutes"]) * 60 == pytest.approx(mean, abs=0.01)


def _rank0_of(attempt):
    return f"batch.kubernetes.io/job-name={attempt['job']},batch.kubernetes.io/job-completion-index=0"


def _check_row(kubectl, namespace, run):
    score, uri = run["status"]["score"]["timeToTrainMinutes"], run["status"]["result"]["uri"]
    row = kubectl("-n", namespace, "get", "benchmarkrun", "resnet-digits", "--no-headers", "-o", "wide").split()
    assert [*row[:3], *row[4:6]] == ["resnet-digits", "resnet", "5/5", score, "True"]
    assert row[7:] == ["Finished", "0.96", "v0.6", "open", "two-cpu-nodes", uri]


def _check_watch(output, kubectl, namespace, run):
    """Every line of rank 0 once and in order, every change of an attempt, the score."""
    for attempt in run["status"]["attempts"]:
        name = f"attempt {attempt['index']}"
        printed = kubectl("-n", namespace, "logs", "-l", _rank0_of(attempt), "--tail=-1").splitlines()
        shown = [line.removeprefix(f"{name} | ") for line in output.splitlines() if line.startswith(f"{name} | ")]
        assert shown == printed, name
        assert f"{name}: created with seed {attempt['seed']}" in output
        assert f"{name}: Converged after {float(attempt['timeToTrainSeconds']):.2f} s" in output
    seconds = float(run["status"]["score"]["timeToTrainMinutes"]) * 60
    assert f"Score: {f'{seconds:.2f} s' if seconds < 60 else f'{seconds / 60:.3f} min'} time to train" in output
    assert f"Result: {run['status']['result']['uri']}" in output


def _long_run(name, **spec):
    """Trains on and on: the target is out of reach."""
    document = {
        "round": "v0.6",
        "benchmark": "resnet",
        "division": "open",
        "preset": "tiny",
        "attempts": 2,
        "quality": {"target": "1"},
        "hyperparameters": {"max_epochs": 2000},
        "system": {"name": "two-cpu-nodes", "nodes": 2},
        **spec,
    }
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": document}


@pytest.mark.timeout(600)
def test_a_lost_pod_is_a_new_try_and_a_deleted_run_is_an_aborted_result(
    kubectl, namespace, operator, s3, bucket, watch
):
    operator.start()
    kubectl("-n", namespace, "apply", "-f", "-", stdin=_long_run("long"))
    watching = watch("long", "-n", namespace, "--logs")

    def evaluated(try_):
        def check(run):
            now = [a for a in run["status"].get("attempts", ()) if a["try"] == try_ and a["state"] == "Training"]
            return bool(now and now[0].get("quality"))

        return check

    wait_for(kubectl, namespace, "long", "the first try is evaluated", evaluated(0), 180)
    selector = "podium.dev/run=long,batch.kubernetes.io/job-completion-index=1"
    kubectl("-n", namespace, "delete", "pod", "-l", selector, "--wait=false")
    run = wait_for(kubectl, namespace, "long", "the second try is evaluated", evaluated(1), 180)
    assert [a[:3] for a in attempts(run)] == [(1, 0, "Failed"), (1, 1, "Training")]
    lost = run["status"]["attempts"][0]
    assert (lost["reason"], "pod podium-long-1-0-1" in lost["message"]) == ("PodLost", True), lost
    assert lost["seed"] != run["status"]["attempts"][1]["seed"]
    events = kubectl(
        "-n", namespace, "get", "events", "-o", "custom-columns=REASON:.reason,MESSAGE:.message", "--no-headers"
    )
    assert "AttemptFailed" in events
    assert 'run="long"' in operator.metrics()

    watching.sees("attempt 1: Failed: PodLost", "attempt 1 (retry 1): Training", "attempt 1 (retry 1) | :::MLLOG")

    uid = run["metadata"]["uid"]
    kubectl("-n", namespace, "delete", "benchmarkrun", "long")
    assert "long was deleted before it ended" in watching.ends(1)
    result = Bucket(s3, f"{bucket}/{namespace}/long-{uid[:8]}")
    until(lambda: "SHA256SUMS" in result.files(), 60, "the aborted result is stored")
    result.verify()
    document = result.json("result.json")
    assert document["outcome"] == "Aborted"
    assert [(a["index"], a["try"], a["state"]) for a in document["attempts"]] == [(1, 0, "Failed"), (1, 1, "Aborted")]
    assert result.json("attempts/001/attempt.json")["evaluations"], "what was measured is kept"
    assert result.json("attempts/001/tries/0/attempt.json")["evaluations"]
    until(lambda: not children(kubectl, namespace), 60, "no Job and no Service is left")
    until(lambda: 'run="long"' not in operator.metrics(), 10, "no series is left")


@pytest.mark.timeout(600)
def test_an_unreachable_store_delays_the_result_and_loses_nothing(kubectl, namespace, operator, s3):
    operator.start()
    quick = _long_run("outage", attempts=1, quality={"target": "0.3"}, system={"name": "one-cpu-node", "nodes": 1})
    s3.stop()
    try:
        kubectl("-n", namespace, "apply", "-f", "-", stdin=quick)

        def reported(run):
            return condition(run, "ResultStored").get("reason") == "StoreUnavailable"

        run = wait_for(kubectl, namespace, "outage", "the outage is reported", reported, 180)
        assert "Could not connect to the endpoint URL" in condition(run, "ResultStored")["message"]
        assert attempts(run)[0][2] == "Converged"
        assert not ended(run)
        operator.kill()  # and even now nothing is lost
    finally:
        s3.start()
    operator.start()
    run = wait_for(kubectl, namespace, "outage", "the run is Complete", ended, 120)
    assert condition(run, "Complete")["status"] == "True", run["status"]
    bucket = Bucket(s3, run["status"]["result"]["uri"])
    assert bucket.verify() == run["status"]["result"]["sha256"]
    assert bucket.json("attempts/001/attempt.json")["evaluations"]


def test_suspending_a_timed_attempt_ends_it_and_resuming_starts_the_next(kubectl, namespace, operator):
    operator.start()
    kubectl("-n", namespace, "apply", "-f", "-", stdin=_long_run("held", system={"name": "one", "nodes": 1}))
    training = lambda run: any(a[2] == "Training" for a in attempts(run))  # noqa: E731
    wait_for(kubectl, namespace, "held", "it trains", training, 120)
    kubectl("-n", namespace, "patch", "benchmarkrun", "held", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    stopped = lambda run: attempts(run) == [(1, 0, "NotConverged", "SuspendedInTraining")]  # noqa: E731
    held = wait_for(kubectl, namespace, "held", "its attempt has been stopped", stopped, 60)
    assert condition(held, "Suspended")["status"] == "True"
    until(lambda: not kubectl("-n", namespace, "get", "pods", "-o", "name").split(), 60, "its machines are free")
    kubectl("-n", namespace, "patch", "benchmarkrun", "held", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    wait_for(
        kubectl, namespace, "held", "attempt 2 trains", lambda run: attempts(run)[-1][:3] == (2, 0, "Training"), 120
    )
    assert get(kubectl, namespace, "held")["status"]["attempts"][0]["state"] == "NotConverged"
    kubectl("-n", namespace, "delete", "benchmarkrun", "held")
