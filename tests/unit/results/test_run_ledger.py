"""The ledger in a result folder: what it says, and that nothing forks it."""

from __future__ import annotations

import errno
import hashlib
import os

import pytest

from podium.api import TryId
from podium.reconcile import StoreAttempt
from podium.results import ResultWriter
from podium.stores import StoreUnavailable, digest
from tests.unit.reconcile import examples as ex
from tests.unit.results.ledgers import put_checkpoint, unbroken
from tests.unit.results.test_writer import DONE, FILES, LOST, put_all, put_result
from tests.unit.results.test_writer import writer as writer  # noqa: PLC0414 - a fixture


def test_the_ledger_tells_what_happened(writer):
    put_checkpoint(writer, DONE.id, "aa", 0, b"2026-01-01T00:00:00Z :::MLLOG one\n")
    put_all(writer)
    first, *entries, last = unbroken(writer.store.get("ledger.jsonl"))
    assert first["run"] == {"namespace": "lab", "name": "digits", "uid": ex.run().uid}
    assert first["seeds"] == "a new random seed for each try, drawn by the operator"
    # at the time of the checkpoint, the status did not list the try yet
    assert [(e["kind"], e["attempt"], e["try"]) for e in entries] == [
        ("checkpoint", 1, 1), ("try", 1, 0), ("end", 1, 0), ("try", 1, 1), ("end", 1, 1),
    ]  # fmt: skip
    assert entries[0]["logSha256"] == hashlib.sha256(b":::MLLOG one\n").hexdigest()
    assert entries[0]["logBytes"] == 13
    assert entries[1]["seed"] == LOST.seed
    assert [pod["name"] for pod in entries[1]["pods"]] == [FILES.containers[0].name, FILES.containers[1].name]
    assert (entries[4]["state"], entries[4]["timeToTrainSeconds"]) == ("Converged", "41.000")
    assert entries[4]["files"]["attempts/001/result.txt"] == digest(writer.store, "attempts/001/result.txt")
    assert (last["kind"], last["tries"], last["timeToTrainMinutes"]) == ("result", 2, "0.6833")
    assert last["files"].keys() == {"run.yaml", "system.json", "result.json"}
    assert not [key for key in writer.store.list() if key.startswith(("ledger-", "ledger/"))]


def test_two_processes_that_write_at_once_continue_one_ledger(writer):
    one, other = ResultWriter(writer.store, writer.run), ResultWriter(writer.store, writer.run)
    for process in (one, other):
        assert process.ledger.entries() == []
    one.put_attempt(StoreAttempt(LOST, concluding=False), FILES)
    other.put_attempt(StoreAttempt(LOST, concluding=False), FILES)
    other.put_attempt(StoreAttempt(DONE, concluding=True), FILES)
    put_result(one)
    put_result(other)
    entries = unbroken(writer.store.get("ledger.jsonl"))
    assert [entry["kind"] for entry in entries] == ["admitted", "try", "end", "try", "end", "result"]


def test_a_ledger_too_long_for_memory_is_read_again(writer):
    id_, row = DONE.id, b"2026-01-01T00:00:00Z :::MLLOG one\n"
    for count in range(1, 30):
        put_checkpoint(writer, id_, "aa", 0, row * count)
    put_all(writer)
    entries = unbroken(writer.store.get("ledger.jsonl"))
    assert [entry["logBytes"] for entry in entries if entry["kind"] == "checkpoint"] == [13 * n for n in range(1, 30)]


