"""Which pod of a try died first, when the API server tells times in whole seconds."""

from __future__ import annotations

from podium.api import TryId
from podium.controller.pods import PodFacts
from podium.controller.state import RunState
from podium.reconcile import Container

ID = TryId(attempt=1, number=0)


def pod(index, **container):
    return PodFacts(f"p{index}", "r1", ID, "node", Container(f"long-1-0-{index}", index, started=1.0, **container))


def seen(*passes):
    """The containers after the watch has shown these pods, one pass of the worker after the other, at 100, 101, ..."""
    state = RunState(run=None)
    for now, pods in enumerate(passes, start=100):
        state.see((), pods, now)
    return [(c.node_index, c.finished, c.stopped) for c in state.containers[ID].values() if c.finished is not None]


def test_those_that_end_in_the_same_second_stand_in_the_order_of_their_ends():
    ends = {"finished": 50.0, "stopped": "Deleted"}
    assert seen([pod(0), pod(1)], [pod(0), pod(1, **ends)], [pod(0, **ends), pod(1, **ends)]) == [
        (1, 50.0, "Deleted"),
        (0, 50.0, "Deleted"),
    ]
    assert (
        seen([pod(0), pod(1)], [pod(1, **ends), pod(0, **ends)])[0][0] == 1
    )  # both in one pass, as the watch has them


def test_a_pod_that_vanishes_ended_when_its_deletion_was_asked_for():
    assert seen([pod(0), pod(1)], [pod(0), pod(1, deleted=49.0)], [pod(0)]) == [(1, 49.0, "Deleted")]
    assert seen([pod(0)], []) == [(0, 101, "Deleted")]  # nothing told of its end
