"""Sweeps: what they read and write, and what they say of a refusal. tests/api has a real API server."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest

from podium.controller.sweeps import SWEEP_LABEL, Sweeps, is_of, read_node, read_sweep_run
from podium.controller.uploads import Recorder
from podium.kube import ApiError
from podium.metrics import Metrics
from podium.rounds import load_rounds
from podium.stores import FileStore, StoreUnavailable
from tests.unit.reconcile.test_sweep import TEMPLATE, UID

SWEEP = {
    "metadata": {"namespace": "lab", "name": "fleet", "uid": UID, "generation": 1},
    "spec": {"over": "nodes", "nodes": {"selector": {"pool": "gpu"}}, "template": TEMPLATE},
}
READY = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": "8"}}


class Death(BaseException):
    """The operator's process ends."""


class Life:
    """Counts the beginnings and the ends of writes, and ends the process at one of them."""

    def __init__(self, kill_at=0):
        self.kill_at, self.writes = kill_at, 0

    def tick(self):
        self.writes += 1
        if self.writes == self.kill_at:
            raise Death


class Api:
    """One sweep, its runs and the nodes, in memory."""

    def __init__(self, life=None):
        self.life = life or Life()
        self.sweep = copy.deepcopy(SWEEP)
        self.runs, self.nodes, self.refusal = [], [], {}

    async def get(self, resource, namespace, name):
        if resource.plural == "benchmarkruns":
            return next(copy.deepcopy(run) for run in self.runs if run["metadata"]["name"] == name)
        if self.sweep is None:
            raise ApiError(404, "NotFound", "not found")
        assert (resource.plural, namespace, name) == ("benchmarksweeps", "lab", "fleet")
        return copy.deepcopy(self.sweep)

    async def pages(self, resource, namespace, selector):
        if resource.plural in self.refusal:
            raise self.refusal[resource.plural]
        if resource.plural == "nodes":
            assert (namespace, selector) == (None, "pool=gpu")
        yield copy.deepcopy(self.nodes if resource.plural == "nodes" else self.runs), "1"

    async def create(self, resource, namespace, body):
        self.life.tick()
        if "create" in self.refusal:
            raise self.refusal["create"]
        if any(run["metadata"]["name"] == body["metadata"]["name"] for run in self.runs):
            raise ApiError(409, "AlreadyExists", "exists")
        self.runs.append({**body, "metadata": {**body["metadata"], "uid": "r", "generation": 1}})
        self.life.tick()

    async def patch_status(self, resource, namespace, name, operations, *, uid):
        assert uid == UID
        self.life.tick()
        for operation in operations:
            *parts, last = operation["path"].strip("/").split("/")
            place = self.sweep
            for part in parts:
                place = place[part]
            place[last] = operation["value"]
        self.life.tick()


@pytest.fixture
def api():
    made = Api()
    made.nodes = [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in range(3)]
    return made


class Disk(FileStore):
    """A store that can be out of order."""

    def __init__(self, folder, life=None):
        super().__init__(folder)
        self.folder, self.life, self.broken = folder, life or Life(), False

    def put(self, key, data, **options):
        if self.broken:
            raise StoreUnavailable("the disk is full; free some space")
        self.life.tick()
        super().put(key, data, **options)
        self.life.tick()

    def child(self, prefix):
        found = Disk(self.folder / prefix, self.life)
        found.broken = self.broken
        return found


@pytest.fixture
def store(tmp_path):
    return Disk(tmp_path)


def again(api, store=None):
    """A new process."""
    recorder = store and Recorder(store, Metrics(list, int, int))
    made = Sweeps(api, recorder, load_rounds(), clock=lambda: 1.0)
    made.sweep_changed(api.sweep, deleted=False)
    return made


@pytest.fixture
def sweeps(api, store):
    return again(api, store)


async def test_each_node_gets_a_run_that_the_sweep_owns(api, sweeps):
    await sweeps._work(UID)
    assert [run["metadata"]["annotations"]["podium.dev/sweep-row"] for run in api.runs] == ["gpu.0", "gpu.1", "gpu.2"]
    assert all(run["metadata"]["labels"] == {SWEEP_LABEL: UID} and is_of(run, UID) for run in api.runs)
    await sweeps._work(UID)
    assert len(api.runs) == 3
    assert api.sweep["status"]["counts"]["running"] == 3


async def test_one_that_died_before_the_status_makes_no_run_twice(api, sweeps):
    await sweeps._work(UID)
    del api.sweep["status"]
    await again(api)._work(UID)
    assert len(api.runs) == 3


async def test_a_run_that_no_list_shows_yet_is_not_an_error(api, sweeps):
    await sweeps._work(UID)
    made, api.runs = api.runs, []
    create = api.create

    async def exists(resource, namespace, body):
        api.runs = made
        await create(resource, namespace, body)

    api.create = exists
    await sweeps._work(UID)
    assert len(api.runs) == 3


