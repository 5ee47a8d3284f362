"""What the watch of Jobs and pods holds, and whom it tells of what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import pytest

from podium.kube import informer
from podium.kube.client import ApiError


@dataclass(frozen=True)
class Thing:
    uid: str
    run_uid: str
    state: str


def body(uid, run, state, version="1"):
    return {"metadata": {"uid": uid, "run": run, "resourceVersion": version}, "state": state}


def thing(found):
    return Thing(found["metadata"]["uid"], found["metadata"]["run"], found["state"])


def event(kind, *of):
    return {"type": kind, "object": body(*of)}


class Server:
    """Lists are taken from `lists`, one a time; watches from `watches`: events, or an error that ends them."""

    def __init__(self, lists, watches):
        self.lists, self.watches = list(lists), list(watches)
        self.versions = []
        self.idle = asyncio.Event()

    async def pages(self, resource, namespace, selector):
        assert (resource, namespace, selector) == ("pods", "lab", "podium.dev/run-uid")
        for page in self.lists.pop(0):
            yield page, "100"

    async def watch(self, resource, namespace, selector, version):
        self.versions.append(version)
        if not self.watches:
            self.idle.set()
            await asyncio.sleep(3600)
        for item in self.watches.pop(0):
            if isinstance(item, Exception):
                raise item
            yield [item]


@pytest.fixture
def watched(monkeypatch):
    """Runs a watch until the server has nothing more to tell: (what it holds, who was told, versions asked for)."""
    monkeypatch.setattr(informer.random, "uniform", lambda *_: 0.0)

    async def run(lists, watches):
        server, told = Server(lists, watches), []
        pods = informer.Informer(server, "pods", "lab", thing, changed=told.append, seen=lambda _: None)
        task = asyncio.create_task(pods.run())
        await asyncio.wait_for(server.idle.wait(), 5)
        task.cancel()
        assert pods.listed.is_set()
        return pods, told, server.versions

    return run


async def test_a_list_of_several_pages_then_events(watched):
    pages = [[body("p1", "r1", "new"), body("p2", "r2", "new")], [body("p3", "r1", "new")]]
    events = [event("MODIFIED", "p1", "r1", "runs", "101"), event("ADDED", "p4", "r3", "new", "102"),
              event("DELETED", "p3", "r1", "new", "103"), event("BOOKMARK", "", "", "", "110")]  # fmt: skip
    pods, told, versions = await watched([pages], [events])
    assert list(pods.of("r1")) == [Thing("p1", "r1", "runs")]
    assert list(pods.of("r3")) == [Thing("p4", "r3", "new")]
    assert sorted(told[:2]) == ["r1", "r2"]
    assert told[2:] == ["r1", "r3", "r1"]
    assert versions == ["100", "110"]  # a watch that ends is taken up after the bookmark


async def test_an_event_that_changes_nothing_that_matters_is_not_told(watched):
    _, told, _ = await watched([[[body("p1", "r1", "runs")]]], [[event("MODIFIED", "p1", "r1", "runs", "101")]])
    assert told == ["r1"]


async def test_nothing_is_kept_of_a_run_without_objects(watched):
    pods, told, _ = await watched([[[body("p1", "r1", "runs")]]], [[event("DELETED", "p1", "r1", "runs", "101")]])
    assert list(pods.of("r1")) == []
    assert told == ["r1", "r1"]
    assert pods._facts == {}


@pytest.mark.parametrize(
    "too_old",
    [
        ApiError(410, "Expired", "too old resource version"),
        {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old resource version"}},
    ],
)
async def test_what_was_missed_is_found_by_listing_anew(watched, too_old):
    before = [[body("p1", "r1", "new"), body("p2", "r2", "new"), body("p3", "r3", "new")]]
    after = [[body("p1", "r1", "runs"), body("p3", "r3", "new")]]
    pods, told, versions = await watched([before, after], [[too_old]])
    assert list(pods.of("r2")) == []
    assert list(pods.of("r1")) == [Thing("p1", "r1", "runs")]
    assert sorted(told[3:]) == ["r1", "r2"]  # r3 is as it was
    assert versions == ["100", "100"]


@pytest.mark.parametrize("broken", [aiohttp.ClientPayloadError("reset"), TimeoutError(), ApiError(500, "", "later")])
async def test_a_broken_watch_goes_on_where_it_was(watched, broken):
    events = [event("ADDED", "p1", "r1", "new", "101"), broken]
    pods, told, versions = await watched([[[]]], [events, [event("MODIFIED", "p1", "r1", "runs", "102")]])
    assert list(pods.of("r1")) == [Thing("p1", "r1", "runs")]
    assert told == ["r1", "r1"]
    assert versions == ["100", "101", "102"]
