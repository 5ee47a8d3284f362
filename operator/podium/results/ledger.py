"""The ledger of a run: what happened to it, one JSON document a line, each with the SHA-256 of the line before.

A line that is changed, taken out, put in or moved breaks the chain at the next one. The functions here are pure;
`podium.results.run_ledger` keeps a ledger in a store.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podium.api import AttemptStatus, TryId, rfc3339, unix_seconds
from podium.documents import DocumentError, read_json
from podium.reconcile import Container, Run, StoreResult

LEDGER = "ledger.jsonl"
ADMITTED, TRY, CHECKPOINT, REFUSED, END, RESULT = "admitted", "try", "checkpoint", "refused", "end", "result"
_PLACE = frozenset({"n", "time", "previous"})
_ONCE = frozenset({ADMITTED, TRY})
_SEEDS = "a new random seed for each try, drawn by the operator"

Entry = Mapping[str, Any]  # a line without its number, time and link; "kind" is one of the kinds above


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a ledger: how many lines it has, and the SHA-256 of the last one with its newline."""

    records: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A line as read; `entry` is empty if it is not a JSON object."""

    number: int  # of the line, from 1
    entry: Entry
    problem: str = ""  # why it does not continue the chain


def append(head: Head, entries: Iterable[Entry], now: float) -> tuple[bytes, Head]:
    """Return the lines that continue a ledger with `entries` at `now` (unix seconds), and its new head."""
    lines = []
    for entry in entries:
        document = {"n": head.records + 1, "time": rfc3339(now, milliseconds=True), "previous": head.sha256, **entry}
        line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
        lines.append(line)
        head = Head(head.records + 1, hashlib.sha256(line).hexdigest())
    return b"".join(lines), head


def read(text: bytes, head: Head = Head()) -> Iterator[Record]:
    """Yield the lines that follow `head`, each with what is wrong with its place in the chain."""
    number, previous = head.records, head.sha256
    for line in io.BytesIO(text):
        number += 1
        entry, problem = _entry(line)
        if not problem and entry.get("n") != number:
            problem = f"it is line {number}, and says that it is number {entry.get('n')!r}"
        if not problem and entry.get("previous") != previous:
            problem = f"it does not follow the line before it, whose SHA-256 is {previous or 'empty'}"
        yield Record(number, entry, problem)
        previous = hashlib.sha256(line).hexdigest()


def _entry(line: bytes) -> tuple[Entry, str]:
    """Return a line's document, and why it is none."""
    try:
        document = read_json(line, LEDGER)
    except DocumentError as error:
        return {}, str(error)
    if not isinstance(document, dict):
        return {}, "it is not a JSON object"
    return document, "" if line.endswith(b"\n") else "it has no newline at its end"


def head_of(text: bytes) -> Head:
    """Return the head of a whole ledger."""
    lines = list(io.BytesIO(text))
    return Head(len(lines), hashlib.sha256(lines[-1]).hexdigest()) if lines else Head()


def records_of(text: bytes) -> tuple[Head, list[Entry]]:
    """Return the head after some lines of a longer ledger, and what they say without their place in it."""
    lines = [record.entry for record in read(text)]
    number = lines[-1].get("n") if lines else None
    head = Head(number if isinstance(number, int) else 0, head_of(text).sha256)
    return head, [{key: value for key, value in line.items() if key not in _PLACE} for line in lines]


def subject(entry: Entry) -> tuple[str, str]:
    """Return what an entry is about, and a digest of what it says; the digest is empty for what is said only once.

    An entry that says again what the last one about its subject says need not be repeated. Checkpoints have no subject.
    """
    kind = str(entry.get("kind"))
    if kind == CHECKPOINT:
        return "", ""
    about = f"{kind} {entry.get('attempt', '')}.{entry.get('try', '')}"
    if kind in _ONCE:
        return about, ""
    said = {key: value for key, value in entry.items() if key not in _PLACE}
    return about, hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


# ---- entries ----


