"""A published result of llama2_70b_lora, replayed by the pods of a run: its score is that of the logs.

PODIUM_TEST_RESULTS names a folder with a clone of github.com/mlcommons/training_results_v5.1; without it, the logs are
made up.
"""

from __future__ import annotations

import json
import statistics

import pytest

from tests.e2e.run_queries import Bucket, attempts, condition, ended, wait_for
from tests.unit.cli.test_replay import PUBLISHED, made_up, published

SPEED = 60
RUN = {
    "round": "v5.1",
    "benchmark": "llama2_70b_lora",
    "division": "open",  # a closed run needs accelerators, of which the nodes have none
    "parallelAttempts": 5,
    "system": {"name": "box", "nodes": 1},
    "data": {"persistentVolumeClaim": {"claimName": "logs"}},
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A folder with ten logs, which pods may read."""
    folder = tmp_path_factory.mktemp("replayed")
    found = (published if PUBLISHED.exists() else made_up)(folder)
    for place in (folder, folder / "logs", found):
        place.chmod(0o755)
    return found


@pytest.fixture
def claim(kubectl, namespace, logs):
    """A claim whose volume is that folder."""
    name = f"logs-{namespace}"
    spec = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **spec,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": str(logs), "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": "logs"},
        },
    }
    spec = {**spec, "resources": {"requests": {"storage": "1Gi"}}}
    claimed = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "logs"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=volume)
    kubectl("-n", namespace, "apply", "-f", "-", stdin=claimed)
    yield
    kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.mark.timeout(900)
def test_ten_replays_score_as_the_logs_do(kubectl, namespace, operator, s3, operator_image, logs, claim):
    program = ["env", "-u", "PYTHONPATH", "/opt/podium/bin/podium"]  # the image's own, not that of the mounted packages
    command = [*program, "replay", "--speed", str(SPEED), *(f"/data/result_{n}.txt" for n in range(10))]
    spec = {**RUN, "template": {"image": operator_image, "command": command}}
    document = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "lora"}, "spec": spec}
    operator.start()
    kubectl("-n", namespace, "apply", "-f", "-", stdin=document)
    run = wait_for(kubectl, namespace, "lora", "the run is Complete", ended, 800)

    assert condition(run, "Complete")["status"] == "True", run["status"]
    assert [a[:3] for a in attempts(run)] == [(i, 0, "Converged") for i in range(1, 11)]
    bucket = Bucket(s3, run["status"]["result"]["uri"])
    assert bucket.verify() == run["status"]["result"]["sha256"]
    replays = [bucket.read(f"attempts/{n:03}/result.txt").decode() for n in range(1, 11)]
    originals = [(logs / f"result_{n}.txt").read_text() for n in range(10)]
    assert _score(replays) * SPEED == pytest.approx(_score(originals), rel=1e-6)


def _score(logs):
    """The olympic mean of the logs; nothing here uses Podium's arithmetic."""
    times = sorted(map(_seconds, logs))
    return statistics.fmean(times[1:-1])


def _seconds(log):
    events = [json.loads(line.partition(":::MLLOG ")[2]) for line in log.splitlines() if ":::MLLOG " in line]
    times = {event["key"]: event["time_ms"] / 1000 for event in events}
    return times["run_stop"] - times["run_start"]
