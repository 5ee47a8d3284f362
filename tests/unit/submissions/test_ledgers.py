"""A ledger against itself and against the documents beside it: each row changes an honest result in one place."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest

from podium.documents import LimitError
from podium.results import ledger
from podium.stores import NotFound
from podium.submissions import unfinished
from podium.submissions.ledgers import Case, about_ledger

LOG = b":::MLLOG one\n:::MLLOG two\n:::MLLOG three\n"
RUN = {"namespace": "lab", "name": "digits", "uid": "11111111-2"}
TRY = {"attempt": 1, "try": 0}
LOG_NAME, RECORD = "attempts/001/result.txt", "attempts/001/attempt.json"
POD = {"uid": "u-0", "name": "digits-0", "nodeIndex": 0, "node": "n-0", "imageID": "i@sha256:ab"}
DONE = {"seed": 7, "state": "Converged", "timeToTrainSeconds": "41.000"}


class Files:
    """A store of files in memory, in chunks of a few bytes."""

    url = "memory:"

    def __init__(self, files):
        self.files = files

    def chunks(self, key):
        if key not in self.files:
            raise NotFound(key)
        if self.files[key] is None:
            raise LimitError(f"{key} is larger than allowed")
        for at in range(0, len(self.files[key]) or 1, 7):
            yield self.files[key][at : at + 7]

    def list(self, prefix=""):
        return sorted(key for key in self.files if key.startswith(prefix))

    def child(self, prefix):
        prefix = f"{prefix}/"
        return Files({k.removeprefix(prefix): v for k, v in self.files.items() if k.startswith(prefix)})


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def checkpoint(size, writer="aa", log=LOG):
    segment = f"checkpoints-001-0-2026-000-{writer}.log"
    return {"kind": "checkpoint", **TRY, "logBytes": size, "logSha256": sha256(log[:size]), "segment": segment}


class Result:
    """An honest result of one try, as entries and documents that a test changes before they are sealed."""

    def __init__(self):
        self.pods = [dict(POD)]
        self.record = {**DONE, "pods": [dict(POD)]}
        same = {"run": RUN, "round": "v0.6", "benchmark": "resnet", "division": "open"}
        score = {"timeToTrainMinutes": "0.6833", "valid": True, "official": False}
        self.result = {
            **same, "outcome": "Complete", "score": score, "pinned": {"image": "trainer:1", "operatorVersion": "1"},
            "attempts": [{"index": 1, "try": 0, **DONE}],
        }  # fmt: skip
        self.entries = [
            {"kind": "admitted", **same, "pinned": {"image": "trainer:1"}},
            {"kind": "try", **TRY, "seed": 7, "pods": self.pods},
            checkpoint(13),
            checkpoint(26),
            {"kind": "end", **TRY, "state": "Converged", "timeToTrainSeconds": "41.000", "writer": "aa", "files": {}},
            {"kind": "result", "outcome": "Complete", **score, "tries": 1, "files": {}},
        ]
        self.log = LOG
        self.more = {}
        self.sums = {}

    def entry(self, kind):
        return next(entry for entry in self.entries if entry["kind"] == kind)

    def case(self):
        files = {
            LOG_NAME: self.log, RECORD: json.dumps(self.record).encode(), "result.json": json.dumps(self.result).encode()
        }  # fmt: skip
        for entry in self.entries:
            names = {"end": [RECORD, LOG_NAME], "result": ["result.json"]}.get(entry["kind"], [])
            if isinstance(entry.get("files"), dict):
                entry["files"] = {**{name: sha256(files[name]) for name in names}, **entry["files"]}
        text, _ = ledger.append(ledger.Head(), self.entries, 1_767_225_600.0)
        sums = {name: sha256(content) for name, content in {**files, "ledger.jsonl": text}.items()}
        files = {**files, "ledger.jsonl": text, **self.more}
        files = {name: content for name, content in files.items() if content != b"removed"}
        return Case(Files(files), "", frozenset(files), {**sums, **self.sums})


def found(result):
    return [(str(f.rule), f.field, f.message) for f in about_ledger(result.case())]


def edit(where, **fields):
    """Set fields of an entry, or of a document."""

    def change(result):
        target = getattr(result, where) if where in ("record", "result") else result.entry(where)
        target.update(copy.deepcopy(fields))

    return change


def without(kind):
    return lambda r: r.entries.remove(r.entry(kind))


def put(at, entry):
    return lambda r: r.entries.insert(at, entry)


def pod(**fields):
    return lambda r: r.pods[0].update(fields)


def both(*changes):
    return lambda r: [change(r) for change in changes]


def file(name, content):
    return lambda r: r.more.update({name: content})


def digest(name, value):
    return lambda r: r.sums.update({name: value})


def written(log):
    def change(result):
        result.log = log

    return change


LEDGER, TRIES = ("verify.ledger", "ledger.jsonl"), ("verify.tries", "ledger.jsonl")
IN_RESULT, OF_TRIES, IN_RECORD = (
    ("verify.ledger", "result.json"),
    ("verify.tries", "result.json"),
    ("verify.tries", RECORD),
)
FORM = "it begins with {} and ends with {} instead of admitted and result"
DIFFERS = "ledger.jsonl and SHA256SUMS have other digests of it"
OF_LOG = ("verify.checkpoint", LOG_NAME)
PART = "ledger-99aabbcc-000001.jsonl"
OPEN = ledger.append(ledger.Head(), [{"kind": "admitted"}, {"kind": "try", **TRY}], 0.0)[0]
CLOSED = ledger.append(ledger.Head(), [{"kind": "try", **TRY}, {"kind": "end", **TRY}], 0.0)[0]
FAILED = {"kind": "end", **TRY, "state": "Failed"}

ROWS = {
    "nothing": (lambda r: None, []),
    # the ledger itself
    "no admission": (without("admitted"), [(*LEDGER, FORM.format("try", "result"))]),
    "no result": (without("result"), [(*LEDGER, FORM.format("admitted", "end")), ("verify.ledger", "result.json", DIFFERS)]),
    "two results": (
        put(4, {"kind": "result", "outcome": "Complete", "timeToTrainMinutes": "0.6833", "valid": True,
                "official": False, "tries": 1}),
        [(*LEDGER, FORM.format("admitted", "result"))],
    ),
    "a line after the result": (
        lambda r: r.entries.append({"kind": "refused", "segment": "s.log"}),
        [(*LEDGER, FORM.format("admitted", "refused")), (*LEDGER, "s.log was changed while the run lasted")],
    ),
    "an empty ledger": (
        file("ledger.jsonl", b""),
        [(*LEDGER, FORM.format("nothing", "nothing")), *[("verify.ledger", name, DIFFERS) for name in (
            RECORD, LOG_NAME, "ledger.jsonl", "result.json")]],
    ),
    "no ledger": (file("ledger.jsonl", b"removed"), [(*LEDGER, "is missing: which tries were made is not known")]),
    "a part of a ledger in its place": (
        both(file("ledger.jsonl", b"removed"), file(PART, OPEN)),
        [("verify.tries", PART, "attempt 1, try 0, was started at 1970-01-01T00:00:00.000Z and has no end")],
    ),
    "a ledger that is too large": (file("ledger.jsonl", None), [(*LEDGER, "ledger.jsonl is larger than allowed")]),
    "a file that the ledger does not know": (digest("notes.txt", "ab"), [("verify.ledger", "notes.txt", DIFFERS)]),
    "a file that only the ledger knows": (
        lambda r: r.entry("end")["files"].update({"a.gz": "ab"}), [("verify.ledger", "a.gz", DIFFERS)]
    ),
    "another digest": (digest(LOG_NAME, "ab"), [("verify.ledger", LOG_NAME, DIFFERS)]),
    "a segment that was refused": (
        put(3, {"kind": "refused", **TRY, "segment": "s.log"}), [(*LEDGER, "s.log was changed while the run lasted")]
    ),
    "a part of this run that a late process left": (file("ledger-11111111-000009.jsonl", OPEN), []),
    "a part of another run": (
        file(PART, OPEN), [("verify.tries", PART, "attempt 1, try 0, was started at 1970-01-01T00:00:00.000Z")]
    ),
    "a part whose tries have ended": (
        file(PART, CLOSED), [("verify.ledger", PART, "is of a run that has not ended: it is in progress, or its process")]
    ),
    "a part in a folder below": (file(f"other/{PART}", OPEN), []),
    "a part that is too large": (file(PART, None), [("verify.ledger", PART, f"{PART} is larger than allowed")]),
    # what its first and its last line say
    "another round": (edit("admitted", round="v0.5"), [(*IN_RESULT, "round is 'v0.6' here; the ledger says 'v0.5'")]),
    "another pin": (
        edit("admitted", pinned={"image": "x"}), [(*IN_RESULT, "pinned.image is 'trainer:1' here; the ledger says 'x'")]
    ),
    "another outcome": (edit("result", outcome="Failed"), [(*IN_RESULT, "outcome is 'Failed' here; the ledger says 'C")]),
    "another score": (
        lambda r: r.result["score"].update(timeToTrainMinutes="0.1"),
        [(*IN_RESULT, "score.timeToTrainMinutes is '0.1' here; the ledger says '0.6833'")],
    ),
    # tries
    "a try without an end": (
        both(put(2, {"kind": "try", "attempt": 1, "try": 1}), edit("result")),
        [(*TRIES, "attempt 1, try 1, was made, and its end is not here")],
    ),
    "an end without a try": (
        put(5, {"kind": "end", "attempt": 2, "try": 0}), [(*TRIES, "attempt 2, try 0, was made, and it is not here")]
    ),
    "a try that the result lacks": (
        both(put(2, {"kind": "try", "attempt": 1, "try": 1}), put(3, {"kind": "end", "attempt": 1, "try": 1})),
        [(*OF_TRIES, "attempt 1, try 1, was made, and it is not here")],
    ),
    "a try that only the result has": (
        lambda r: (r.result["attempts"].append({"index": 3, "try": 0}), r.entries[-1].update(tries=2)),
        [(*TRIES, "attempt 3, try 0, was made, and it is not here")],
    ),
    "another number of tries": (
        lambda r: r.entries[-1].update(tries=2), [(*OF_TRIES, "result.json lists 1 tries, the ledger says 2")]
    ),
    "another seed in result.json": (
        lambda r: r.result["attempts"][0].update(seed=8), [(*OF_TRIES, "attempt 1, try 0, has seed 8; the ledger says 7")]
    ),
    "another time in attempt.json": (
        edit("record", timeToTrainSeconds="1.000"),
        [(*IN_RECORD, "attempt 1, try 0, has timeToTrainSeconds '1.000'; the ledger says '41.000'")],
    ),
    "another state in the ledger": (
        lambda r: r.entry("end").update(state="Failed"),
        [(*OF_TRIES, "attempt 1, try 0, has state 'Converged'; the ledger says 'Failed'"),
         (*IN_RECORD, "attempt 1, try 0, has state 'Converged'; the ledger says 'Failed'")],
    ),
    "an end that was said again": (lambda r: r.entries.insert(4, {**FAILED, "files": {}}), []),
    # pods
    **{
        f"another {key} of a pod": (pod(**{key: 1}), [(*IN_RECORD, f"attempt 1, try 0, has a pod with {key}")])
        for key in ("name", "node", "imageID")
    },
    "a pod whose node was not known yet": (pod(node="", imageID=None), []),
    "a pod that was not seen again": (pod(uid="u-9", node="n-9"), []),
    "pods without a uid": (both(pod(uid=None, node="n-9"), lambda r: r.record["pods"][0].update(uid=None)), []),
    # checkpoints
    "another beginning": (written(LOG.replace(b"one", b"1ne")), [(*OF_LOG, "its first 13 bytes are not those")]),
    "another middle": (written(LOG.replace(b"two", b"2wo")), [(*OF_LOG, "its first 26 bytes are not those")]),
    "another end": (written(LOG.replace(b"three", b"3")), []),
    "a log that is not here": (file(LOG_NAME, b"removed"), []),  # which `verify` says
    "a log that ends at the last checkpoint": (written(LOG[:26]), []),
    "a log that ends before it": (written(LOG[:25]), [(*OF_LOG, "its first 26 bytes are not those")]),
    "a beginning that another process had": (
        both(written(LOG[13:]), lambda r: r.entry("end").update(writer="bb")), []
    ),
    "a beginning that two processes had": (both(written(LOG[13:]), put(3, checkpoint(13, writer="bb"))), []),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), ROWS.values(), ids=ROWS)
def test_what_contradicts_the_ledger(change, expected):
    result = Result()
    change(result)
    named = found(result)
    assert [(rule, place) for rule, place, _ in named] == [(rule, place) for rule, place, _ in expected], named
    assert all(text.startswith(words) for (*_, text), (*_, words) in zip(named, expected, strict=True)), named


def test_without_digests_only_those_are_not_compared():
    """`verify` says that SHA256SUMS is missing."""
    result = Result()
    case = result.case()
    case.sums = {}
    assert list(about_ledger(case)) == []


def test_a_document_that_is_missing_is_named_once():
    result = Result()
    result.more["result.json"] = b"removed"
    assert found(result) == [
        ("verify.tries", "result.json", "attempt 1, try 0, was made, and it is not here"),
        ("verify.tries", "result.json", "result.json lists 0 tries, the ledger says 1"),
    ]


def test_runs_that_have_not_ended_are_found_in_all_folders():
    """But not beside the whole ledger of a result, whose own findings name them."""
    store = Files({f"a/{PART}": OPEN, PART: OPEN, f"b/{PART}": OPEN, "b/ledger.jsonl": b"", "c/notes.txt": b""})
    assert [finding.field for finding in unfinished(store)] == [PART, f"a/{PART}"]
