"""Following one run, and rank 0's output, through whatever the API server does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest

from podium.api import AttemptState
from podium.cli.watch import rank0_tail
from podium.cli.watch.rank0_tail import Rank0Tail
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.status_writer import status_document
from podium.kube import run_watch
from podium.kube.client import ApiError
from podium.kube.run_watch import Outage, watch_run
from podium.reconcile import read_run
from tests.unit.reconcile import examples as ex

GONE = ApiError(404, "NotFound", 'benchmarkruns "digits" not found')
FORBIDDEN = ApiError(403, "Forbidden", "you may not")
DOWN = aiohttp.ClientConnectionError("refused")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(run_watch, "_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(rank0_tail, "_LOOK_SECONDS", 0.001)


def body(version, *attempts, uid="1"):
    run = ex.run()
    return {
        "metadata": {"namespace": "lab", "name": "digits", "uid": uid, "generation": 1, "resourceVersion": version},
        "spec": run.spec.model_dump(by_alias=True, exclude_none=True, mode="json"),
        "status": status_document(ex.status(*attempts)),
    }


def event(kind, *of, **more):
    return {"type": kind, "object": body(*of, **more)}


class Server:
    """Answers of `get`, one a time, and of `watch_one`: lists of events, or an error that ends them."""

    def __init__(self, gets, watches=()):
        self.gets, self.watches = list(gets), list(watches)

    async def get(self, resource, namespace, name):
        assert (resource, namespace, name) == (BENCHMARK_RUNS, "lab", "digits")
        answer = self.gets.pop(0) if self.gets else GONE
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch_one(self, resource, namespace, name, version):
        for item in self.watches.pop(0) if self.watches else ():
            if isinstance(item, Exception):
                raise item
            yield [item]


async def seen(server):
    """States of attempt 1 ("" before there is one), and outages in brackets."""
    reported = []
    async for each in watch_run(server, BENCHMARK_RUNS, "lab", "digits", read_run):
        if isinstance(each, Outage):
            reported.append(f"[{each.message}]")
        else:
            reported.append("".join(str(a.state) for a in each.status.attempts))
    return reported


PENDING, TRAINING = ex.attempt(), ex.attempt(state=AttemptState.TRAINING)


@pytest.mark.parametrize(
    ("gets", "watches", "expected"),
    [
        ([body("1")], [[event("MODIFIED", "2", PENDING), event("DELETED", "3")]], ["", "Pending"]),
        ([body("1"), body("1")], [[], [event("DELETED", "3")]], [""]),  # a watch that ends is not news
        ([body("1"), body("4", TRAINING)], [[event("MODIFIED", "2", PENDING)]], ["", "Pending", "Training"]),
        ([body("1"), body("2", PENDING)], [[DOWN], [event("DELETED", "3")]], ["", "Pending"]),
        ([body("1"), DOWN, DOWN, body("1")], [[DOWN]], ["", "[refused]", "[refused]", ""]),
        ([body("1"), body("9", PENDING)], [[{"type": "ERROR", "object": {"code": 410}}]], ["", "Pending"]),
        ([body("1"), FORBIDDEN, body("2", PENDING)], [[DOWN]], ["", "[you may not]", "Pending"]),
        ([body("1"), body("2", PENDING, uid="2")], [[]], [""]),  # another run of that name
    ],
)
async def test_what_is_seen_of_a_run(gets, watches, expected):
    assert await asyncio.wait_for(seen(Server(gets, watches)), 5) == expected


async def test_a_watch_that_ends_at_once_is_not_reopened_at_once(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(run_watch, "_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(run_watch.asyncio, "sleep", sleep)
    assert await seen(Server([body("1")] * 6)) == [""]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@pytest.mark.parametrize("error", [GONE, FORBIDDEN, DOWN, TimeoutError()])
async def test_a_first_request_that_fails_is_the_callers(error):
    with pytest.raises(type(error)):
        await seen(Server([error]))


async def test_a_right_that_stays_lost_is_reported(monkeypatch):
    monkeypatch.setattr(run_watch, "_REFUSED_SECONDS", 0.0)
    with pytest.raises(ApiError, match="you may not"):
        await seen(Server([body("1"), *[FORBIDDEN] * 9], [[DOWN]]))


def pod(name, labels, status):
    job = f"podium-digits-{labels['podium.dev/attempt']}-{labels['podium.dev/try']}"
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": job, "controller": True}
    metadata = {
        "name": name,
        "namespace": "lab",
        "uid": name,
        "labels": labels,
        "annotations": {"batch.kubernetes.io/job-completion-index": "0"},
        "ownerReferences": [owner],
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "spec": {}, "status": status}


class Node:
    """Rank 0's pods by try, and their logs, which a stream gives whole."""

    def __init__(self, logs, *, refusal=None):
        self.logs, self.refusal = logs, refusal

    async def pages(self, resource, namespace, selector):
        assert "podium.dev/run-uid=11111111-2222-3333-4444-555555555555" in selector
        labels = dict(part.split("=") for part in selector.split(","))
        name = f"pod-{labels['podium.dev/attempt']}-{labels['podium.dev/try']}"
        status = {
            "containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]
        }
        found = [pod(name, labels, status)] if name in self.logs else []
        # what else carries these labels: a pod of another Job, and one that nothing is known of
        stranger = pod("stranger", labels, status)
        stranger["metadata"]["ownerReferences"][0]["name"] = "other-1-0"
        found = [stranger, {"metadata": {"labels": labels}}, *found]
        yield found, "1"

    @asynccontextmanager
    async def log(self, namespace, pod, container, **query):
        if self.refusal:
            raise self.refusal

        async def chunks():
            for second, line in enumerate(self.logs[pod]):
                yield f"2026-01-01T00:00:{second:02}.000000000Z {line}\n".encode()

        yield chunks()


async def printed(node, *statuses):
    """Lines and sentences, after each status was seen in turn."""
    reported = []
    log = Rank0Tail(node, lambda id_, line: reported.append(f"{id_}: {line}"), reported.append)
    for attempts in statuses:
        log.update(ex.run(ex.status(*attempts)))
        await asyncio.sleep(0.05)
    await log.drain(5)
    return reported


async def test_each_line_of_each_try_is_printed_once():
    node = Node({"pod-1-0": ["a", "b"], "pod-1-1": ["c"]})
    lost = ex.attempt(state=AttemptState.FAILED, reason="PodLost")
    again = ex.attempt(try_=1, state=AttemptState.TRAINING)
    done = ex.attempt(try_=1, state=AttemptState.CONVERGED)
    assert await printed(node, [TRAINING], [lost, again], [lost, done]) == [
        "attempt 1: a",
        "attempt 1: b",
        "attempt 1 (retry 1): c",
    ]


async def test_tries_that_ended_before_the_watch_began_are_left_out():
    assert await printed(Node({"pod-1-0": ["a"]}), [ex.converged(1, 40)]) == []


async def test_a_try_without_a_pod_ends_without_a_line():
    assert await printed(Node({}), [PENDING], [ex.attempt(state=AttemptState.FAILED)]) == []


async def test_a_log_that_may_not_be_read_is_reported_once():
    node = Node({"pod-1-0": ["a"]}, refusal=FORBIDDEN)
    assert await printed(node, [TRAINING], [TRAINING]) == ["cannot read the log: you may not"]
