"""The fake pods that performance is measured with: their logs behave like those of a kubelet."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from podium.mllog import parse
from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import kubectl_for, needed_parts
from tests.cluster.parts import until

RECORDED = "".join(
    f':::MLLOG {{"namespace": "", "time_ms": {1_700_000_000_000 + 60_000 * minute}, "event_type": "POINT_IN_TIME",'
    f' "key": "{key}", "value": null, "metadata": {{}}}}\n'
    for minute, key in enumerate(("run_start", "eval_accuracy", "run_stop"))
)


@pytest.fixture
def fake_node(tmp_path):
    """A function like kubectl; a pod runs for 6 s, its log takes the first 4.8 of them, a stream of it all."""
    log = tmp_path / "recorded.log"
    log.write_text(RECORDED)
    plane = ControlPlane(tmp_path / "plane")
    with needed_parts():
        try:
            plane.up(scheduler=True)
            kwok.start_nodes(plane, 1, pod_seconds=6, replay=log)
            yield kubectl_for(plane.kubeconfig)
        finally:
            plane.down()


def test_a_log_is_played_back_while_its_pod_runs(fake_node):
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fake"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}},
    }
    fake_node("apply", "-f", "-", stdin=job)
    until(lambda: "Running" in fake_node("get", "pods", "--no-headers"), 20, "the pod runs", every=0.05)
    started = time.monotonic()
    followed = fake_node("logs", "-f", "job/fake")  # returns: the stream ends, with the pod
    assert time.monotonic() - started > 5.5

    times = [event.time for event in parse(followed)[0]]
    assert times[-1] - times[0] == pytest.approx(4.8, abs=0.01)
    fake_node("wait", "--for=condition=Complete", "job/fake", "--timeout=20s")
    pod = json.loads(fake_node("get", "pods", "-o", "json"))["items"][0]
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert datetime.fromisoformat(ended["startedAt"]).timestamp() <= times[0]
    assert times[-1] <= datetime.fromisoformat(ended["finishedAt"]).timestamp() + 1  # reported in whole seconds
    assert fake_node("logs", "job/fake") == followed
    assert fake_node("logs", "job/fake", "--tail=1") == followed.splitlines(keepends=True)[-1]
