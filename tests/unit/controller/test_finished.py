"""Runs that ended some time ago: little is kept of them, and nothing is lost."""

from __future__ import annotations

import pytest

from podium.controller.finished import FULL_SECONDS
from podium.controller.pods import JobSnapshot
from podium.controller.reconciler import Controller
from podium.launch import Inputs
from podium.metrics import FinishedSample, Metrics
from podium.reconcile import ObservedJob
from podium.rounds import load_rounds
from tests.unit.controller.test_reconciler import UID, body
from tests.unit.reconcile import examples as ex

STAMP = "2023-11-14T22:13:20Z"  # ex.T0
ENDED = {
    "conditions": [{"type": "Complete", "status": "True", "reason": "Scored", "lastTransitionTime": STAMP}],
    "attempts": [{"index": 1, "state": "Converged", "seed": 1, "job": "digits-1-0", "stored": True}],
    "score": {"valid": True, "official": False, "timeToTrainMinutes": "1.5"},
}


class Api:
    """Notes what is asked for; `served` is the run as it is."""

    def __init__(self):
        self.calls, self.served = [], body(status=ENDED)

    async def get(self, resource, namespace, name):
        self.calls.append(f"get {namespace}/{name}")
        return self.served

    async def delete(self, resource, namespace, name, *, uid):
        self.calls.append(f"delete {namespace}/{name} {uid}")

    async def patch_status(self, resource, namespace, name, operations, *, uid):
        self.calls.append(f"patch {namespace}/{name}")


class Nothing:
    """The outcome of no actions."""

    status_holds, look_again = True, False

    def __bool__(self):
        return False


class Actions:
    async def execute(self, state, actions):
        self.given = actions
        return Nothing()


class Logs:
    def follow(self, state):
        pass

    checkpoint = close = follow


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def controller(api, monkeypatch):
    """At `controller.now` seconds after the end of the run; its informers hold `controller.jobs`."""
    metrics = Metrics(list, lambda: 0)
    controller = Controller(
        api, Actions(), Logs(), Inputs(load_rounds()), metrics, clock=lambda: ex.T0 + controller.now
    )
    controller.now, controller.jobs = 0.0, []
    monkeypatch.setattr(controller.informers, "known", lambda _: True)
    monkeypatch.setattr(controller.informers, "jobs", lambda _: controller.jobs)
    return controller


def job(finished="Complete"):
    return JobSnapshot("lab", UID, ex.FIRST, ObservedJob("j1", created=ex.T0, finished=finished))


def ended(**spec):
    return body(status=ENDED, **spec)


async def test_little_is_kept_once_nobody_looks_any_more(controller, api):
    controller.jobs = [job()]
    controller.run_changed(ended(), deleted=False)
    await controller._work(UID)
    assert controller.finished == {}  # its metrics are complete for a while
    assert controller.queue._due[UID] > 0
    controller.now = FULL_SECONDS
    await controller._work(UID)
    assert (controller.states, controller.queue._due, api.calls) == ({}, {}, [])
    assert controller.finished[UID].sample == FinishedSample("lab", "digits", "resnet", "Complete", 90.0)
    assert controller.known_in("lab") == controller.known_in(None) == {UID}
    controller.run_changed(ended(), deleted=False)  # a list shows it again
    assert (controller.states, list(controller.finished)) == ({}, [UID])
    controller.run_changed(ended(), deleted=True)
    assert controller.finished == {}
    assert controller._telemetry._label_sets._of == {}


async def test_one_that_is_found_at_a_restart_is_never_held_in_full(controller, api):
    controller.now = FULL_SECONDS
    controller.run_changed(ended(), deleted=False)
    assert (controller.states, list(controller.finished)) == ({}, [UID])
    await controller._work(UID)
    assert api.calls == []


async def test_one_whose_jobs_are_not_known_yet_is_held_in_full(controller, monkeypatch):
    monkeypatch.setattr(controller.informers, "known", lambda _: False)
    controller.now = FULL_SECONDS
    controller.run_changed(ended(), deleted=False)
    assert (list(controller.states), controller.finished) == ([UID], {})


async def test_a_job_that_may_still_run_keeps_all_of_it(controller):
    controller.now, controller.jobs = FULL_SECONDS, [job(finished="")]
    controller.run_changed(ended(), deleted=False)
    await controller._work(UID)
    assert (list(controller.states), controller.finished) == ([UID], {})


async def test_a_job_that_runs_again_brings_it_back(controller, api):
    controller.now = FULL_SECONDS
    controller.run_changed(ended(), deleted=False)
    await controller._work(UID)
    controller.wake(UID)
    assert controller.queue._due == {}
    controller.jobs = [job(finished="")]
    controller.wake(UID)
    assert list(controller.queue._due) == [UID]
    await controller._work(UID)
    assert (api.calls, list(controller.states), controller.finished) == (["get lab/digits"], [UID], {})


async def test_a_job_that_runs_again_does_not_bring_back_another_run_of_its_name(controller, api):
    controller.now = FULL_SECONDS
    controller.run_changed(ended(), deleted=False)
    await controller._work(UID)
    api.served["metadata"]["uid"] = "other"
    controller.jobs = [job(finished="")]
    await controller._work(UID)
    assert (api.calls, controller.states, list(controller.finished)) == (["get lab/digits"], {}, [UID])


async def test_its_time_to_live_goes_on(controller, api):
    controller.now = FULL_SECONDS
    controller.run_changed(ended(ttlSecondsAfterFinished=3600), deleted=False)
    await controller._work(UID)
    assert list(controller.queue._due) == [UID]
    await controller._work(UID)
    assert api.calls == []
    controller.now = 3600.0
    await controller._work(UID)
    assert api.calls == [f"delete lab/digits {UID}"]


async def test_a_change_of_its_spec_is_read(controller, api):
    controller.now = FULL_SECONDS
    controller.run_changed(ended(), deleted=False)
    await controller._work(UID)
    changed = ended(ttlSecondsAfterFinished=60)
    changed["metadata"]["generation"] = 2
    controller.run_changed(changed, deleted=False)
    assert controller.finished[UID].expires == ex.T0 + 60
    await controller._work(UID)
    assert api.calls == [f"delete lab/digits {UID}"]
