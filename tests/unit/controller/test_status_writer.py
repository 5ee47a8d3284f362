"""What is sent of a status, and when it cannot wait."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api import AttemptState
from podium.controller.observation import Observation
from podium.controller.state import RunState
from podium.controller.status_writer import StatusWriter, changes, significant, status_document
from podium.kube import ApiError
from podium.reconcile import decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

leaves = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
documents = st.dictionaries(st.sampled_from("abc"), leaves | st.dictionaries(st.sampled_from("xyz"), leaves))


def applied(old, operations):
    """The status after additions, as the API server makes them: every parent must exist."""
    body = {"status": copy.deepcopy(old)} if old else {}
    for operation in copy.deepcopy(operations):
        assert operation["op"] == "add"
        place = body
        *parents, key = operation["path"].removeprefix("/").split("/")
        for parent in parents:
            place = place[parent]
        place[key] = operation["value"]
    return body.get("status", {})


@given(documents, documents)
def test_changes_make_the_new_of_the_old(old, new):
    operations = changes(old, new)
    assert applied(old, operations) == new
    assert applied(applied(old, operations), operations) == new  # the answer to the first request was lost
    assert changes(new, new) == []


def status(containers, log):
    run = ex.run(ex.status(ex.attempt()))
    return decide(run, ex.observed(ex.job(*containers), log), load_rounds(), ex.T0 + 70).status


PENDING = status([], ex.log())
REFUSED = decide(
    ex.run(ex.status(ex.attempt())),
    ex.observed(ex.job(ex.waiting(0, "Unschedulable", "0/5 nodes"), cause="Error creating: exceeded quota"), ex.log()),
    load_rounds(),
    ex.T0 + 70,
).status
CREATING = status([ex.waiting(0, "ContainerCreating")], ex.log())
UNSCHEDULABLE = status(
    [ex.waiting(0, "Unschedulable", "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.")], ex.log()
)
BACKOFF = status([ex.waiting(0, "ImagePullBackOff", "Back-off pulling image")], ex.log())
PULL = status([ex.waiting(0, "ErrImagePull", "not found")], ex.log())
STILL = status([ex.waiting(0, "Unschedulable", "0/6 nodes are available: 6 Insufficient nvidia.com/gpu.")], ex.log())
STARTING = status([ex.running(0), ex.running(1)], ex.log((12, "init_start", None)))
TRAINING = status([ex.running(0), ex.running(1)], ex.log(ex.START))
EVALUATED = status([ex.running(0), ex.running(1)], ex.log(ex.START, ex.BAD))
STOPPED = status([ex.running(0), ex.running(1)], ex.log(ex.START, ex.BAD, ex.SUCCESS))


@pytest.mark.parametrize(
    ("before", "after", "urgent"),
    [
        (PENDING, STARTING, False),
        (PENDING, CREATING, False),
        (PENDING, UNSCHEDULABLE, True),
        (UNSCHEDULABLE, STILL, False),
        (UNSCHEDULABLE, PULL, True),
        (PULL, BACKOFF, False),
        (UNSCHEDULABLE, REFUSED, True),
        (UNSCHEDULABLE, CREATING, True),
        (STARTING, TRAINING, True),
        (TRAINING, EVALUATED, False),
        (PENDING, TRAINING, True),
    ],
)
def test_transitions_are_urgent_and_progress_is_not(before, after, urgent):
    assert before != after
    assert (significant(before) != significant(after)) is urgent


def test_the_states_are_what_they_seem():
    states = [s.attempts[0].state for s in (PENDING, STARTING, TRAINING, EVALUATED)]
    assert states == [AttemptState.PENDING, AttemptState.INITIALIZING, AttemptState.TRAINING, AttemptState.TRAINING]


class Writes:
    """A writer with its clock, the patches that it sent and the delays that it asked for."""

    def __init__(self, runs=1):
        self.now, self.patches, self.later = 1000.0, [], []
        self.writer = StatusWriter(
            self,
            progress_seconds=10.0,
            clock=lambda: self.now,
            write_later=lambda _, seconds: self.later.append(round(seconds, 3)),
            runs_in_progress=lambda: self.runs,
        )
        self.runs = runs
        self.state = RunState(ex.run(), None, Observation("lab"))
        self.served = {"metadata": {"uid": self.state.run.uid}}

    async def get(self, resource, namespace, name):
        return self.served

    async def patch_status(self, resource, namespace, name, operations, *, uid):
        self.patches.append({operation["path"]: operation["value"] for operation in operations})
        if uid != self.served["metadata"]["uid"]:
            raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request")

    async def at(self, second, status):
        """The writer is asked at `second`; how many patches it sent, and the delay that it asked for."""
        self.now = 1000.0 + second
        before, self.later = len(self.patches), []
        self.state.run = replace(self.state.run, status=status)
        await self.writer.write(self.state)
        return len(self.patches) - before, self.later


async def test_transitions_are_written_at_once_and_progress_after_a_while():
    writes = Writes()
    assert await writes.at(0, PENDING) == (0, [8.0])  # perhaps it trains by then
    assert await writes.at(8, PENDING) == (1, [])
    assert await writes.at(9, PENDING) == (0, [])  # nothing new
    assert await writes.at(10, TRAINING) == (1, [])
    assert await writes.at(12, EVALUATED) == (0, [8.0])  # 10 s after the last
    assert await writes.at(20, EVALUATED) == (1, [])
    assert await writes.at(33, TRAINING) == (0, [3.0])  # a transition may follow at once
    assert await writes.at(34, PENDING) == (1, [])


async def test_a_run_that_soon_trains_is_written_once_for_both():
    writes = Writes()
    assert await writes.at(0, PENDING) == (0, [8.0])
    assert await writes.at(2, CREATING) == (0, [6.0])
    assert await writes.at(4, STARTING) == (0, [4.0])
    assert await writes.at(5, TRAINING) == (1, [])


@pytest.mark.parametrize("runs", [1, 1000])
@pytest.mark.parametrize("status", [UNSCHEDULABLE, BACKOFF, REFUSED])
async def test_a_cause_does_not_wait_for_a_run_to_train(status, runs):
    writes = Writes(runs)
    _, [delay] = await writes.at(0, status)
    assert delay <= 10.0
    writes = Writes(runs)
    await writes.at(0, PENDING)
    await writes.at(10.1, status)
    assert len(writes.patches) == 1


async def test_progress_waits_for_the_end_after_run_stop():
    writes = Writes()
    await writes.at(0, TRAINING)
    assert await writes.at(1, TRAINING) == (1, [])
    assert await writes.at(30, STOPPED) == (0, [15.0])
    assert await writes.at(45, STOPPED) == (1, [])


async def test_a_thousand_runs_are_written_less_often():
    writes = Writes(runs=1000)
    assert await writes.at(0, PENDING) == (0, [62.5])
    assert await writes.at(63, PENDING) == (1, [])
    assert await writes.at(64, STARTING) == (0, [199.0])  # 5 a second of all


async def test_the_last_runs_of_a_burst_do_not_become_due_sooner_as_the_first_ones_end():
    writes = Writes(runs=1)
    await writes.at(0, PENDING)  # the first of a burst
    writes.runs = 1000
    await writes.at(7, PENDING)
    writes.runs = 10
    assert await writes.at(20, STARTING) == (0, [42.5])
    assert await writes.at(30, TRAINING) == (1, [])


async def test_a_write_that_is_refused_is_due_again():
    writes = Writes()
    await writes.at(0, PENDING)

    async def refuse(*_, **__):
        raise ApiError(500, "", "later")

    writes.patch_status, send = refuse, writes.patch_status
    with pytest.raises(ApiError):
        await writes.at(8, PENDING)
    writes.patch_status = send
    assert await writes.at(9, PENDING) == (1, [])


@pytest.mark.parametrize("lost", [ApiError(504, "Timeout", "?"), TimeoutError(), asyncio.CancelledError()])
async def test_what_a_lost_answer_left_behind_is_overwritten(lost):
    """Although the status is again as it was before."""
    writes = Writes()
    await writes.at(0, UNSCHEDULABLE)
    await writes.at(1, UNSCHEDULABLE)

    async def lose(*_, **__):
        del writes.patch_status
        raise lost

    writes.patch_status = lose
    with pytest.raises(type(lost)):
        await writes.at(20, TRAINING)
    assert await writes.at(23, UNSCHEDULABLE) == (1, [])
    assert writes.patches[-1] == {"/status": status_document(UNSCHEDULABLE)}


async def test_a_status_never_reaches_a_run_that_was_created_under_the_same_name():
    writes = Writes()
    await writes.at(0, PENDING)
    await writes.at(8, PENDING)
    writes.served = {"metadata": {"uid": "of another run"}}
    with pytest.raises(ApiError, match="lab/digits has been deleted and created again") as refused:
        await writes.at(10, TRAINING)
    assert refused.value.not_found
    assert len(writes.patches) == 2  # the refused one is not repeated


async def test_a_status_that_somebody_has_edited_is_written_as_a_whole(caplog):
    """They removed what the change is an addition to."""
    writes = Writes()
    await writes.at(0, TRAINING)
    await writes.at(1, TRAINING)

    async def refuse_once(*_, **__):
        del writes.patch_status
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request")

    writes.patch_status = refuse_once
    assert await writes.at(20, EVALUATED) == (0, [3.0])
    assert await writes.at(23, EVALUATED) == (1, [])
    assert writes.patches[-1] == {"/status": status_document(EVALUATED)}
    assert "the whole status of lab/digits is written, cut to what its schema allows" in caplog.text
