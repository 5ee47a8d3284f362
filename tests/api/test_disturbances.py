"""Twenty runs while the operators and the API server fail: nothing is lost, nothing is done twice.

Their pods are fake: they run for some seconds, and each plays back one recorded log.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import urllib.request

import pytest

from tests.api.test_crd import run
from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.faults import FaultyApi
from tests.cluster.fixtures import apply_crds, kubectl_for, needed_parts
from tests.cluster.parts import Operator, until
from tests.cluster.scenarios import Scenario, selected

RUNS, ATTEMPTS, POD_SECONDS = 20, 2, 16
INIT_SECONDS = 5  # an attempt is older than this when its operator fails
LEASE_SECONDS = 12
SPEC = {
    "round": "v0.6",
    "benchmark": "my-model",
    "division": "open",
    "attempts": ATTEMPTS,
    "maxRetries": 2,  # a try that is made again shows in the list of tries
    "quality": {"target": "0.9"},
    "system": {"name": "fake", "nodes": 1},
    "deadlines": {"pending": "2m", "init": f"{INIT_SECONDS}s", "run": "5m"},
    "template": {"image": "own:1", "command": ["train"]},
}
VALUES = [("run_start", None), *(("eval_accuracy", 0.5 + epoch / 25) for epoch in range(1, 11)), ("run_stop", None)]
RECORDED = "".join(
    ":::MLLOG " + json.dumps({
        "namespace": "", "time_ms": 1_700_000_000_000 + 60_000 * minute, "event_type": "POINT_IN_TIME", "key": key,
        "value": value, "metadata": {"status": "success"} if key == "run_stop" else {"epoch_num": minute},
    }) + "\n"
    for minute, (key, value) in enumerate(VALUES)
)  # fmt: skip


def leads(operator):
    try:
        with urllib.request.urlopen(f"{operator.url}/readyz", timeout=5) as response:
            return response.read().strip() == b"leading"
    except OSError:  # it is not ready, or has ended
        return False


class Cluster:
    """A control plane with fake nodes, and operators that share a Lease."""

    def __init__(self, folder):
        self.folder = folder
        self.plane = ControlPlane(folder / "plane")
        self.results = folder / "results"
        self.kubectl = None

    def up(self):
        self.plane.up(scheduler=True)
        recorded = self.folder / "recorded.log"
        recorded.write_text(RECORDED)
        kwok.start_nodes(self.plane, 2, pod_seconds=POD_SECONDS, replay=recorded)
        apply_crds(self.plane.kubeconfig)
        self.kubectl = kubectl_for(self.plane.kubeconfig)

    def operator(self, name, kubeconfig=None):
        folder = self.folder / name
        folder.mkdir()
        defaults = folder / "trainer-defaults.json"
        defaults.write_text(json.dumps({"image": "own:1"}))
        options = ["--results-url", str(self.results), "--namespace", "default", "--lease", "default/podium"]
        options += ["--trainer-defaults", str(defaults)]
        return Operator(kubeconfig or self.plane.kubeconfig, folder, options, {})

    def create_runs(self):
        items = [run(SPEC, f"run-{number}") for number in range(RUNS)]
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})

    def runs(self):
        return json.loads(self.kubectl("get", "benchmarkruns", "-o", "json"))["items"]

    def train(self, attempt):
        """Wait until this attempt of every run trains, or has ended."""

        def all_train():
            tries = [try_ for run in self.runs() for try_ in run.get("status", {}).get("attempts", ())]
            assert not [try_ for try_ in tries if try_["state"] == "Failed"], tries
            done = [try_ for try_ in tries if try_["index"] == attempt]
            return len(done) == RUNS and all(try_["state"] not in ("Pending", "Initializing") for try_ in done)

        until(all_train, 60, f"attempt {attempt} of every run trains")

    def check(self):
        """All runs end well, each attempt in its first try, and their results are whole."""

        def ended():
            return all(run.get("status", {}).get("result") for run in self.runs())

        until(ended, 120, "all runs have ended")
        expected = [(index, 0, "Converged") for index in range(1, ATTEMPTS + 1)]
        for each in self.runs():
            status = each["status"]
            assert [(a["index"], a["try"], a["state"]) for a in status["attempts"]] == expected, each
            folder = self.results / f"default/{each['metadata']['name']}-{each['metadata']['uid'][:8]}"
            sums = (folder / "SHA256SUMS").read_bytes()
            assert hashlib.sha256(sums).hexdigest() == status["result"]["sha256"]
            for line in sums.decode().splitlines():
                digest, _, name = line.partition("  ")
                assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
            for index in range(1, ATTEMPTS + 1):
                rows = (folder / f"attempts/{index:03}/result.txt").read_text().splitlines()
                assert [json.loads(row.removeprefix(":::MLLOG "))["key"] for row in rows] == [key for key, _ in VALUES]

        def succeeded():
            """The Job controller may still be counting; a Job that it does not end for long is deleted."""
            jobs = json.loads(self.kubectl("get", "jobs", "-o", "json"))["items"]
            assert len(jobs) <= RUNS * ATTEMPTS
            return all(job["status"].get("succeeded") == 1 for job in jobs)

        until(succeeded, 60, "every Job that exists has succeeded")


def a_leader_is_killed_and_its_successor_is_frozen(cluster):
    first, second = cluster.operator("first"), cluster.operator("second")
    try:
        first.start()
        until(lambda: leads(first), 20, "the first leads")
        second.start()
        cluster.create_runs()
        cluster.train(attempt=1)
        time.sleep(INIT_SECONDS)
        first.kill()
        until(lambda: leads(second), 30, "the second leads")
        first.start()
        cluster.train(attempt=2)
        os.kill(second.pid, signal.SIGSTOP)
        until(lambda: leads(first), 30, "the first leads again")
        time.sleep(LEASE_SECONDS / 2)
        os.kill(second.pid, signal.SIGCONT)
        cluster.check()
        time.sleep(3)
        cluster.check()  # the one that was frozen has changed nothing
        assert leads(first)
    finally:
        first.stop()
        second.kill()


def the_api_server_is_overloaded_forgets_and_restarts(cluster):
    """429 and 500 for 15 s each, every watch expired, and a server that is killed and comes back."""
    proxy = FaultyApi(cluster.plane, cluster.folder)
    proxy.start()
    operator = cluster.operator("operator", proxy.kubeconfig)
    try:
        operator.start()
        until(lambda: leads(operator), 20, "the operator leads")
        cluster.create_runs()
        cluster.train(attempt=1)
        for status in (429, 500):
            with proxy.answering(status):
                time.sleep(15)
        assert proxy.spoiled, "the operator has met the faults"
        operator.restart()  # it has ended if it could not renew its Lease
        until(lambda: proxy.watches >= 3, 30, "the operator watches runs, Jobs and pods again")
        proxy.expire()
        cluster.train(attempt=2)
        cluster.plane.processes.stop("kube-apiserver", signal.SIGKILL)
        time.sleep(5)
        cluster.plane.up(scheduler=True)
        time.sleep(LEASE_SECONDS / 2)
        operator.restart()
        cluster.check()
    finally:
        operator.stop()
        proxy.stop()


SCENARIOS = (a_leader_is_killed_and_its_successor_is_frozen, the_api_server_is_overloaded_forgets_and_restarts)


@pytest.fixture(scope="module")
def scenarios(request, tmp_path_factory):
    """Those that were selected, started, each on a control plane of its own."""

    def start(act):
        cluster = Cluster(tmp_path_factory.mktemp(act.__name__))

        def run():
            try:
                cluster.up()
                act(cluster)
            finally:
                cluster.plane.down()

        return Scenario(run)

    chosen = selected(request, "act")
    return {act: start(act) for act in SCENARIOS if act in chosen}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", SCENARIOS, ids=lambda act: act.__name__)
def test_nothing_is_lost_when(scenarios, act):
    with needed_parts():
        scenarios[act].result()