def admitted(run: Run, run_yaml: bytes) -> Entry:
    """The run, what it is pinned to, and how its seeds are chosen."""
    pinned = run.status.pinned
    texts = {"rules", "pod_defaults"}
    return {
        "kind": ADMITTED,
        "run": {"namespace": run.namespace, "name": run.name, "uid": run.uid},
        "round": run.spec.round,
        "benchmark": run.spec.benchmark,
        "division": run.spec.division,
        "runSha256": hashlib.sha256(run_yaml).hexdigest(),
        "pinned": pinned.model_dump(by_alias=True, exclude_none=True, exclude=texts) if pinned else {},
        "seeds": _SEEDS,
    }


def try_(attempt: AttemptStatus, containers: Sequence[Container]) -> Entry:
    """One try: its seed, and where it runs."""
    return {
        "kind": TRY,
        **_id(attempt.id),
        "seed": attempt.seed,
        "job": attempt.job,
        "jobUid": attempt.job_uid,
        "created": attempt.created_time,
        "pods": [
            {"name": c.name, "uid": c.uid, "nodeIndex": c.node_index, "node": c.node, "imageID": c.image_id}
            for c in containers
        ],
    }


def rank0_of(entries: Iterable[Entry], id_: TryId) -> Container | None:
    """Return rank 0's pod of a try as its first entry names it, as one that is gone; None if it names none."""
    entry = next((e for e in entries if e["kind"] == TRY and (e["attempt"], e["try"]) == id_), None)
    pod = next((p for p in entry["pods"] if p.get("nodeIndex") == 0), None) if entry else None
    if entry is None or pod is None:
        return None
    at = unix_seconds(entry["time"])  # it started before, and ended later
    known = Container(pod["name"], 0, started=at, uid=pod["uid"], node=pod["node"], image_id=pod["imageID"])
    return known.vanished(at)


def checkpoint(id_: TryId, segment: str, rows: bytes, log_bytes: int, log_sha256: str) -> Entry:
    """What was received of a log that grows: the digest of its lines so far, and of the segment that keeps the last."""
    return {
        "kind": CHECKPOINT,
        **_id(id_),
        "logBytes": log_bytes,
        "logSha256": log_sha256,
        "segment": segment,
        "segmentSha256": hashlib.sha256(rows).hexdigest(),
    }


def refused(id_: TryId, segment: str, rows: bytes) -> Entry:
    """A segment of a checkpoint that is not what was stored; it was not restored."""
    return {"kind": REFUSED, **_id(id_), "segment": segment, "segmentSha256": hashlib.sha256(rows).hexdigest()}


def end(attempt: AttemptStatus, files: Mapping[str, str], writer: str) -> Entry:
    """The end of a try, with the digests of its `files`; `writer` is the process that had its log, if one had all."""
    return {
        "kind": END,
        **_id(attempt.id),
        "state": attempt.state.value,
        "reason": attempt.reason,
        "timeToTrainSeconds": attempt.time_to_train_seconds,
        **({"samplesPerSecond": rate} if (rate := attempt.samples_per_second) else {}),
        "writer": writer,
        "files": dict(files),
    }


def result(action: StoreResult, files: Mapping[str, str], found: Mapping[str, str], chain: Head | None = None) -> Entry:
    """The result: its score, how many tries were made, and the digests of its `files`.

    `found` are the digests of files of which nobody knows what was stored: they were read at the end. `chain` is the
    head of the chain over all runs of the namespace, if there is one.
    """
    return {
        "kind": RESULT,
        "outcome": action.outcome,
        "timeToTrainMinutes": action.score.time_to_train_minutes,
        **({"rate": rate.model_dump(by_alias=True, exclude_none=True)} if (rate := action.score.rate) else {}),
        "valid": action.score.valid,
        "official": action.score.official,
        "tries": len(action.attempts),
        "files": dict(files),
        **({"found": dict(found)} if found else {}),
        **({"chain": {"lines": chain.records, "sha256": chain.sha256}} if chain else {}),
    }


def _id(id_: TryId) -> dict[str, int]:
    return {"attempt": id_.attempt, "try": id_.number}


def files_of(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the digest of every file that a ledger knows; a later entry replaces what an earlier one said."""
    known: dict[str, str] = {}
    for entry in entries:
        for name in ("files", "found"):
            if isinstance(files := entry.get(name), dict):
                known |= {str(key): str(sha256) for key, sha256 in files.items()}
    return known
