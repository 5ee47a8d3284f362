"""Jobs and pods as anybody may make them, through the informer: it never raises, and only what is ours gets through."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from podium.controller.observation import Observation
from podium.controller.pods import read_job, read_pod
from podium.kube import JOBS, PODS, Informer
from tests.unit.controller import test_pods as examples

STRANGERS = Path(__file__).parents[2] / "data" / "kubernetes" / "stranger-pod.yaml"
POD = examples.pod(examples.staging({"terminated": examples.COPIED}, {"terminated": examples.TERMINATED}))
JOB = examples.job(status={"conditions": [{"type": "Failed", "status": "True", "message": "backoff limit"}]})


class Server:
    """Serves a list of objects, then events."""

    def __init__(self, objects, events):
        self.objects, self.events = objects, events

    async def pages(self, *_):
        yield self.objects, "1"

    async def watch(self, *_):
        yield self.events
        await asyncio.sleep(3600)


async def informed(resource, read, objects, events=()):
    """The informer after it has seen `objects` and `events`, and the reasons for which it ignored objects."""
    reasons = []
    informer = Informer(
        Server(objects, events), resource, None, "a", read,
        changed=lambda _: None, seen=lambda _: None, ignored=lambda _, reason: reasons.append(reason),
    )  # fmt: skip
    task = asyncio.create_task(informer.run())
    for _ in range(5):  # turns of the event loop, in which everything that the server has is taken in
        await asyncio.sleep(0)
    if task.done():
        task.result()
    assert informer.listed.is_set()
    task.cancel()
    return informer, reasons


async def test_a_pod_and_a_job_that_carry_our_label_stop_nothing():
    pod, job = yaml.safe_load_all(STRANGERS.read_text())
    for resource, read, stranger, ours in ((PODS, read_pod, pod, POD), (JOBS, read_job, job, JOB)):
        stranger["metadata"] |= {"uid": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}
        informer, reasons = await informed(resource, read, [stranger, ours], [{"type": "MODIFIED", "object": stranger}])
        assert len(list(informer.of("u1"))) == 1
        assert list(informer.of("x")) == []
        assert reasons == ["foreign"]


def places(value, path=()):
    """Where something can be changed in an object."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


REMOVED = object()
values = st.one_of(
    st.just(REMOVED), st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("9" * 5000),
    st.just({}), st.just([]), st.just([None]), st.just({"a": 1}), st.sampled_from(["2026-13-01T00:00:00Z", "0001-01-01T00:00:00", "-1"]),
)  # fmt: skip


def mutated(original):
    def apply(changes):
        body = copy.deepcopy(original)
        for path, value in changes:
            target = body
            try:
                for key in path[:-1]:
                    target = target[key]
                if value is REMOVED:
                    del target[path[-1]]
                else:
                    target[path[-1]] = value
            except (LookupError, TypeError):
                continue  # an earlier change took that place away
        return body

    inside = [path for path in places(original) if path]
    return st.lists(st.tuples(st.sampled_from(inside), values), min_size=1, max_size=4).map(apply)


@pytest.mark.parametrize(
    ("resource", "read", "original"), [(PODS, read_pod, POD), (JOBS, read_job, JOB)], ids=["pods", "jobs"]
)
@settings(phases=set(Phase) - {Phase.explain})  # which traces every line, for minutes
@given(data=st.data())
def test_no_object_stops_an_informer(resource, read, original, data):
    odd = [data.draw(mutated(original)) for _ in range(3)]
    good = copy.deepcopy(original)
    good["metadata"]["uid"] = "good"
    events = [{"type": kind, "object": odd[2]} for kind in ("MODIFIED", "DELETED", "ADDED")]
    informer, _ = asyncio.run(informed(resource, read, [*odd[:2], good], events))
    assert any((s.uid if resource is PODS else s.job.uid) == "good" for s in informer.of("u1"))
    if resource is PODS:
        Observation("lab").update([], informer.of("u1"), 0.0)
