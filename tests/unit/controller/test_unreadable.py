"""A run that cannot be read says so itself: nobody waits for it without knowing why."""

from __future__ import annotations

import pytest

from podium.controller.reconciler import Controller
from podium.kube import ApiError
from podium.launch import Inputs
from podium.metrics import Metrics
from podium.rounds import load_rounds
from tests.unit.controller.test_reconciler import UID, body
from tests.unit.controller.test_status_writer import applied
from tests.unit.reconcile import examples as ex

COMPLETE = {"type": "Complete", "status": "False", "reason": "InProgress", "lastTransitionTime": "2026-01-01T00:00:00Z"}
RUNNING = {**COMPLETE, "type": "Running", "reason": "Pending"}
TRY = {"index": 1, "state": "Paused", "seed": 1, "job": "digits-1-0"}
NEWER = {"attempts": [TRY], "conditions": [RUNNING, COMPLETE]}  # than this version, which knows no such state
CAUSE = (
    "status.attempts.0.state: Input should be 'Pending', 'Initializing', 'Training', 'Converged', 'Measured', "
    "'NotConverged', 'Invalid', 'Failed' or 'Aborted'"
)


class Api:
    """One run, whose status can be patched unless `refusal` is set."""

    def __init__(self):
        self.run, self.patches, self.refusal = body(status=NEWER), 0, None

    async def get(self, resource, namespace, name):
        return self.run

    async def patch_status(self, resource, namespace, name, operations, *, uid):
        self.patches += 1
        if self.refusal:
            raise self.refusal
        if uid == self.run["metadata"]["uid"]:
            self.run["status"] = applied(self.run["status"] or {}, operations)


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def controller(api):
    return Controller(api, None, None, Inputs(load_rounds()), Metrics(list, lambda: 0), clock=lambda: ex.T0)


async def work(controller):
    """Let the queue do what it has, as one worker."""
    while not controller.queue._ready.empty():
        uid = (controller.queue._ready.get_nowait())[2]
        controller.queue._queued.discard(uid)
        await controller._work(uid)


async def test_it_says_what_cannot_be_read_and_keeps_the_rest(controller, api):
    for _ in range(2):
        controller.run_changed(api.run, deleted=False)
        await work(controller)
    complete, running = api.run["status"]["conditions"]
    assert complete == COMPLETE
    assert running == {
        "type": "Running", "status": "False", "reason": "StatusUnreadable", "message": CAUSE,
        "lastTransitionTime": "2023-11-14T22:13:20Z", "observedGeneration": 1,
    }  # fmt: skip
    assert api.run["status"]["attempts"] == [TRY]
    assert api.patches == 1


async def test_a_new_process_does_not_say_it_again(controller, api):
    said = {**RUNNING, "reason": "StatusUnreadable", "message": CAUSE}
    api.run["status"] = {"attempts": [TRY], "conditions": [said]}
    controller.run_changed(api.run, deleted=False)
    await work(controller)
    assert api.patches == 0


async def test_another_cause_is_said_as_well(controller, api):
    controller.run_changed(api.run, deleted=False)
    await work(controller)
    del api.run["status"]["attempts"][0]["seed"]
    controller.run_changed(api.run, deleted=False)
    await work(controller)
    assert "status.attempts.0.seed: Field required" in api.run["status"]["conditions"][-1]["message"]


async def test_it_is_known_and_forgotten_with_its_object(controller, api):
    controller.run_changed(api.run, deleted=False)
    assert controller.known_in("lab") == {UID}
    assert controller.known_in("night") == set()
    controller.forget([UID])
    assert controller.known_in(None) == set()
    await work(controller)
    assert api.patches == 0


async def test_another_run_of_its_name_is_left_alone(controller, api):
    controller.run_changed(api.run, deleted=False)
    api.run = body(status=None)
    api.run["metadata"]["uid"] = "other"
    await work(controller)
    assert api.run["status"] is None


@pytest.mark.parametrize("code", [404, 422])
async def test_what_cannot_be_written_for_good_is_only_logged(controller, api, caplog, code):
    controller.run_changed(api.run, deleted=False)
    api.refusal = ApiError(code, "", "no")
    await work(controller)
    assert "lab/digits cannot be given a condition: no" in caplog.text


async def test_what_cannot_be_written_now_is_tried_again(controller, api):
    controller.run_changed(api.run, deleted=False)
    api.refusal = ApiError(500, "", "later")
    with pytest.raises(ApiError):
        await work(controller)
