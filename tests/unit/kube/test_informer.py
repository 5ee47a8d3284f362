"""What an informer holds, what it reports, and that no object stops it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import aiohttp
import pytest

from podium.kube import PODS, informer
from podium.kube.client import ApiError


@dataclass(frozen=True)
class Thing:
    uid: str
    belongs_to: str
    state: str

    @property
    def outlasts(self):
        return self.state == "ended"

    def after(self, earlier):
        return replace(self, state=f"{self.state} as before") if earlier.state == self.state == "lasting" else self


def body(uid, run, state, version="1"):
    return {"metadata": {"uid": uid, "run": run, "resourceVersion": version}, "state": state}


def thing(found):
    if found["state"] == "foreign":
        return None
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
        assert (resource, namespace, selector) == (PODS, "lab", "run")
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
            yield item if isinstance(item, list) else [item]


@pytest.fixture
def ignored():
    """What was reported as ignored."""
    return []


@pytest.fixture
def watched(monkeypatch, ignored):
    """Runs an informer until the server has nothing more: (the informer, the keys that changed, versions asked for)."""
    monkeypatch.setattr(informer.random, "uniform", lambda *_: 0.0)

    async def run(lists, watches):
        server, woken = Server(lists, watches), []
        pods = informer.Informer(
            server, PODS, "lab", "run", thing, changed=woken.append, seen=lambda _: None,
            ignored=lambda resource, reason: ignored.append(f"{resource} {reason}"),
        )  # fmt: skip
        task = asyncio.create_task(pods.run())
        await asyncio.wait_for(server.idle.wait(), 5)
        task.cancel()
        assert pods.listed.is_set()
        return pods, woken, server.versions

    return run


async def test_a_list_of_several_pages_then_events(watched):
    pages = [[body("p1", "r1", "new"), body("p2", "r2", "new")], [body("p3", "r1", "new")]]
    events = [event("MODIFIED", "p1", "r1", "runs", "101"), event("ADDED", "p4", "r3", "new", "102"),
              event("DELETED", "p3", "r1", "new", "103"), event("BOOKMARK", "", "", "", "110")]  # fmt: skip
    pods, woken, versions = await watched([pages], [events])
    assert list(pods.of("r1")) == [Thing("p1", "r1", "runs")]
    assert list(pods.of("r3")) == [Thing("p4", "r3", "new")]
    assert sorted(woken[:2]) == ["r1", "r2"]
    assert woken[2:] == ["r1", "r3", "r1"]
    assert versions == ["100", "110"]  # a watch that ends is taken up after the bookmark


async def test_an_event_that_changes_nothing_that_matters_is_not_reported(watched):
    _, woken, _ = await watched([[[body("p1", "r1", "runs")]]], [[event("MODIFIED", "p1", "r1", "runs", "101")]])
    assert woken == ["r1"]


async def test_what_only_an_earlier_event_showed_is_kept(watched):
    events = [event("MODIFIED", "p1", "r1", "lasting", "101")]
    pods, _, _ = await watched([[[body("p1", "r1", "lasting")]]], [events])
    assert list(pods.of("r1")) == [Thing("p1", "r1", "lasting as before")]


async def test_the_last_word_of_an_object_that_is_gone_is_heard_once(watched):
    """It comes with the deletion, or right before it."""
    events = [[event("MODIFIED", "a", "r1", "ended", "101"), event("DELETED", "a", "r1", "ended", "102")],
              [event("DELETED", "b", "r1", "ended", "103"), event("DELETED", "c", "r1", "x", "104")]]  # fmt: skip
    found, _, _ = await watched([[[body("a", "r1", "x"), body("b", "r1", "x"), body("c", "r1", "x")]]], events)
    assert list(found.of("r1")) == []
    assert [(one.uid, one.state) for one in found.of("r1", gone=True)] == [("a", "ended"), ("b", "ended")]
    assert list(found.of("r1", gone=True)) == []
    assert not found._gone


async def test_nothing_is_kept_of_a_run_without_objects(watched):
    pods, woken, _ = await watched([[[body("p1", "r1", "runs")]]], [[event("DELETED", "p1", "r1", "runs", "101")]])
    assert list(pods.of("r1")) == []
    assert woken == ["r1", "r1"]
    assert (pods._snapshots, pods._keys) == ({}, {})


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
    pods, woken, versions = await watched([before, after], [[too_old]])
    assert list(pods.of("r2")) == []
    assert list(pods.of("r1")) == [Thing("p1", "r1", "runs")]
    assert sorted(woken[3:]) == ["r1", "r2"]  # r3 is as it was
    assert versions == ["100", "100"]


@pytest.mark.parametrize("broken", [aiohttp.ClientPayloadError("reset"), TimeoutError(), ApiError(500, "", "later")])
async def test_a_broken_watch_goes_on_where_it_was(watched, broken):
    events = [event("ADDED", "p1", "r1", "new", "101"), broken]
    pods, woken, versions = await watched([[[]]], [events, [event("MODIFIED", "p1", "r1", "runs", "102")]])
    assert list(pods.of("r1")) == [Thing("p1", "r1", "runs")]
    assert woken == ["r1", "r1"]
    assert versions == ["100", "101", "102"]


async def test_an_object_that_moves_leaves_nothing_behind(watched):
    pods, woken, _ = await watched([[[body("p1", "r1", "new")]]], [[event("MODIFIED", "p1", "r2", "new", "101")]])
    assert list(pods.of("r1")) == []
    assert list(pods.of("r2")) == [Thing("p1", "r2", "new")]
    assert woken[0] == "r1"
    assert sorted(woken[1:]) == ["r1", "r2"]


# ---- what is not ours, or cannot be read ----

UNREADABLE = {"metadata": {"uid": "bad", "namespace": "lab", "name": "netcheck", "resourceVersion": "105"}}
ODD = [None, 7, "text", [], {}, {"metadata": None}, {"metadata": []}, {"metadata": {"uid": None}}, UNREADABLE]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_an_object_that_cannot_be_read_is_left_alone(watched, ignored, caplog, odd):
    pages = [[odd, body("p1", "r1", "new")]]
    events = [
        {"type": "MODIFIED", "object": odd},
        event("ADDED", "p2", "r1", "new", "102"),
        {"type": "ADDED", "object": odd},
    ]
    pods, _, _ = await watched([pages], [events])
    assert [thing.uid for thing in pods.of("r1")] == ["p1", "p2"]
    assert ignored == ["pods unreadable"]
    assert sum("ignoring unreadable pods" in line for line in caplog.messages) == 1  # one line per object


async def test_a_foreign_object_is_left_alone_and_reported_again_only_when_it_is_another(watched, ignored):
    stranger = ("s1", "r1", "foreign")
    events = [event("MODIFIED", *stranger, "101"), event("DELETED", *stranger, "102"), event("ADDED", *stranger, "103"),
              event("ADDED", "s2", "r1", "foreign", "104")]  # fmt: skip
    pods, woken, versions = await watched([[[body(*stranger), body("p1", "r1", "new")]]], [events])
    assert [thing.uid for thing in pods.of("r1")] == ["p1"]
    assert woken == ["r1"]
    assert ignored == ["pods foreign"] * 3  # s1, s1 when it came back, s2
    assert versions == ["100", "104"]


async def test_an_object_that_becomes_foreign_is_gone_and_one_that_becomes_unreadable_is_as_it_was(watched):
    broken = {"type": "MODIFIED", "object": {"metadata": {"uid": "p2", "resourceVersion": "102"}}}
    events = [event("MODIFIED", "p1", "r1", "foreign", "101"), broken]
    pods, woken, _ = await watched([[[body("p1", "r1", "new"), body("p2", "r1", "new")]]], [events])
    assert list(pods.of("r1")) == [Thing("p2", "r1", "new")]
    assert woken == ["r1", "r1"]


@pytest.mark.parametrize("odd", [None, 1, [], {}, {"type": "ADDED"}, {"object": 3}, {"type": "ERROR"}], ids=str)
async def test_an_event_without_an_object_is_passed_over(watched, odd):
    pods, _, versions = await watched([[[]]], [[[odd], event("ADDED", "p1", "r1", "new", "101")]])
    assert [thing.uid for thing in pods.of("r1")] == ["p1"]
    assert versions == ["100", "101"]


async def test_an_error_event_of_another_shape_is_a_broken_watch(watched):
    odd = {"type": "ERROR", "object": {"code": "x", "message": None}}
    pods, _, versions = await watched([[[]]], [[odd], [event("ADDED", "p1", "r1", "new", "101")]])
    assert [thing.uid for thing in pods.of("r1")] == ["p1"]
    assert versions == ["100", "100", "101"]


async def test_a_watch_that_ends_at_once_is_not_reopened_at_once(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 7:
            raise asyncio.CancelledError

    monkeypatch.setattr(informer.random, "uniform", lambda _, most: most)
    server = Server([[[]]], [[]] * 7)
    pods = informer.Informer(
        server, PODS, "lab", "run", thing, changed=print, seen=lambda _: None, ignored=lambda *_: None
    )
    monkeypatch.setattr(informer.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await pods.run()
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_the_objects_of_one_key_can_be_listed_once_more(ignored):
    """A late watch shows neither that the pod has started nor that another one is gone."""

    class Late:
        async def pages(self, resource, namespace, selector):
            assert (resource, namespace, selector) == (PODS, "lab", "run=r1")
            yield [body("a", "r1", "running"), body("new", "r1", "pending")], "100"
            yield [body("x", "r1", "foreign")], "100"

    pods = informer.Informer(
        Late(), PODS, None, "run", thing, changed=lambda _: None, seen=lambda _: None, ignored=lambda *_: None
    )
    for known in (body("a", "r1", "pending"), body("gone", "r1", "running"), body("b", "r2", "running")):
        pods._put(known["metadata"]["uid"], known)
    await pods.refresh("lab", "r1")
    assert [(p.uid, p.state) for p in pods.of("r1")] == [("a", "running"), ("new", "pending")]
    assert [p.uid for p in pods.of("r2")] == ["b"]
