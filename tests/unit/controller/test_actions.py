"""What becomes of a Job whose name is taken."""

from __future__ import annotations

import copy
import time

import pytest

from podium.api import TryId, unix_seconds
from podium.controller.actions import ActionExecutor
from podium.controller.observation import Observation
from podium.controller.state import RunState
from podium.kube import JOBS, ApiError
from podium.launch import Inputs, TrainerDefaults
from podium.reconcile import CreateJob
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

CREATE = CreateJob(TryId(attempt=1, number=0))


class Server:
    """Has a Job of the name that is asked for, changed by `change`."""

    def __init__(self, change):
        self.change = change
        self.job = None

    async def create(self, resource, namespace, body):
        if resource != JOBS:
            return body
        self.job = copy.deepcopy(body)
        self.job["metadata"] |= {"uid": "j1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        self.change(self.job["metadata"])
        raise ApiError(409, "AlreadyExists", "exists")

    async def get(self, resource, namespace, name):
        assert (resource, namespace) == (JOBS, "lab")
        if name != "podium-digits-1-0":
            raise ApiError(404, "NotFound", name)
        return self.job


async def executed(change):
    """The state of a run after its first Job was to be created, and whether to look again at once."""
    woken = []
    state = RunState(ex.run(), None, Observation("lab"))
    actions = ActionExecutor(
        Server(change), None, None, inputs=Inputs(load_rounds()), wake=lambda *call: woken.append(call)
    )  # fmt: skip
    look_again = await actions.execute(state, [CREATE])
    assert bool(woken) is not look_again  # a refusal is looked at again later
    return state, look_again


async def test_a_job_that_an_earlier_call_created_is_adopted():
    state, holds = await executed(lambda metadata: None)
    assert holds
    state.observation.update([], [], 0.0)
    assert state.observation.jobs[CREATE.id].uid == "j1"


@pytest.mark.parametrize(("created", "seconds"), [("2026-01-01T00:00:00Z", None), ("2126-01-01T00:00:00Z", 0.0)])
async def test_nothing_was_printed_before_the_job_was_asked_for(created, seconds):
    """By the clock of this machine, unless an earlier process may have created it."""
    state, _ = await executed(lambda metadata: metadata.update(creationTimestamp=created))
    asked_for = state.asked_for(CREATE.id)
    expected = unix_seconds(created) if seconds is None else time.time() - seconds
    assert asked_for == pytest.approx(expected, abs=30)
    assert state.asked_for(TryId(attempt=2, number=0)) is None


@pytest.mark.parametrize("uid", ["j1", "another"])
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("labels"),
        lambda m: m["labels"].update({"podium.dev/try": "4"}),
        lambda m: m.pop("ownerReferences"),
        lambda m: (m.pop("labels"), m.update(ownerReferences=OTHER_RUN)),
    ],
)
async def test_a_recorded_job_without_its_labels_or_its_owner_is_no_lost_one(uid, change):
    """Another try would run beside it. One that somebody else created under its name is not ours."""
    server, state = Server(change), RunState(ex.run(ex.status(ex.attempt(job_uid=uid))), None, Observation("lab"))
    actions = ActionExecutor(server, None, None, inputs=Inputs(load_rounds()), wake=lambda *_: None)
    await actions.execute(state, [CREATE])
    assert await actions.confirm(state, [CREATE.id])
    assert [job.uid for job in state.observation.jobs.values()] == (["j1"] if uid == "j1" else [])


async def test_the_administrator_names_the_submitter_of_runs_that_do_not():
    server, state = Server(lambda metadata: None), RunState(ex.run(), None, Observation("lab"))
    trainer = TrainerDefaults.model_validate({"submission": {"org": "ACME"}})
    actions = ActionExecutor(server, None, None, inputs=Inputs(load_rounds(), trainer), wake=lambda *_: None)
    await actions.execute(state, [CREATE])
    (container,) = server.job["spec"]["template"]["spec"]["containers"]
    assert {"name": "PODIUM_SUBMISSION_ORG", "value": "ACME"} in container["env"]


async def test_a_seed_is_drawn_at_each_launch_and_kept_on_the_job():
    """The same run under the same uid gets others: nobody can shop for a uid that gives good ones."""
    seeds = set()
    for _ in range(4):
        server, state = Server(lambda metadata: None), RunState(ex.run(), None, Observation("lab"))
        actions = ActionExecutor(server, None, None, inputs=Inputs(load_rounds()), wake=lambda *_: None)
        await actions.execute(state, [CREATE])
        (seed,) = {job.seed for job in state.observation.jobs.values()}
        (container,) = server.job["spec"]["template"]["spec"]["containers"]
        assert {"name": "PODIUM_SEED", "value": str(seed)} in container["env"]
        assert 0 <= seed < 2**31
        seeds.add(seed)
    assert len(seeds) == 4


async def test_a_job_that_must_wait_is_not_asked_for_and_says_why():
    woken = []
    state = RunState(ex.run(), None, Observation("lab"))
    actions = ActionExecutor(
        None, None, None, inputs=Inputs(load_rounds()), wake=lambda *call: woken.append(call),
        hold=lambda run: f"{run.namespace} is full",
    )  # fmt: skip
    await actions.execute(state, [CREATE])
    assert (state.launch.refusal.message, state.launch.refusal.final) == ("lab is full", False)
    assert woken == [(state.run.uid, 5.0)]


OTHER_RUN = [{"kind": "BenchmarkRun", "apiVersion": "podium.dev/v1alpha1", "name": "digits", "uid": "before"}]


@pytest.mark.parametrize(
    ("change", "final", "sentence"),
    [
        (lambda m: m.pop("ownerReferences"), True, "delete it, or rename the run"),
        (lambda m: m.update(ownerReferences=OTHER_RUN), False, "waiting for it to be deleted"),
        (lambda m: m["labels"].update({"podium.dev/attempt": "abc"}), True, "delete it, or rename the run"),
        (lambda m: m["labels"].update({"podium.dev/try": "4"}), True, "delete it, or rename the run"),
        (lambda m: m.pop("labels"), True, "delete it, or rename the run"),
    ],
)
async def test_a_job_that_is_not_ours_is_not_adopted(change, final, sentence):
    state, holds = await executed(change)
    assert not holds
    assert state.launch.refusal.final is final
    assert (
        state.launch.refusal.message
        == f"NameTaken: jobs 'podium-digits-1-0' exists and does not belong to this run; {sentence}"
    )
