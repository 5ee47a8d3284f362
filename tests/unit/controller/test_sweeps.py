"""Sweeps: what they read and write, and what they say of a refusal. tests/api has a real API server."""

from __future__ import annotations

import copy

import pytest

from podium.controller.sweeps import SWEEP_LABEL, Sweeps, is_of, read_node, read_sweep_run
from podium.kube import ApiError
from podium.rounds import load_rounds
from tests.unit.reconcile.test_sweep import TEMPLATE, UID

SWEEP = {
    "metadata": {"namespace": "lab", "name": "fleet", "uid": UID, "generation": 1},
    "spec": {"over": "nodes", "nodes": {"selector": {"pool": "gpu"}}, "template": TEMPLATE},
}
READY = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": "8"}}


class Api:
    """One sweep, its runs and the nodes, in memory."""

    def __init__(self):
        self.sweep = copy.deepcopy(SWEEP)
        self.runs, self.nodes, self.refusal = [], [], {}

    async def get(self, resource, namespace, name):
        assert (resource.plural, namespace, name) == ("benchmarksweeps", "lab", "fleet")
        return copy.deepcopy(self.sweep)

    async def pages(self, resource, namespace, selector):
        if resource.plural in self.refusal:
            raise self.refusal[resource.plural]
        if resource.plural == "nodes":
            assert (namespace, selector) == (None, "pool=gpu")
        yield copy.deepcopy(self.nodes if resource.plural == "nodes" else self.runs), "1"

    async def create(self, resource, namespace, body):
        if "create" in self.refusal:
            raise self.refusal["create"]
        if any(run["metadata"]["name"] == body["metadata"]["name"] for run in self.runs):
            raise ApiError(409, "AlreadyExists", "exists")
        self.runs.append({**body, "metadata": {**body["metadata"], "uid": "r", "generation": 1}})

    async def patch_status(self, resource, namespace, name, operations, *, uid):
        assert uid == UID
        for operation in operations:
            *parts, last = operation["path"].strip("/").split("/")
            place = self.sweep
            for part in parts:
                place = place[part]
            place[last] = operation["value"]


@pytest.fixture
def api():
    made = Api()
    made.nodes = [{"metadata": {"name": f"gpu.{index}"}, "status": READY} for index in range(3)]
    return made


@pytest.fixture
def sweeps(api):
    made = Sweeps(api, load_rounds(), clock=lambda: 1.0)
    made.sweep_changed(api.sweep, deleted=False)
    return made


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


def again(api):
    """A new process."""
    made = Sweeps(api, load_rounds(), clock=lambda: 2.0)
    made.sweep_changed(api.sweep, deleted=False)
    return made


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
