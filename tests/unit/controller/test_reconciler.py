"""What the controller makes of BenchmarkRuns as a watch delivers them, readable or not."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from podium.api import BenchmarkRunStatus, Condition, rfc3339
from podium.controller import reconciler as module
from podium.controller.finished import FinishedRun
from podium.controller.pods import JobSnapshot
from podium.controller.reconciler import Controller
from podium.controller.status_writer import status_document
from podium.controller.turns import Turns
from podium.kube import FencedError
from podium.launch import Inputs, TrainerDefaults
from podium.metrics import Metrics
from podium.reconcile import DeleteRun
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

UID = ex.run().uid


def body(generation=1, status=None, **spec):
    run = ex.run(**spec)
    return {
        "metadata": {"namespace": run.namespace, "name": run.name, "uid": run.uid, "generation": generation},
        "spec": run.spec.model_dump(by_alias=True, exclude_none=True, mode="json"),
        "status": status,
    }


@pytest.fixture
def controller():
    metrics = Metrics(list, lambda: 0)
    return Controller(None, None, None, Inputs(load_rounds()), metrics)


def test_only_so_many_runs_of_a_namespace_start():
    trainer = TrainerDefaults(max_runs_per_namespace=2)
    controller = Controller(None, None, None, Inputs(load_rounds(), trainer), Metrics(list, lambda: 0))
    runs = {}
    for uid, namespace in (("a", "lab"), ("b", "lab"), ("c", "lab"), ("d", "night")):
        document = body()
        document["metadata"] |= {"uid": uid, "namespace": namespace}
        controller.run_changed(document, deleted=False)
        runs[uid] = controller.states[uid].run
    assert [controller.hold(runs[uid]) for uid in ("a", "b", "d")] == ["", "", ""]
    assert controller.hold(runs["a"]) == ""  # it was let through, and its Job may have to be asked for again
    sentence = "2 runs of namespace lab have started; trainer.maxRunsPerNamespace is 2"
    assert controller.hold(runs["c"]) == sentence
    end = Condition(type="Complete", status="True", reason="Scored", last_transition_time="2026-01-01T00:00:00Z")
    ended = BenchmarkRunStatus(conditions=(end,))
    controller.states["a"].run = replace(runs["a"], status=ended)
    assert controller.hold(runs["c"]) == ""


def test_who_waits_for_a_turn_is_woken_in_order_and_asks_at_little_cost():
    asked = []
    ended = set()
    turns = Turns(2, lambda uid: asked.append(uid) or uid not in ended)
    turns.took("lab", "old")  # by an earlier process
    assert [bool(turns.hold("lab", str(number))) for number in range(10_000)] == [False] + [True] * 9_999
    assert len(asked) <= 20_000  # not all runs for each run
    assert turns.next("lab", "5") == []  # it had not started
    ended.add("old")
    assert turns.next("lab", "old") == ["1", "2"]
    assert [bool(turns.hold("lab", uid)) for uid in ("1", "2")] == [False, True]
    assert turns.hold("night", "x") == ""


def test_an_end_wakes_those_that_wait(controller):
    woken = []
    controller.wake = woken.append
    controller._turns = Turns(1, lambda _: True)
    assert controller._turns.hold("lab", "a") == ""
    assert controller._turns.hold("lab", "b") != ""
    controller._let_others_start(SimpleNamespace(namespace="lab", uid="a"))
    assert woken == ["b"]


def test_what_the_lists_refuse_is_not_admitted_unless_it_was_before(controller):
    document = body(template={"priorityClassName": "high"})
    controller.run_changed(document, deleted=False)
    assert "trainer.allow.priorityClasses" in controller.states[UID].run.refusal
    assert controller.states[UID].run.status.pinned is None
    attempts = [{"index": 1, "state": "Training", "seed": 1, "job": "podium-digits-1-0"}]
    other = body(template={"priorityClassName": "high"}, status={"attempts": attempts})
    other["metadata"]["uid"] = "other"
    controller.run_changed(other, deleted=False)
    assert controller.states["other"].run.refusal == ""


def test_a_new_run_is_pinned_and_one_of_another_controller_left_alone(controller):
    controller.run_changed(body(), deleted=False)
    assert controller.states[UID].run.status.pinned.image == "podium-trainer:latest"
    other = body(managedBy="kueue.x-k8s.io/multikueue")
    other["metadata"]["uid"] = "other"
    controller.run_changed(other, deleted=False)
    assert "other" not in controller.states
    # it exists, and must not count as deleted
    assert [place for place in (None, "lab", "night") if "other" in controller.known_in(place)] == [None, "lab"]
    controller.forget(["other"])
    assert "other" not in controller.known_in(None)


@pytest.mark.parametrize(
    ("state", "suspend", "asks"), [("Pending", False, False), ("Pending", True, True), ("Training", False, True)]
)
async def test_before_an_attempt_is_ended_its_job_is_asked_for_pods_that_no_watch_shows(
    controller, monkeypatch, state, suspend, asks
):
    """A webhook that takes labels off, or a restart after somebody did: it may have begun."""
    asked = []

    async def pods_of(_, jobs):
        asked.append(jobs)
        return {}

    attempts = [{"index": 1, "state": state, "seed": 1, "job": "podium-digits-1-0", "jobUid": "j1"}]
    controller.run_changed(body(status={"attempts": attempts}, suspend=suspend), deleted=False)
    controller._actions = SimpleNamespace(pods_of=pods_of)
    job = JobSnapshot("lab", UID, ex.FIRST, ex.job(uid="j1"))
    monkeypatch.setattr(controller.informers, "jobs", lambda _: [job])
    await controller._observe(controller.states[UID], thorough=False)
    assert asked == ([{ex.FIRST: "j1"}] if asks else [])


async def test_a_deleted_run_that_only_a_finalizer_keeps_is_not_taken_up_again(controller, monkeypatch):
    kept, written = body(generation=2), []
    kept["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    async def write(state):
        written.append(state.run.status.condition("Running").message)

    async def execute(*_):
        return False

    controller._actions = SimpleNamespace(execute=execute)
    controller._logs = SimpleNamespace(close=lambda _: None, follow=lambda _: None)
    monkeypatch.setattr(controller._status, "write", write)
    monkeypatch.setattr(controller.informers, "known", lambda _: True)
    for _ in range(2):
        controller.run_changed(kept, deleted=False)
        await controller._work(UID)
    assert written == ["the BenchmarkRun was deleted; only a finalizer keeps the object"]
    assert (controller.states, controller.known_in("lab")) == ({}, {UID})
    controller.run_changed(kept, deleted=True)
    assert controller.known_in("lab") == set()


@pytest.mark.parametrize(("state", "again"), [("Failed", True), ("Aborted", True), ("Converged", False)])
def test_a_try_is_repeated_as_soon_as_its_end_is_written(controller, state, again):
    attempts = [{"index": 1, "state": state, "seed": 1, "job": "podium-digits-1-0"}]
    controller.run_changed(body(status={"attempts": attempts}), deleted=False)
    found = controller.states[UID]
    assert found.awaits_record(set()) is again
    assert not found.awaits_record({ex.FIRST}), "nothing has changed"


def ignored(controller):
    labels = {"resource": "benchmarkruns", "reason": "unreadable"}
    return controller._telemetry.registry.get_sample_value("podium_ignored_objects_total", labels)


def without(path):
    broken = copy.deepcopy(body())
    place = broken
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return broken


BAD_STATUS = body(status={"attempts": [{"index": "first"}]})


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"metadata": None}, {"metadata": {}}, without(["metadata"]), without(["metadata", "uid"]), without(["spec"]),
        without(["metadata", "generation"]), without(["metadata", "namespace"]), BAD_STATUS, body(status=5),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_read_is_reported_once_and_stops_no_other(controller, caplog, broken):
    for _ in range(3):
        controller.run_changed(broken, deleted=False)
    other = body()
    other["metadata"]["uid"] = "other"
    controller.run_changed(other, deleted=False)
    assert list(controller.states) == ["other"]
    assert ignored(controller) == 1
    assert sum("ignoring unreadable benchmarkruns" in line for line in caplog.messages) == 1


def test_a_run_that_can_be_read_again_is_taken_in(controller):
    controller.run_changed(BAD_STATUS, deleted=False)
    assert not controller.states
    controller.run_changed(body(), deleted=False)
    assert list(controller.states) == [UID]


def test_the_status_that_a_watch_delivers_does_not_matter_once_a_run_is_known(controller):
    controller.run_changed(body(), deleted=False)
    controller.run_changed({**body(2, attempts=3), "status": {"attempts": "nonsense"}}, deleted=False)
    state = controller.states[UID]
    assert (state.run.generation, state.run.spec.attempts, ignored(controller)) == (2, 3, 0)


@pytest.mark.parametrize("change", [without(["metadata", "generation"]), {"metadata": {"uid": UID, "generation": 2}}])
def test_a_known_run_stays_as_it_was_when_a_change_cannot_be_read(controller, change):
    controller.run_changed(body(), deleted=False)
    before = controller.states[UID].run
    controller.run_changed(change, deleted=False)
    assert controller.states[UID].run == before


def test_a_deletion_needs_no_more_than_the_uid(controller):
    controller.run_changed(body(), deleted=False)
    controller.run_changed({"metadata": {"uid": UID}}, deleted=True)
    assert controller.states[UID].run.deleted
    controller.run_changed({"metadata": {"uid": "unknown"}}, deleted=True)
    assert list(controller.states) == [UID]


def test_a_watch_that_was_held_up_revives_no_run_that_is_gone(controller, monkeypatch):
    """A list found it gone; then the stream delivers what happened before."""
    monkeypatch.setattr(module, "_MOST_PAST", 2)
    controller.run_changed(body(), deleted=False)
    controller.forget([UID, "another"])
    del controller.states[UID]
    controller.run_changed(body(), deleted=False)
    assert not controller.states
    controller.forget(["a third"])
    controller.run_changed(body(), deleted=False)
    assert controller.states, "only the latest are remembered"


def test_the_goal_follows_the_spec(controller):
    controller.run_changed(body(quality={"target": "0.9"}), deleted=False)
    assert controller.states[UID].goal.text == "0.9"
    controller.run_changed(body(2, round="v9.9"), deleted=False)
    assert controller.states[UID].goal is None  # such a round does not exist


@pytest.mark.parametrize(
    ("containers", "seconds"),
    [
        ([], 4.0),
        ([ex.waiting(0, "ContainerCreating"), ex.running(1)], 4.0),
        ([ex.running(0), ex.running(1)], 1.0),
        ([ex.ended(0), ex.running(1)], 1.0),
        ([ex.ended(0), ex.ended(1)], 0.0),
        ([ex.ended(0, 1), ex.running(1)], 0.0),
        ([ex.ended(0, None, stopped="Evicted"), ex.waiting(1, "ContainerCreating")], 0.0),
        ([replace(ex.running(0), deleted=ex.T0 + 50), ex.running(1)], 0.0),
    ],
)
def test_ends_are_looked_at_at_once_and_pods_that_come_up_together(controller, monkeypatch, containers, seconds):
    controller.run_changed(body(), deleted=False)
    pods = [SimpleNamespace(container=container) for container in containers]
    monkeypatch.setattr(controller, "informers", SimpleNamespace(pods=lambda _, **__: pods, jobs=lambda _: ()))
    waits = []
    monkeypatch.setattr(controller.queue, "add_after", lambda _, seconds: waits.append(seconds))
    controller._objects_changed(UID)
    assert waits == [max(seconds, 0.2)]


def test_the_end_of_a_job_is_looked_at_at_once(controller, monkeypatch):
    controller.run_changed(body(), deleted=False)
    jobs = [SimpleNamespace(job=SimpleNamespace(finished="Complete"))]
    monkeypatch.setattr(controller, "informers", SimpleNamespace(pods=lambda _, **__: (), jobs=lambda _: jobs))
    waits = []
    monkeypatch.setattr(controller.queue, "add_after", lambda _, seconds: waits.append(seconds))
    controller._objects_changed(UID)
    assert waits == [0.2]


async def test_nothing_is_deleted_before_the_api_server_knows_how_the_run_ended(controller, monkeypatch):
    """The status has its own pace, and may be refused; a process that dies in between would measure all of it again."""
    controller.run_changed(body(ttlSecondsAfterFinished=0), deleted=False)
    state, executed, due = controller.states[UID], [], False
    end = Condition(type="Complete", status="True", reason="Scored", last_transition_time=rfc3339(time.time()))
    state.run = replace(state.run, status=BenchmarkRunStatus(conditions=(end,)))
    state.report.changed_at = 1.0

    async def write(written):
        if due and not written.report.written:
            written.report.written, written.report.changed_at = status_document(written.run.status), None
            return True
        return False

    async def execute(_, actions):
        executed.extend(actions)
        return False

    controller._actions = SimpleNamespace(execute=execute)
    controller._logs = SimpleNamespace(checkpoint=lambda _: None, close=lambda _: None)
    monkeypatch.setattr(controller._status, "write", write)
    monkeypatch.setattr(controller.informers, "known", lambda _: True)
    await controller._work(UID)
    assert executed == []
    due = True
    controller.queue._queued.clear()
    await controller._work(UID)
    assert (executed, controller.queue._queued) == ([], {UID})  # to look again, now that it is written
    await controller._work(UID)
    assert executed == [DeleteRun()]


async def test_a_write_of_a_process_that_does_not_lead_any_more_is_no_failure(controller, monkeypatch, caplog):
    async def reconcile(_):
        raise FencedError("PATCH run-0/status: this process does not lead any more")

    controller.run_changed(body(), deleted=False)
    monkeypatch.setattr(controller.informers, "known", lambda _: True)
    monkeypatch.setattr(controller, "_reconcile", reconcile)
    await controller._work(UID)
    assert caplog.messages == ["PATCH run-0/status: this process does not lead any more"]


def test_a_run_is_known_in_the_generation_that_was_read(controller):
    assert not controller.is_known(UID, 1)
    controller.run_changed(body(), deleted=False)
    assert controller.is_known(UID, 1)
    assert not controller.is_known(UID, 2)
    controller.finished[UID] = FinishedRun.of(controller.states.pop(UID).run)
    assert controller.is_known(UID, 1)
