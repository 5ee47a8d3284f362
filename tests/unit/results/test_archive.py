"""A result folder, written through crashes."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import pytest

from podium.api import AttemptState, Score, TryId
from podium.cli.files import read_run_file
from podium.results import Archive, AttemptFiles
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
def archive(tmp_path):
    return Archive(open_store(str(tmp_path)), ex.run())


def put_all(archive):
    archive.put_attempt(LOST, FILES, concluding=False)
    archive.put_attempt(DONE, FILES, concluding=True)
    return put_result(archive)


def put_result(archive):
    nodes = [{"name": "node-1"}]
    return archive.put_result(
        score=SCORE, attempts=[LOST, DONE], target={"top1": 0.9}, nodes=nodes, outcome="Complete", message=""
    )


def test_the_folder(archive):
    result = put_all(archive)
    assert archive.store.list() == [
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
    assert archive.store.get("attempts/001/result.txt") == b":::MLLOG one\n:::MLLOG two\n"
    assert gzip.decompress(archive.store.get("attempts/001/logs/pod-0.log.gz")) == b"hello\n"
    sums = archive.store.get("SHA256SUMS")
    assert result.sha256 == hashlib.sha256(sums).hexdigest()
    for line in sums.decode().splitlines():
        digest, key = line.split("  ")
        assert hashlib.sha256(archive.store.get(key)).hexdigest() == digest


def test_the_documents(archive):
    put_all(archive)
    result = json.loads(archive.store.get("result.json"))
    assert [(a["index"], a["try"], a["state"]) for a in result["attempts"]] == [(1, 0, "Failed"), (1, 1, "Converged")]
    assert (result["score"]["timeToTrainMinutes"], result["target"], result["outcome"]) == (
        "0.6833",
        {"top1": 0.9},
        "Complete",
    )
    attempt = json.loads(archive.store.get("attempts/001/attempt.json"))
    assert attempt["evaluations"] == [{"epoch": 3.0, "seconds": 40.0, "quality": {"eval_accuracy": 0.95}}]
    assert [pod["exitCode"] for pod in attempt["pods"]] == [0, 0]
    assert json.loads(archive.store.get("system.json"))["nodesSeen"] == [{"name": "node-1"}]


def test_run_yaml_can_be_run_again(archive, tmp_path):
    put_all(archive)
    assert read_run_file(tmp_path / "run.yaml") == ("digits", ex.spec())


def test_writing_again_after_a_crash_changes_nothing(archive):
    first = put_all(archive)
    archive.store.delete("SHA256SUMS")  # it had come as far as result.json
    assert put_all(archive) == first


def test_the_result_of_another_run_is_not_overwritten(archive):
    put_all(archive)
    other = Archive(archive.store, replace(ex.run(), uid="another"))
    with pytest.raises(AlreadyExists, match=r"result\.json is the result of another run .*; choose another folder"):
        put_result(other)


def test_a_checkpoint_goes_when_its_try_is_stored(archive):
    archive.put_checkpoint(TryId(attempt=1, number=1), b"so far")
    assert archive.get_checkpoint(TryId(attempt=1, number=1)) == b"so far"
    assert archive.get_checkpoint(TryId(attempt=9, number=0)) == b""
    put_all(archive)
    assert not archive.store.list("checkpoints/")
