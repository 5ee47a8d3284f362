"""A result folder, written through crashes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.api import AttemptState, Score, TryId
from podium.cli.files import read_run_file
from podium.documents import read_json
from podium.mllog import BoundedSpool, Sighting, Sightings
from podium.reconcile import StoreAttempt, StoreResult
from podium.results import AttemptFiles, ResultWriter
from podium.stores import AlreadyExists, NotFound, StoreRefused, digest, open_store
from tests.unit.reconcile import examples as ex
from tests.unit.results.ledgers import put_checkpoint, unbroken


def pod_log(*chunks, unread=""):
    log = BoundedSpool(1 << 20)
    for chunk in chunks:
        log.append(chunk)
    log.unread = unread
    return log


SCORE = Score(time_to_train_minutes="0.6833", valid=True, official=False)
FILES = AttemptFiles(
    summary=ex.log(ex.START, ex.GOOD, ex.SUCCESS).summary,
    lines=[":::MLLOG one", ":::MLLOG two"],
    containers=[ex.ended(0), ex.ended(1)],
    pod_logs={"pod-0.log": pod_log(b"hello\n")},
)
LOST = ex.attempt(1, AttemptState.FAILED, reason="PodLost")
DONE = ex.attempt(1, AttemptState.CONVERGED, 1, reason="TargetReached", time_to_train_seconds="41.000")


@pytest.fixture
def writer(tmp_path):
    return ResultWriter(open_store(str(tmp_path)), ex.run())


def put_all(writer, files=FILES):
    writer.put_attempt(StoreAttempt(LOST, concluding=False), files)
    writer.put_attempt(StoreAttempt(DONE, concluding=True), files)
    return put_result(writer)


def put_result(writer):
    action = StoreResult(SCORE, (LOST, DONE), outcome="Complete", message="")
    return writer.put_result(action, target={"top1": 0.9}, nodes=[{"name": "node-1"}]).result


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
        "ledger.jsonl",
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


def test_what_a_run_of_one_try_costs_a_folder(writer, monkeypatch):
    """A sync takes longer than all that Python does for a file, and a folder takes several."""
    counts = Counter()
    for name in ("fsync", "mkdir", "open"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, n=name, f=call, **more: counts.update([n]) or f(*given, **more))
    row = b"2026-01-01T00:00:00Z :::MLLOG one\n"
    put_checkpoint(writer, DONE.id, "aa", 0, row)
    put_checkpoint(writer, DONE.id, "aa", 0, row + row)
    writer.put_attempt(StoreAttempt(DONE, concluding=True), FILES)
    writer.put_result(StoreResult(SCORE, (DONE,), outcome="Complete", message=""), target={"top1": 0.9}, nodes=[])
    writer.drop_checkpoint(DONE.id)
    # 13 files, attempts/001/logs, and: the run's folder for each checkpoint and the end of the try, two folders of the
    # try, the run's folder before its ledger is closed and after
    assert (counts["fsync"], counts["mkdir"]) == (13 + 3 + 3 + 2 + 2, 3)
    assert counts["open"] <= 37
    assert writer.store.list() == [
        "SHA256SUMS", "attempts/001/attempt.json", "attempts/001/logs/pod-0.log.gz", "attempts/001/result.txt",
        "ledger.jsonl", "result.json", "run.yaml", "system.json",
    ]  # fmt: skip


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


def test_when_the_lines_were_seen(writer):
    start, good, stop = (Sighting(key, ex.T0 + at, ex.T0 + at + 3600, ex.T0 + at + 0.5, 0.25, "0badcafe") for key, at in (
        ("run_start", 20), ("eval_accuracy", 60), ("run_stop", 61)
    ))  # fmt: skip
    put_all(writer, replace(FILES, sightings=Sightings((start,), (stop,), (good,), 3)))
    document = json.loads(writer.store.get("attempts/001/attempt.json"))
    seen = document["seen"]
    assert seen["runStart"] == {
        "logged": ex.T0 + 20, "printed": ex.T0 + 3620, "received": ex.T0 + 20.5, "maxDelaySeconds": 0.25,
        "observer": "0badcafe",
    }  # fmt: skip
    assert [one["received"] for one in (*seen["evaluations"], seen["runStop"])] == [ex.T0 + 60.5, ex.T0 + 61.5]
    assert (seen["evaluationsLeftOut"], seen["nodeClockOffsetSeconds"]) == (3, 3599.5)
    assert document["findings"] == [
        "the clock of rank 0's node is 3599.5 s or more ahead of the operator's: check its NTP service"
    ]


def test_run_yaml_can_be_run_again(writer, tmp_path):
    put_all(writer)
    assert read_run_file(tmp_path / "run.yaml") == ("digits", ex.spec())


def test_writing_again_after_a_crash_changes_nothing(writer):
    first = put_all(writer)
    writer.store.delete("SHA256SUMS")  # it had come as far as result.json
    assert put_all(writer) == first


def test_a_result_that_another_process_has_stored_stands(writer):
    first = put_all(writer)
    other = StoreResult(Score(valid=False, official=False), (LOST,), outcome="Failed", message="attempt 1 failed")
    sealed = ResultWriter(writer.store, ex.run()).put_result(other, target={"top1": 0.9}, nodes=[])
    stored = tuple(attempt.model_copy(update={"stored": True}) for attempt in (LOST, DONE))
    assert sealed == (first, StoreResult(SCORE, stored, outcome="Complete", message=""))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "TypeError"),
        (b'{"run": {"uid": "1"}}', "KeyError: 'attempts'"),
        (b'{"attempts": [], "score": {"valid": true, "official": false}, "outcome": "Won"}', "its outcome is 'Won'"),
    ],
)
def test_a_file_that_is_not_a_result_is_not_taken_for_one(writer, content, problem):
    writer.store.put("result.json", content)
    with pytest.raises(StoreRefused, match=rf"result\.json is not a result: .*{problem}.*; move the folder away"):
        put_result(writer)


def test_the_result_of_another_run_is_not_overwritten(writer):
    put_all(writer)
    other = ResultWriter(writer.store, replace(ex.run(), uid="another"))
    with pytest.raises(AlreadyExists, match=r"result\.json is the result of another run .*; choose another folder"):
        put_result(other)


def test_what_is_known_of_pods_and_files_is_recorded(writer):
    pod = replace(ex.ended(0, 137), uid="u-1", node="node-7", image_id="repo/image@sha256:ab", signal=9)
    logs = {"pod-0.log": pod_log(b"hello\n"), "pod-1.log": pod_log(unread="no route to host"),
            "pod-2.log": pod_log(b"half", unread="no answer in time")}  # fmt: skip
    files = replace(FILES, containers=[pod], pod_logs=logs, findings=["odd"])
    writer.put_attempt(StoreAttempt(DONE, concluding=True), files)
    document = json.loads(writer.store.get("attempts/001/attempt.json"))
    (found,) = document["pods"]
    assert (found["uid"], found["node"], found["imageID"], found["signal"], found["exitCode"]) == (
        "u-1", "node-7", "repo/image@sha256:ab", 9, 137,
    )  # fmt: skip
    assert document["unreadLogs"] == {"pod-1.log": "no route to host", "pod-2.log": "no answer in time"}
    assert document["findings"] == ["odd"]
    assert sorted(document["files"]) == ["logs/pod-0.log.gz", "logs/pod-2.log.gz", "result.txt"]
    for name, sha256 in document["files"].items():
        assert hashlib.sha256(writer.store.get(f"attempts/001/{name}")).hexdigest() == sha256


# ---- nothing stored gets shorter ----

ONE, TWO, THREE = ":::MLLOG one", ":::MLLOG two", ":::MLLOG three"


@pytest.mark.parametrize(
    ("earlier", "later", "stored", "finding"),
    [
        ([ONE, TWO], [ONE, TWO], {"result.txt": [ONE, TWO]}, ""),
        ([ONE], [ONE, TWO], {"result.txt": [ONE, TWO]}, ""),
        ([TWO], [ONE, TWO, THREE], {"result.txt": [ONE, TWO, THREE]}, ""),
        ([ONE, TWO, THREE], [ONE, THREE], {"result.txt": [ONE, TWO, THREE]},
         "result.txt was stored before, with 3 lines; 2 of them could be read again"),
        ([ONE, TWO], [], {"result.txt": [ONE, TWO]},
         "result.txt was stored before, with 2 lines; 0 of them could be read again"),
        ([ONE, TWO], [TWO, THREE], {"result.txt": [TWO, THREE], "result.ef6d940e.txt": [ONE, TWO]},
         "a log with other lines had been stored as result.txt; it is kept under this name"),
    ],
)  # fmt: skip
def test_a_stored_log_never_gets_shorter(writer, earlier, later, stored, finding):
    done = StoreAttempt(DONE, concluding=True)
    writer.put_attempt(done, replace(FILES, lines=earlier))
    writer.put_attempt(done, replace(FILES, lines=later))
    keys = [key for key in writer.store.list() if key.startswith("attempts/001/result")]
    found = {key.removeprefix("attempts/001/"): writer.store.get(key).decode().splitlines() for key in keys}
    assert found == stored
    document = json.loads(writer.store.get("attempts/001/attempt.json"))
    assert document["findings"] == [finding] * bool(finding)
    assert stored.keys() <= document["files"].keys()


def test_a_pod_log_that_can_be_read_no_more_stays_and_another_one_is_added(writer):
    done = StoreAttempt(DONE, concluding=True)
    writer.put_attempt(done, FILES)
    writer.put_attempt(done, replace(FILES, pod_logs={"pod-0.log": pod_log(unread="the pod was deleted")}))
    writer.put_attempt(done, replace(FILES, pod_logs={"pod-0.log": pod_log(b"rotated\n")}))
    keys = [key for key in writer.store.list() if "/logs/" in key]
    assert [gzip.decompress(writer.store.get(key)) for key in keys] == [b"rotated\n", b"hello\n"]
    put_result(writer)
    assert writer.store.get("SHA256SUMS").decode().count("/logs/") == 2


def test_sealing_again_keeps_every_entry(writer):
    put_all(writer)
    before = writer.store.get("SHA256SUMS")
    for key in ("attempts/001/logs/pod-0.log.gz", "attempts/001/tries/0/attempt.json"):
        writer.store.delete(key)
    put_result(writer)
    assert writer.store.get("SHA256SUMS") == before


def test_what_was_damaged_after_it_was_stored_is_not_sealed(writer):
    writer.put_attempt(StoreAttempt(DONE, concluding=True), FILES)
    writer.store.put("attempts/001/result.txt", b"damaged")
    put_result(writer)
    assert hashlib.sha256(b"damaged").hexdigest() not in writer.store.get("SHA256SUMS").decode()


class MemoryStore:
    """A store that dies with the test."""

    url = "memory:"

    def __init__(self):
        self.files = {}

    def put(self, key, data, *, if_absent=False, content_type=""):
        if if_absent and key in self.files:
            raise AlreadyExists(key)
        self.files[key] = data

    def put_file(self, key, file, *, content_type=""):
        file.seek(0)
        self.files[key] = file.read()

    def get(self, key):
        if key not in self.files:
            raise NotFound(key)
        return self.files[key]

    def chunks(self, key):
        yield self.get(key)

    def list(self, prefix=""):
        return sorted(key for key in self.files if key.startswith(prefix))

    def delete(self, key):
        self.files.pop(key, None)


class CrashError(Exception):
    """The process was killed."""


class MortalStore:
    """Passes calls on; the process dies before its call number `dies_at`, or, if `late`, after it."""

    def __init__(self, store, dies_at=10**9, *, late=False):
        self.store, self.url, self.left, self.late = store, store.url, dies_at, late

    def together(self):
        return nullcontext(self)

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.left -= 1
            if self.left < 0 and not self.late:
                raise CrashError
            found = getattr(self.store, name)(*arguments, **options)
            found = iter(list(found)) if name == "chunks" else found
            if self.left < 0:
                raise CrashError
            return found

        return call


@settings(max_examples=300, deadline=None)
@given(deaths=st.lists(st.tuples(st.integers(0, 32), st.booleans()), max_size=4), data=st.data())
def test_crashes_anywhere_lose_nothing_that_was_stored(deaths, data):
    """Each process finds any part of the log; whatever one has stored is there in the end."""
    log = [f":::MLLOG {number}" for number in range(7)]
    store, stored = MemoryStore(), set()
    for death in [*deaths, None]:
        mortal = MortalStore(store) if death is None else MortalStore(store, death[0], late=death[1])
        lines = data.draw(st.lists(st.sampled_from(log), unique=True).map(sorted))
        pod = data.draw(st.sampled_from([b"", b"a\n", b"b\n", b"a\nb\n"]))
        files = replace(FILES, lines=lines, pod_logs={"pod-0.log": pod_log(pod, unread="" if pod else "away")})
        with suppress(CrashError):
            put_all(ResultWriter(mortal, ex.run()), files)
        assert stored <= (stored := evidence(store))
        for key in store.list():
            if key.endswith("attempt.json"):
                files = json.loads(store.get(key))["files"]
                assert "result.txt" in files
                assert {key.replace("attempt.json", name) for name in files} <= set(store.list())
    sums = dict(reversed(row.split("  ")) for row in store.get("SHA256SUMS").decode().splitlines())
    assert sums == {key: digest(store, key) for key in store.list() if key != "SHA256SUMS"}
    entries = unbroken(store.get("ledger.jsonl"))
    assert [entry["kind"] for entry in entries[:1] + entries[-1:]] == ["admitted", "result"]
    assert [(entry["attempt"], entry["try"]) for entry in entries if entry["kind"] == "try"] == [(1, 0), (1, 1)]
    for path in ("attempts/001/tries/0", "attempts/001"):
        last = [entry["files"] for entry in entries if f"{path}/attempt.json" in entry.get("files", {})][-1]
        assert last[f"{path}/attempt.json"] == digest(store, f"{path}/attempt.json")


def evidence(store):
    """Every line of every log in the store."""
    found = set()
    for key in store.list():
        content = store.get(key)
        if key.endswith(".gz"):
            content = gzip.decompress(content)
        if "ledger" in key:  # its lines move from its parts to ledger.jsonl
            found |= {("ledger", line) for line in content.splitlines()}
        elif not key.endswith((".json", "SHA256SUMS", ".yaml")):
            found |= {(key.rpartition("/")[0], line) for line in content.splitlines()}
        elif key == "result.json":
            found.add(content)
    return found


# ---- checkpoints ----


def test_a_checkpoint_is_a_chain_of_segments_by_time(writer):
    id_, other = TryId(attempt=1, number=1), TryId(attempt=1, number=10)
    rows = [f"2026-01-01T00:00:0{n}.5Z :::MLLOG {n}\n".encode() for n in range(4)]
    writer.store.put("checkpoints/001-1.log", b"of an early version\n")
    writer.store.put("checkpoints/001-1/20260101000000400000000-000000000000-cc.log", b"of an earlier version\n")
    writer.store.put("checkpoints/001-10/20260101000000400000000-000000000000-cc.log", b"of another try\n")
    found = [segment for _, segment in writer.checkpoint(id_).segments]
    assert found == [b"of an early version\n", b"of an earlier version\n"]
    put_checkpoint(writer, id_, "bb", 0, rows[0] + rows[1])
    put_checkpoint(writer, id_, "aa", 100, rows[3])
    put_checkpoint(writer, id_, "bb", 100, rows[2])
    put_checkpoint(writer, id_, "bb", 150, rows[2])  # of the same time
    put_checkpoint(writer, other, "bb", 0, rows[3])
    assert [segment for _, segment in writer.checkpoint(id_).segments] == [rows[0] + rows[1], rows[2], rows[2], rows[3]]
    assert not writer.checkpoint(TryId(attempt=9, number=0)).segments
    writer.drop_checkpoint(id_)
    assert not writer.checkpoint(id_).segments
    assert len(writer.checkpoint(other).segments) == 1


def test_storing_a_try_leaves_its_checkpoint_until_the_status_says_so(writer):
    put_checkpoint(writer, DONE.id, "aa", 0, b"2026-01-01T00:00:00Z :::MLLOG one\n")
    result = put_all(writer)
    assert len(writer.checkpoint(DONE.id).segments) == 1
    assert writer.checkpoint(DONE.id).rank0.name == ex.running(0).name
    assert "checkpoints" not in writer.store.get("SHA256SUMS").decode()
    writer.drop_checkpoint(DONE.id)
    assert put_result(writer) == result


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_null(writer, number):
    put_all(writer, replace(FILES, summary=replace(FILES.summary, throughput=number)))
    content = writer.store.get("attempts/001/attempt.json")
    assert read_json(content, "attempt.json")["log"]["throughput"] is None
