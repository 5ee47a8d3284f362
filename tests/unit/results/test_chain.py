"""The chain over all runs of a namespace: it is not forked, and nothing holds a result up."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from podium.api import Score
from podium.controller import uploads
from podium.reconcile import StoreResult
from podium.results import Chain, ResultWriter, ledger, result_folder
from podium.results.chain import chain_text, ended
from podium.stores import AlreadyExists, FileStore, StoreRefused, StoreUnavailable
from tests.unit.reconcile import examples as ex
from tests.unit.results.ledgers import unbroken
from tests.unit.results.test_writer import MemoryStore

ACTION = StoreResult(Score(valid=True, official=False), (), "Complete", "")


def entry(number):
    run = replace(ex.run(), name=f"run-{number}", uid=f"uid-{number}")
    return ended(run, ACTION, result_folder(run), "ab")


def names(store):
    return [line["run"]["name"] for line in unbroken(chain_text(store))]


def test_it_grows_by_any_process(tmp_path):
    store = FileStore(tmp_path)
    one, other = Chain(store), Chain(store)
    assert one.head().records == other.head().records == 0
    one.append([entry(1)])
    other.append([entry(2), entry(3)])  # it has not seen the first yet
    one.append([entry(4)])
    Chain(store).append([entry(5)])
    assert names(store) == [f"run-{number}" for number in range(1, 6)]
    assert [file.name for file in sorted(tmp_path.iterdir())] == [f"{n:09}.jsonl" for n in range(1, 5)]


def test_many_threads_at_once_fork_nothing(tmp_path):
    store = FileStore(tmp_path)
    chains = [Chain(store) for _ in range(4)]
    threads = [
        threading.Thread(target=chain.append, args=([entry(10 * i + n)],))
        for n in range(5)
        for i, chain in enumerate(chains)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(store)) == len(set(names(store))) == 20


class LosingStore(MemoryStore):
    """Applies a put, and answers with an error."""

    loses = True

    def put(self, key, data, **options):
        super().put(key, data, **options)
        if self.loses:
            self.loses = False
            raise StoreUnavailable("no answer")


def test_a_lost_acknowledgment_adds_nothing_twice():
    store = LosingStore()
    chain = Chain(store)
    with pytest.raises(StoreUnavailable):
        chain.append([entry(1)])
    chain.append([entry(1), entry(2)])
    assert names(store) == ["run-1", "run-2"]


def test_an_entry_whose_acknowledgment_was_lost_is_there_already():
    store = LosingStore()
    chain = Chain(store)
    with pytest.raises(StoreUnavailable):
        chain.append([entry(1)])
    chain.append([entry(1)])
    assert store.list() == ["000000001.jsonl"]


def test_a_new_process_goes_on_after_the_last_object(tmp_path):
    """Whatever else lies in the folder."""
    store = FileStore(tmp_path)
    chain = Chain(store)
    for number in (1, 2, 3):
        chain.append([entry(number)])
    for name in ("notes.txt", "x.jsonl", "9999999999.jsonl"):
        store.put(name, b"not a line of the chain\n")
    assert Chain(store).head() == chain.head()
    Chain(store).append([entry(4)])
    assert names(store) == [f"run-{number}" for number in range(1, 5)]
    assert store.list().count("000000004.jsonl") == 1


class TakenStore(MemoryStore):
    """Somebody else takes each next object first; a store that is not consistent does not show it."""

    shows = True

    def put(self, key, data, **options):
        if self.shows:
            super().put(key, ledger.append(ledger.Head(int(key[:9]) - 1), [entry(0)], 0.0)[0])
        raise AlreadyExists(key)


@pytest.mark.parametrize(
    ("shows", "message"), [(True, "others write all the time"), (False, "does not return what is")]
)
def test_an_entry_that_finds_no_place_is_tried_again_later(shows, message):
    store = TakenStore()
    store.shows = shows
    with pytest.raises(StoreUnavailable, match=f"memory:.* {message}.*; a retry may help"):
        Chain(store).append([entry(1)])


def test_a_result_names_the_head_of_the_chain(tmp_path):
    store = FileStore(tmp_path)
    chain = Chain(store.child("ledger/lab"))
    chain.append([entry(1), entry(2)])
    ResultWriter(store.child("lab/digits"), ex.run(), chain=chain).put_result(ACTION, target={}, nodes=[])
    last = unbroken(store.get("lab/digits/ledger.jsonl"))[-1]
    assert last["chain"] == {"lines": 2, "sha256": chain.head().sha256}


# ---- how the operator adds to it ----


class Telemetry:
    def uploaded(self, outcome, seconds):
        pass


async def test_a_hundred_runs_that_end_together_are_a_few_objects(tmp_path):
    recorder = uploads.Recorder(FileStore(tmp_path), Telemetry())
    runs = [replace(ex.run(), name=f"run-{number}", uid=f"uid-{number:04}") for number in range(100)]
    results = await asyncio.gather(*(recorder.put_result(run, ACTION, {}, []) for run in runs))
    store = FileStore(tmp_path / "ledger/lab")
    assert sorted(names(store)) == sorted(run.name for run in runs)
    assert {line["sumsSha256"] for line in unbroken(chain_text(store))} == {sealed.result.sha256 for sealed in results}
    assert len(store.list()) < 60
    assert recorder._ledgers == {}


class Refusing:
    """A store that refuses, or loses, what is below ledger/."""

    def __init__(self, store, error):
        self.store, self.error, self.url = store, error, store.url

    def child(self, prefix):
        return (
            Refusing(self.store.child(prefix), self.error) if prefix.startswith("ledger/") else self.store.child(prefix)
        )

    def list(self, prefix=""):
        raise self.error


async def test_a_store_that_refuses_the_chain_costs_no_result(tmp_path, caplog):
    recorder = uploads.Recorder(Refusing(FileStore(tmp_path), StoreRefused("access denied")), Telemetry())
    result = (await recorder.put_result(ex.run(), ACTION, {}, [])).result
    assert (FileStore(tmp_path / result_folder(ex.run())).get("SHA256SUMS"), result.sha256) != (b"", "")
    assert "the chain over all runs lacks" in caplog.text


async def test_while_the_store_is_away_the_result_is_tried_again(tmp_path):
    store = Refusing(FileStore(tmp_path), StoreUnavailable("away"))
    recorder = uploads.Recorder(store, Telemetry())
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="away"):
            await recorder.put_result(ex.run(), ACTION, {}, [])
    recorder = uploads.Recorder(FileStore(tmp_path), Telemetry())
    await recorder.put_result(ex.run(), ACTION, {}, [])
    assert names(FileStore(tmp_path / "ledger/lab")) == ["digits"]


async def test_an_error_that_nobody_expects_reaches_those_that_wait(tmp_path, monkeypatch):
    recorder = uploads.Recorder(FileStore(tmp_path), Telemetry())
    monkeypatch.setattr(Chain, "append", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(recorder.put_result(ex.run(), ACTION, {}, []), 20)