async def test_somebodys_run_of_that_name_is_named(api, sweeps):
    await sweeps._work(UID)
    made, name = api.runs, api.runs[1]["metadata"]["name"]
    del made[1]["metadata"]["ownerReferences"]
    await sweeps._work(UID)
    complete = api.sweep["status"]["conditions"][0]
    said = f"BenchmarkRun {name} exists and is not of this sweep; delete it, so that the sweep can create its own"
    assert (complete["status"], complete["message"]) == ("False", said)
    del made[1]
    await sweeps._work(UID)
    assert is_of(api.runs[2], UID)
    assert "rows are measured" in api.sweep["status"]["conditions"][0]["message"]


@pytest.mark.parametrize("end", ["gone", "another", "going", "complete"])
async def test_a_sweep_that_is_over_is_not_remembered(api, sweeps, end):
    await sweeps._work(UID)
    if end == "gone":  # and no watch has said so
        api.sweep = None
    elif end == "another":
        api.sweep["metadata"]["uid"] = "other"
    elif end == "going":
        api.sweep["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    else:
        api.sweep["status"]["conditions"][0]["status"] = "True"
    await sweeps._work(UID)
    assert (sweeps._places, sweeps._generations) == ({}, {})


async def test_an_edit_while_a_sweep_fails_is_not_forgotten(api, sweeps):
    api.sweep["spec"]["template"] = {}
    patch = api.patch_status

    async def edited(*args, **more):
        await patch(*args, **more)
        api.sweep["metadata"]["generation"] = 2
        sweeps.sweep_changed(api.sweep, deleted=False)

    api.patch_status = edited
    await sweeps._work(UID)
    assert sweeps._generations == {UID: 2}


@pytest.mark.parametrize("what", ["nodes", "create"])
async def test_what_the_api_server_forbids_stands_in_the_status(api, sweeps, what):
    api.refusal[what] = ApiError(403, "Forbidden", "exceeded quota: gpus")
    await sweeps._work(UID)
    complete, failed = api.sweep["status"]["conditions"]
    assert (complete["status"], complete["message"], failed["status"]) == ("False", "exceeded quota: gpus", "False")
    api.refusal.clear()
    await sweeps._work(UID)
    assert len(api.runs) == 3


async def test_a_run_that_no_schema_allows_ends_the_sweep(api, sweeps):
    api.refusal["create"] = ApiError(422, "Invalid", "spec.round: unsupported value")
    await sweeps._work(UID)
    failed = api.sweep["status"]["conditions"][1]
    assert (failed["status"], failed["message"]) == ("True", "spec.template: spec.round: unsupported value")


async def test_what_may_pass_is_tried_again(api, sweeps):
    api.refusal["nodes"] = ApiError(500, "InternalError", "etcd")
    with pytest.raises(ApiError):
        await sweeps._work(UID)


async def test_a_run_with_its_label_that_it_does_not_own_is_not_its_run(api, sweeps):
    api.runs = [{"metadata": {"name": "x", "labels": {SWEEP_LABEL: UID}, "ownerReferences": []}, "spec": {}}]
    await sweeps._work(UID)
    assert len(api.runs) == 4


async def test_a_huge_or_odd_spec_fails_with_a_sentence(api, sweeps):
    api.sweep["spec"]["template"] = {**TEMPLATE, "hyperparameters": {"x": "y" * 70_000}}
    await sweeps._work(UID)
    assert "at most 65536 are allowed" in api.sweep["status"]["conditions"][1]["message"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"spec": {"unschedulable": True}}, "node a is cordoned"),
        ({"status": {}}, "node a is not ready: it has not reported"),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": "gone"}]}},
            "node a is not ready: gone",
        ),
    ],
)
def test_what_is_wrong_with_a_node(change, problem):
    assert read_node({"metadata": {"name": "a"}, "status": READY, **change}).problem == problem


def test_a_run_that_somebody_has_edited_does_not_stop_the_sweep():
    metadata = {"name": "x", "namespace": "lab", "uid": "u", "generation": 1}
    annotations = {"podium.dev/sweep-row": "a", "podium.dev/sweep-number": "many"}
    body = {"metadata": {**metadata, "annotations": annotations}, "spec": TEMPLATE, "status": {"attempts": 5}}
    found = read_sweep_run(body)
    assert (found.row, found.number, found.ended) == ("a", 0, False)


# ---- the result ----

RATES = {"gpu.0": "100", "gpu.1": "100", "gpu.2": "95", "a": "100", "b": "100"}