def test_a_ledger_that_an_earlier_version_began_continues_where_it_is(writer):
    """A process of that version may still be at work: a part that it puts takes the place of ours."""
    put_checkpoint(writer, DONE.id, "aa", 0, b"2026-01-01T00:00:00Z :::MLLOG one\n")
    (part,) = [key for key in writer.store.list() if key.startswith("ledger-")]
    writer.store.put(part.replace("ledger-", "ledger/"), writer.store.get(part))
    writer.store.delete(part)
    later = ResultWriter(writer.store, writer.run)
    later.put_attempt(StoreAttempt(DONE, concluding=True), FILES)
    assert [key for key in writer.store.list() if key.startswith(("ledger-", "ledger/"))] == [
        part.replace("ledger-", "ledger/"), part.replace("ledger-", "ledger/").replace("001.", "002."),
    ]  # fmt: skip
    put_result(later)
    entries = unbroken(writer.store.get("ledger.jsonl"))
    assert [entry["kind"] for entry in entries] == ["admitted", "checkpoint", "try", "end", "try", "result"]
    assert not [key for key in writer.store.list() if key.startswith(("ledger-", "ledger/"))]


def test_a_file_of_which_nobody_knows_what_was_stored_is_listed_as_found(writer):
    writer.store.put("attempts/001/result.0123abcd.txt", b"of a process that died")
    put_all(writer)
    last = unbroken(writer.store.get("ledger.jsonl"))[-1]
    assert last["found"] == {"attempts/001/result.0123abcd.txt": hashlib.sha256(b"of a process that died").hexdigest()}
    assert "result.0123abcd.txt" in writer.store.get("SHA256SUMS").decode()


def test_a_checkpoint_that_somebody_has_changed_is_not_restored(writer):
    id_, rows = TryId(attempt=1, number=1), b"2026-01-01T00:00:00Z :::MLLOG one\n"
    put_checkpoint(writer, id_, "aa", 0, rows)
    put_checkpoint(writer, id_, "aa", 0, rows + rows)
    (key,) = [key for key in writer.store.list() if key.startswith("checkpoints-")]
    writer.store.put(
        key, rows
    )  # its put was the last thing that a process did before it died: the earlier one is there
    later = ResultWriter(writer.store, writer.run)
    assert [found for _, found in later.checkpoint(id_).segments] == [rows]
    writer.store.put(key, rows.replace(b"one", b"two"))
    writer.store.put(key.replace("-aa", "-bb"), rows)  # what nobody has received
    assert [found for _, found in later.checkpoint(id_).segments] == []
    kinds = [entry["kind"] for entry in later.ledger.entries()]
    assert kinds == ["admitted", "checkpoint", "checkpoint", "refused", "refused"]


def test_a_process_that_does_not_know_that_the_ledger_is_closed_finds_out(writer):
    row = b"2026-01-01T00:00:00Z :::MLLOG one\n"
    late = ResultWriter(writer.store, writer.run)
    for count in range(1, 30):
        put_checkpoint(late, DONE.id, "aa", 0, row * count)
    put_all(writer)
    with pytest.raises(StoreUnavailable, match="another process has closed the ledger; a retry helps"):
        put_result(late)
    closed = writer.store.get("ledger.jsonl")
    put_result(late)
    assert writer.store.get("ledger.jsonl") == closed


def test_a_ledger_whose_folder_could_not_be_synced_is_read_again(writer, monkeypatch):
    """The part may be there or not: what another process has written in its place must not be forked."""
    id_, row = DONE.id, b"2026-01-01T00:00:00Z :::MLLOG one\n"
    with monkeypatch.context() as broken:
        broken.setattr("podium.stores.beneath.OpenFolder.sync", failing_sync)
        with pytest.raises(StoreUnavailable, match="reports an I/O error"):
            put_checkpoint(writer, id_, "aa", 0, row)
    (part,) = [key for key in writer.store.list() if key.startswith("ledger-")]
    writer.store.delete(part)  # as a crash would
    put_checkpoint(ResultWriter(writer.store, writer.run), id_, "bb", 0, row)
    put_checkpoint(writer, id_, "aa", 0, row + row)
    put_all(writer)
    entries = unbroken(writer.store.get("ledger.jsonl"))
    assert [entry["segment"][-6:] for entry in entries if entry["kind"] == "checkpoint"] == ["bb.log", "aa.log"]


def failing_sync(_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))
