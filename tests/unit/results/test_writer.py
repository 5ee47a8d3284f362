"""A result folder, written through crashes."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import pytest

from podium.api import AttemptState, Score, TryId
from podium.cli.files import read_run_file
from podium.reconcile import StoreAttempt, StoreResult
from podium.results import AttemptFiles, ResultWriter
from podium.stores import AlreadyExists, open_store
from tests.unit.reconcile import examples as ex

SCORE = Score(time_to_train_minutes="0.6833", valid=True, official=False)
FILES = AttemptFiles(
    summary=ex.log(ex.START, ex.GOOD, ex.SUCCESS).summary,
    lines=[":::MLLOG one", ":::MLLOG two"],
    containers=[ex.ended(0), ex.ended(1)],
    pod_logs={"pod-0.log": b"hello\n"},
)
LOST = ex.attempt(1, AttemptState.FAILED, reason="PodLost")
DONE = ex.attempt(1, AttemptState.CONVERGED, 1, reason="TargetReached", time_to_train_seconds="41.000")


@pytest.fixture
def writer(tmp_path):
    return ResultWriter(open_store(str(tmp_path)), ex.run())


def put_all(writer):
    writer.put_attempt(StoreAttempt(LOST, concluding=False), FILES)
    writer.put_attempt(StoreAttempt(DONE, concluding=True), FILES)
    return put_result(writer)


def put_result(writer):
    action = StoreResult(SCORE, (LOST, DONE), outcome="Complete", message="")
    return writer.put_result(action, target={"top1": 0.9}, nodes=[{"name": "node-1"}])


def test_the_folder(writer):
    result = put_all(writer)
    assert writer.store.list() == [
        "SHA256SUMS",
        "attempts/001/attempt.json",
        "attempts/001/logs/pod-0.log.gz",
        "attempts/001/result.txt",
        "attempts/001/tries/0/attempt.json",
        "attempts/001/tries/0/logs/pod-0.log.gz",
        "attempts/001/tries/0/result.txt",
        "result.json",
        "run.yaml",
        "system.json",
    ]
    assert writer.store.get("attempts/001/result.txt") == b":::MLLOG one\n:::MLLOG two\n"
    assert gzip.decompress(writer.store.get("attempts/001/logs/pod-0.log.gz")) == b"hello\n"
    sums = writer.store.get("SHA256SUMS")
    assert result.sha256 == hashlib.sha256(sums).hexdigest()
    for line in sums.decode().splitlines():
        digest, key = line.split("  ")
        assert hashlib.sha256(writer.store.get(key)).hexdigest() == digest


def test_the_documents(writer):
    put_all(writer)
    result = json.loads(writer.store.get("result.json"))
    assert [(a["index"], a["try"], a["state"]) for a in result["attempts"]] == [(1, 0, "Failed"), (1, 1, "Converged")]
    assert (result["score"]["timeToTrainMinutes"], result["target"], result["outcome"]) == (
        "0.6833",
        {"top1": 0.9},
        "Complete",
    )
    attempt = json.loads(writer.store.get("attempts/001/attempt.json"))
    assert attempt["evaluations"] == [{"epoch": 3.0, "seconds": 40.0, "quality": {"eval_accuracy": 0.95}}]
    assert [pod["exitCode"] for pod in attempt["pods"]] == [0, 0]
    assert json.loads(writer.store.get("system.json"))["nodesSeen"] == [{"name": "node-1"}]


def test_run_yaml_can_be_run_again(writer, tmp_path):
    put_all(writer)
    assert read_run_file(tmp_path / "run.yaml") == ("digits", ex.spec())


def test_writing_again_after_a_crash_changes_nothing(writer):
    first = put_all(writer)
    writer.store.delete("SHA256SUMS")  # it had come as far as result.json
    assert put_all(writer) == first


def test_the_result_of_another_run_is_not_overwritten(writer):
    put_all(writer)
    other = ResultWriter(writer.store, replace(ex.run(), uid="another"))
    with pytest.raises(AlreadyExists, match=r"result\.json is the result of another run .*; choose another folder"):
        put_result(other)


def test_a_checkpoint_goes_when_its_try_is_stored(writer):
    writer.put_checkpoint(TryId(attempt=1, number=1), b"so far")
    assert writer.get_checkpoint(TryId(attempt=1, number=1)) == b"so far"
    assert writer.get_checkpoint(TryId(attempt=9, number=0)) == b""
    put_all(writer)
    assert not writer.store.list("checkpoints/")
