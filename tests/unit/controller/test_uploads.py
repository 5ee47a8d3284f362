"""Uploads through a store that is slow or away."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest

from podium.controller import uploads
from podium.controller.logs import LogCollector
from podium.controller.observation import Observation
from podium.controller.state import RunState
from podium.controller.uploads import Uploader
from podium.kube import ApiError
from podium.launch import Inputs
from podium.reconcile import StoreAttempt
from podium.results import AttemptFiles, Segment
from podium.rounds import load_rounds
from podium.stores import StoreUnavailable
from tests.unit.reconcile import examples as ex

DONE = StoreAttempt(ex.converged(1, 40, stored=False), concluding=True)


class Recorder:
    """Fails as often as it is asked to, then stores; `gate` holds it up."""

    def __init__(self, failures=0):
        self.failures, self.put, self.gate = failures, [], asyncio.Event()
        self.gate.set()

    async def put_attempt(self, run, action, files):
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("s3://results: away")
        self.put.append((action.attempt.id, files.summary.lines))


@pytest.fixture
def uploader(monkeypatch):
    """An uploader with its recorder, the state of a run whose log is read, and the delays that it asked for."""
    monkeypatch.setattr(uploads, "_WAIT_SECONDS", 0.01)
    recorder, delays = Recorder(), []
    logs = LogCollector(None, recorder, lambda *_: None)
    made = Uploader(None, recorder, logs, inputs=Inputs(load_rounds()), wake=lambda _, seconds: delays.append(seconds))
    state = RunState(ex.run(), None, Observation("lab"))
    logs.release(state, DONE.attempt.id, ex.log(ex.START))
    return made, recorder, state, delays


async def test_an_upload_in_one_go(uploader):
    made, recorder, state, _ = uploader
    assert await made.store(state, DONE)
    assert recorder.put == [(DONE.attempt.id, 1)]
    assert (state.uploads.stored, state.uploads.error, state.uploads.storing) == ({DONE.attempt.id}, "", {})


async def test_a_store_that_is_away_is_tried_again_later_each_time(uploader, monkeypatch):
    made, recorder, state, delays = uploader
    recorder.failures = 2
    now = [100.0]
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now[0])
    assert await made.store(state, DONE)  # it has ended: the status shows the error
    assert (state.uploads.error, state.uploads.stored) == ("s3://results: away", set())
    assert not await made.store(state, DONE)
    assert delays == [2.0]
    now[0] += 2.0
    assert await made.store(state, DONE)
    assert not await made.store(state, DONE)
    assert delays == [2.0, 4.0]
    now[0] += 4.0
    assert await made.store(state, DONE)
    assert (state.uploads.error, state.uploads.failures, state.uploads.stored) == ("", 0, {DONE.attempt.id})


async def test_a_slow_upload_goes_on_and_wakes_its_run(uploader):
    made, recorder, state, delays = uploader
    recorder.gate.clear()
    assert not await made.store(state, DONE)
    assert not await made.store(state, DONE)  # it is not started twice
    recorder.gate.set()
    await asyncio.sleep(0.01)
    assert delays == [0.0]
    assert await made.store(state, DONE)
    assert recorder.put == [(DONE.attempt.id, 1)]


async def test_few_runs_wait_for_a_slow_store_at_once(uploader, monkeypatch):
    """Each holds a worker of the controller, and new runs need one to start."""
    made, recorder, state, delays = uploader
    monkeypatch.setattr(uploads, "_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(uploads, "_MOST_WAITING", 1)
    recorder.gate.clear()
    other = RunState(replace(ex.run(), uid="other"), None, Observation("lab"))
    other.logs.read[DONE.attempt.id] = ex.log(ex.START)
    waits = asyncio.create_task(made.store(state, DONE))
    await asyncio.sleep(0)
    assert not await asyncio.wait_for(made.store(other, DONE), 1)
    recorder.gate.set()
    assert await asyncio.wait_for(waits, 1)
    await asyncio.sleep(0)
    assert delays == [0.0]  # the other run is looked at once its files are stored
    assert await asyncio.wait_for(made.store(other, DONE), 1)
    assert len(recorder.put) == 2


class StalledStore:
    """A store that does not answer for the run `lab/digits`, such as a network file system that is away."""

    url = "file:///results"

    def __init__(self, stalled, folder=""):
        self.stalled, self.folder = stalled, folder

    def child(self, prefix):
        return StalledStore(self.stalled, prefix)

    def together(self):
        return nullcontext(self)

    def list(self, prefix=""):
        return []

    def put(self, key, data, **_):
        if self.folder.startswith("lab/digits-"):
            self.stalled.wait(10)

    def put_file(self, key, file, **_):
        self.put(key, b"")


class Telemetry:
    def __init__(self):
        self.outcomes = []

    def uploaded(self, outcome, seconds):
        self.outcomes.append(outcome)


async def test_a_store_that_does_not_answer_is_given_up_and_holds_up_no_other_run(monkeypatch):
    monkeypatch.setattr(uploads, "_STALLED_SECONDS", 0.1)
    stalled, telemetry = threading.Event(), Telemetry()
    recorder = uploads.Recorder(StalledStore(stalled), telemetry, threads=2)
    files = AttemptFiles(summary=ex.log(ex.START).summary, lines=[":::MLLOG one"])
    try:
        with pytest.raises(StoreUnavailable, match=r"^file:///results has not answered for 0 s; it is tried again$"):
            await recorder.put_attempt(ex.run(), DONE, files)
        other = replace(ex.run(), name="other", uid="another")
        await recorder.put_attempt(other, DONE, files)
        await recorder.put_checkpoint(other, Segment(ex.FIRST, "aa", 0, b"rows", 4, ""), ())
        assert telemetry.outcomes == ["error", "success", "success"]
    finally:
        stalled.set()


async def test_a_disk_without_room_for_the_files_delays_an_upload(uploader, monkeypatch):
    made, recorder, state, _ = uploader

    async def no_room(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "put_attempt", no_room)
        assert await made.store(state, DONE)
    assert "No space left on device" in state.uploads.error
    assert not state.uploads.stored


class Nodes:
    """An API server that describes nodes, or is not allowed to."""

    def __init__(self):
        self.asked, self.refused = [], False

    async def get(self, resource, namespace, name):
        self.asked.append(name)
        await asyncio.sleep(0)
        if self.refused:
            raise ApiError(403, "Forbidden", "nodes are forbidden")
        return {
            "metadata": {"labels": {"kubernetes.io/arch": "amd64", "team": "a"}},
            "status": {"capacity": {"cpu": "2"}},
        }


async def test_runs_that_end_together_ask_for_a_node_once():
    api = Nodes()
    uploader = Uploader(api, None, None, inputs=Inputs(load_rounds()), wake=None)
    known = {"name": "a", "capacity": {"cpu": "2"}, "info": {}, "labels": {"kubernetes.io/arch": "amd64"}}
    assert await asyncio.gather(*(uploader._node("a") for _ in range(3))) == [known] * 3
    assert await uploader._node("a") == known
    api.refused = True
    assert [found["name"] for found in await asyncio.gather(*(uploader._node("b") for _ in range(2)))] == ["b", "b"]
    assert "nodes are forbidden" in (await uploader._node("b"))["unknown"]
    api.refused = False
    assert "capacity" in await uploader._node("b")
    assert api.asked == ["a", "b", "b", "b"]