def finish(api):
    """Each run ends with the rate of its node, and a result."""
    for run in api.runs:
        name, row = run["metadata"]["name"], run["metadata"]["annotations"]["podium.dev/sweep-row"]
        attempt = {"index": 1, "state": "Measured", "seed": 1, "job": "j", "samplesPerSecond": RATES[row]}
        end = {"type": "Complete", "status": "True", "reason": "Scored", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        result = {"uri": f"s3://bucket/lab/{name}", "sha256": hashlib.sha256(name.encode()).hexdigest()}
        run["status"] = {"attempts": [attempt], "conditions": [end], "result": result}


async def to_the_end(api, store):
    for _ in range(20):
        await again(api, store)._work(UID)
        finish(api)
        if api.sweep["status"]["conditions"][0]["status"] == "True":
            return api.sweep["status"]
    raise AssertionError("it never ends")


async def test_the_result_has_every_row_and_the_results_of_its_runs(api, store, tmp_path):
    status = await to_the_end(api, store)
    content = (tmp_path / "lab" / f"fleet-{UID[:8]}" / "sweep.json").read_bytes()
    assert status["result"] == {
        "uri": f"{store.url}/lab/fleet-{UID[:8]}/sweep.json", "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    document = json.loads(content)
    assert (document["schema"], document["sweep"]["uid"]) == ("podium.dev/sweep/v1", UID)
    assert (document["rows"], document["counts"]) == (status["rows"], status["counts"])
    assert document["message"] == status["conditions"][0]["message"]
    assert document["spec"] == SWEEP["spec"]
    assert {run["name"] for run in document["runs"]} == {run["metadata"]["name"] for run in api.runs}
    slow = [run for run in document["runs"] if run["row"] == "gpu.2"]
    assert [run["number"] for run in slow] == list(range(1, len(slow) + 1))
    assert slow[0]["rates"] == [95.0]
    assert slow[0]["result"]["uri"] == f"s3://bucket/lab/{slow[0]['name']}"


async def test_credentials_are_not_stored(api, store, tmp_path):
    env = [{"name": "API_TOKEN", "value": "abcdefghijk"}]
    api.sweep["spec"] = {
        "over": "variants", "template": {**TEMPLATE, "template": {"env": env, "annotations": {"my-key": "x"}}},
        "variants": [{"name": "a", "patch": {}},
                     {"name": "b", "patch": {"template": {"env": env, "annotations": {"my-key": None}}}}],
    }  # fmt: skip
    await to_the_end(api, store)
    text = next(tmp_path.rglob("sweep.json")).read_text()
    assert text.count("<redacted>") == 2
    assert "abcdefghijk" not in text
    assert json.loads(text)["spec"]["variants"][1]["patch"]["template"]["annotations"] == {"my-key": None}


async def test_an_outage_of_the_store_only_delays_the_end(api, store):
    store.broken = True
    with pytest.raises(AssertionError, match="it never ends"):
        await to_the_end(api, store)
    status = api.sweep["status"]
    complete = status["conditions"][0]
    assert (complete["status"], "result" in status, status["counts"]["slow"]) == ("False", False, 1)
    said = "2 ok, 1 slow; the result cannot be stored: the disk is full; free some space"
    assert complete["message"] == said
    store.broken = False
    assert "result" in await to_the_end(api, store)


async def test_another_result_that_is_stored_already_is_not_replaced(api, store, tmp_path):
    """An operator that died had stored it, and then the fleet changed."""
    await to_the_end(api, store)
    first, stored = api.sweep["status"], next(tmp_path.rglob("sweep.json"))
    content = stored.read_bytes()
    del api.sweep["status"]
    api.nodes.append({"metadata": {"name": "gpu.3"}, "status": {}})
    second = await to_the_end(api, store)
    assert stored.read_bytes() == content
    assert (second["result"], second["rows"], second["worst"]) == (first["result"], first["rows"], first["worst"])
    stored.write_bytes(content.replace(UID.encode(), b"another"))
    del api.sweep["status"]
    with pytest.raises(AssertionError, match="it never ends"):
        await to_the_end(api, store)
    said = api.sweep["status"]["conditions"][0]["message"]
    assert "sweep.json is the result of another sweep (another); move the file away" in said


async def test_a_sweep_that_has_ended_is_not_taken_up_again(api, store):
    await to_the_end(api, store)
    runs = len(api.runs)
    api.sweep["metadata"]["generation"], api.sweep["spec"]["verdict"] = 2, {"minRuns": 3}
    await again(api, store)._work(UID)
    assert len(api.runs) == runs


async def test_an_operator_that_is_killed_at_any_write_loses_and_doubles_nothing(tmp_path):
    """Before a write takes effect, and after it, without an acknowledgment."""

    async def whole(folder, life):
        api, store = Api(life), Disk(folder, life)
        api.nodes = [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in range(3)]
        try:
            await to_the_end(api, store)
        except Death:
            await to_the_end(api, store)
        runs = sorted(run["metadata"]["name"] for run in api.runs)
        return runs, api.sweep["status"], next(folder.rglob("sweep.json")).read_bytes()

    undisturbed = Life()
    expected = await whole(tmp_path / "0", undisturbed)
    assert undisturbed.writes > 10
    for kill_at in range(1, undisturbed.writes + 1):
        life = Life(kill_at)
        found = await whole(tmp_path / str(kill_at), life)
        found[1]["result"]["uri"] = expected[1]["result"]["uri"]
        assert found == expected, kill_at
