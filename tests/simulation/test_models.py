"""The models behave as Kubernetes does, and a seed always gives the same world."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import guarantees
from tests.simulation.apiserver import ApiServer, Refused
from tests.simulation.disruptions import Disruptions
from tests.simulation.jobs import GarbageCollector, JobController
from tests.simulation.mutants import PATCHES, mutate
from tests.simulation.nodes import Cluster
from tests.simulation.podlogs import PodLogs
from tests.simulation.programs import Line, Program
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "guarantees.md"


class Models:
    """A cluster without an operator, in which every pod runs `program`."""

    def __init__(self, program: Program) -> None:
        self.world = World(1)
        self.server = ApiServer(self.world)
        self.logs = PodLogs(self.world)
        self.cluster = Cluster(self.world, self.server, self.logs, 3, lambda pod: program)
        self.disruptions = Disruptions(self.world, self.server, self.cluster)
        self.jobs = JobController(self.world, self.server)
        self.garbage = GarbageCollector(self.world, self.server)

    def create_job(self, nodes: int = 2, **spec: object) -> None:
        template = {"metadata": {"labels": {"podium.dev/run-uid": "run"}}}
        spec = {"completions": nodes, "parallelism": nodes, "backoffLimit": 0, "template": template, **spec}
        self.server.create("jobs", "lab", {"metadata": {"name": "job"}, "spec": spec})

    def after(self, seconds: float) -> dict[str, str]:
        """Let time pass. Returns the true conditions of the Job with their reasons."""
        self.world.run(lambda: False, self.world.now + seconds)
        job = self.server.find("jobs", "lab", "job")
        return {c["type"]: c["reason"] for c in job["status"]["conditions"]} if job else {}

    def pods(self) -> list[tuple[str, str, bool]]:
        """Return index, phase and whether it is being deleted, of every pod."""
        found = [
            (p["metadata"]["name"].split("-")[1], p["status"]["phase"], "deletionTimestamp" in p["metadata"])
            for p in self.server.all("pods")
        ]
        return sorted(found)


def program(ends: float = 100, exit_code: int = 0, lines: int = 3, leaves_with: int = 143) -> Program:
    printed = tuple(Line(10.0 * i, "", f"line {i}") for i in range(1, lines + 1))
    return Program("converges", printed, ends, exit_code, leaves_after=3, leaves_with=leaves_with, survives=20)


@pytest.fixture
def server():
    return ApiServer(World(1))


def test_a_job_whose_pods_succeed_is_complete():
    models = Models(program())
    models.create_job()
    assert models.after(60) == {}
    assert models.pods() == [("0", "Running", False), ("1", "Running", False)]
    assert models.after(100) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}


def test_a_failed_pod_ends_the_others_and_then_the_job():
    models = Models(program(exit_code=1))
    models.create_job()
    assert models.after(300) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}


def test_a_pod_on_a_dead_node_keeps_the_job_from_failing():
    """Since Kubernetes 1.31, Failed waits for terminating pods; FailureTarget does not."""
    models = Models(program(ends=10_000))
    models.create_job()
    models.after(60)
    lost = models.cluster.running()[0]
    models.disruptions.lose(lost.node, power=True)
    assert models.after(60) == {"FailureTarget": "BackoffLimitExceeded"}  # the other rank has failed
    assert (str(lost.index), "Running", True) in models.pods()
    models.disruptions.restore(lost.node)
    assert models.after(60)["Failed"] == "BackoffLimitExceeded"


def test_a_lost_node_is_tolerated_for_five_minutes():
    models = Models(program(ends=10_000))
    models.create_job(nodes=1)
    models.after(60)
    models.disruptions.lose(models.cluster.running()[0].node, power=False)
    models.after(300)
    assert models.pods() == [("0", "Running", False)]
    models.after(60)
    assert models.pods() == [("0", "Running", True)]
    (pod,) = models.server.all("pods")
    assert "DeletionByTaintManager" in [c.get("reason") for c in pod["status"]["conditions"]]


def test_a_suspended_job_has_no_pods_and_starts_counting_when_resumed():
    models = Models(program(ends=10_000))
    models.create_job(suspend=True, activeDeadlineSeconds=100)
    assert models.after(500) == {"Suspended": "JobSuspended"}
    assert models.pods() == []
    models.server.update("jobs", "lab", "job", lambda body: body["spec"].update(suspend=False))
    assert models.after(90) == {}
    assert models.after(60)["FailureTarget"] == "DeadlineExceeded"


def test_pods_of_a_deleted_job_get_sigterm():
    models = Models(program(ends=10_000, leaves_with=0))
    models.create_job(nodes=1)
    models.after(60)
    models.server.delete("jobs", "lab", "job")
    models.after(30)
    assert models.pods() == []
    (container,) = models.cluster.containers.values()
    assert (container.exit_code, container.cause) == (0, "deleted")


def test_a_pod_waits_for_the_node_that_it_is_pinned_to():
    models = Models(program(ends=100))
    models.cluster.nodes["node-1"].lost_since = 0.0
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    template = {
        "metadata": {"labels": {"podium.dev/run-uid": "run"}},
        "spec": {"affinity": {"nodeAffinity": required}},
    }
    models.create_job(nodes=1, template=template)
    models.after(60)
    assert models.pods() == [("0", "Pending", False)]
    models.cluster.nodes["node-1"].lost_since = None
    models.after(60)
    assert models.pods() == [("0", "Running", False)]
    assert [container.node.name for container in models.cluster.running()] == ["node-1"]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_the_runs_of_a_sweep_go_with_it(policy):
    models = Models(program())
    sweep = models.server.create("benchmarksweeps", "lab", {"metadata": {"name": "a"}})
    owners = [{"kind": "BenchmarkSweep", "name": "a", "uid": sweep["metadata"]["uid"]}]
    models.server.create("benchmarkruns", "lab", {"metadata": {"name": "a-1", "ownerReferences": owners}})
    models.server.create("benchmarkruns", "lab", {"metadata": {"name": "own"}})
    models.after(60)
    models.server.delete("benchmarksweeps", "lab", "a", policy=policy)
    models.after(30)
    models.server.create("benchmarkruns", "lab", {"metadata": {"name": "late", "ownerReferences": owners}})
    models.after(30)
    assert [run["metadata"]["name"] for run in models.server.all("benchmarkruns")] == ["own"]
    assert models.server.all("benchmarksweeps") == []


def test_writes_with_preconditions(server):
    run = server.create("benchmarkruns", "lab", {"metadata": {"name": "a"}, "spec": {}})
    uid = run["metadata"]["uid"]

    def patch(uid, **added):
        operations = [{"op": "add", "path": path, "value": value} for path, value in added.items()]
        test = {"op": "test", "path": "/metadata/uid", "value": uid}
        return server.patch_status("benchmarkruns", "lab", "a", [test, *operations])

    for refused in ({"uid": "other", "/status": {}}, {"uid": uid, "/status/x": 1}, {"uid": uid, "/status": 2**63}):
        with pytest.raises(Refused) as answer:
            patch(**refused)
        assert answer.value.code == 422
    patch(uid, **{"/status": {"x": 1, "y": {"z": 2}}})
    after = patch(uid, **{"/status/x": 3, "/status/y/w": 4, "/metadata/name": "b"})
    assert (after["metadata"]["name"], after["status"]) == ("a", {"x": 3, "y": {"z": 2, "w": 4}})
    with pytest.raises(Refused, match="already exists"):
        server.create("benchmarkruns", "lab", {"metadata": {"name": "a"}, "spec": {}})
    with pytest.raises(Refused, match="UID in the precondition"):
        server.delete("benchmarkruns", "lab", "a", uid="other")


def test_a_run_whose_deletion_waits_has_another_generation(server):
    server.create("benchmarkruns", "lab", {"metadata": {"name": "a"}, "spec": {}})
    server.delete("benchmarkruns", "lab", "a", policy="Foreground")
    metadata = server.get("benchmarkruns", "lab", "a")["metadata"]
    assert (metadata["generation"], metadata["finalizers"]) == (2, ["foregroundDeletion"])


def test_a_watch_cannot_be_resumed_after_compaction(server):
    server.create("jobs", "lab", {"metadata": {"name": "a"}})
    version = server.version
    server.create("jobs", "lab", {"metadata": {"name": "b"}})
    assert [c.object["metadata"]["name"] for c in server.since("jobs", version)] == ["b"]
    server.compact()
    with pytest.raises(Refused) as refused:
        server.since("jobs", version)
    assert refused.value.code == 410


def test_the_page_of_guarantees_is_up_to_date():
    assert PAGE.read_text() == guarantees.page(), "run make generate"


def test_a_seed_always_gives_the_same_world():
    def timeline(seed: int) -> str:
        command = [sys.executable, "-m", "tests.simulation", "-v", "--seed", str(seed)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout

    for seed in (2, 14, 16):  # the second has a sweep
        first = timeline(seed)
        assert len(first.splitlines()) > 20
        assert timeline(seed) == first


@pytest.mark.parametrize("patch", sorted(PATCHES.iterdir()), ids=lambda patch: patch.stem)
def test_a_mutant_still_applies(patch, tmp_path):
    mutate(patch, tmp_path)
