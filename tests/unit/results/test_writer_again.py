"""What a result keeps of a try that is stored again, or whose process knows less than another one."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from podium.reconcile import StoreAttempt
from podium.results import ResultWriter
from podium.results.run_ledger import RunLedger
from podium.stores import open_store
from tests.unit.reconcile import examples as ex
from tests.unit.results.ledgers import put_checkpoint, unbroken
from tests.unit.results.test_writer import DONE, FILES, LOST, pod_log, put_all, put_result


@pytest.fixture
def writer(tmp_path):
    return ResultWriter(open_store(str(tmp_path)), ex.run())


def files(writer):
    return {key: writer.store.get(key) for key in writer.store.list()}


def test_a_try_in_a_closed_ledger_stays_as_it_is(writer):
    """Another process has stored it, and died before its status said so; this one could read less of the log."""
    put_all(writer)
    stored = files(writer)
    again = ResultWriter(writer.store, writer.run)
    for attempt, concluding in ((LOST, False), (DONE, True)):
        again.put_attempt(StoreAttempt(attempt, concluding=concluding), replace(FILES, lines=[":::MLLOG other"]))
    assert files(writer) == stored


def test_a_try_that_a_closed_ledger_lacks_is_stored_beside_it(writer):
    put_result(writer)
    writer.put_attempt(StoreAttempt(DONE, concluding=True), FILES)
    assert writer.store.get("attempts/001/result.txt") == b":::MLLOG one\n:::MLLOG two\n"


def test_a_pods_log_is_stored_whole_even_if_it_is_empty(writer):
    logs = {"pod-0.log": pod_log(b"a" * 70_000 + b"\n", b"b" * 70_000 + b"\n"), "pod-1.log": pod_log()}
    writer.put_attempt(StoreAttempt(DONE, concluding=True), replace(FILES, pod_logs=logs))
    first, second = (gzip.decompress(writer.store.get(f"attempts/001/logs/pod-{n}.log.gz")) for n in (0, 1))
    assert (len(first), first[-2:], second) == (140_002, b"b\n", b"")


def test_who_had_the_whole_log_is_named_only_if_it_was_stored(writer):
    """Checkpoints of a process are compared with the log that it had: not with what an earlier one had stored."""
    for lines, name in (([":::MLLOG one", ":::MLLOG two"], "aa"), ([":::MLLOG one"], "bb")):
        done = StoreAttempt(DONE, concluding=True)
        writer.put_attempt(done, replace(FILES, lines=lines, pod_logs={}, writer=name))
    ends = [entry["writer"] for entry in writer.ledger.entries() if entry["kind"] == "end"]
    assert ends == ["aa", ""]


def test_a_checkpoint_says_which_try_has_started(writer):
    """And a ledger that the caller keeps is continued."""
    run = ex.run(ex.status(LOST, DONE))
    kept = RunLedger(writer.store, run.uid)
    put_checkpoint(ResultWriter(writer.store, run, kept), DONE.id, "aa", 0, b"2026-01-01T00:00:00Z :::MLLOG one\n")
    entries = kept.entries()
    assert [(entry["kind"], entry.get("try")) for entry in entries] == [
        ("admitted", None),
        ("try", 1),
        ("checkpoint", 1),
    ]


def test_a_number_that_64_bits_do_not_hold_is_kept(writer):
    summary = replace(FILES.summary, hyperparameters={"seed": 10**30})
    put_all(writer, replace(FILES, summary=summary))
    content = writer.store.get("attempts/001/attempt.json")
    assert json.loads(content)["hyperparameters"] == {"seed": 10**30}
    assert content.endswith(b"}\n")
    assert unbroken(writer.store.get("ledger.jsonl"))
