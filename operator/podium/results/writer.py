"""Write a run's result to a store, in an order that makes a crash at any point harmless.

Every call can be repeated, also by another process that knows less: nothing that is stored gets shorter, and
result.json and ledger.jsonl are written once and then left alone. SHA256SUMS is made from ledger.jsonl, which has the
digest of every file as it was put.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import yaml

from podium.api import AttemptStatus, Result, TryId
from podium.mllog import LogSummary, Sightings
from podium.reconcile import Container, Run, StoreAttempt, StoreResult
from podium.results import checkpoints, ledger
from podium.results.chain import Chain
from podium.results.checkpoints import Segment
from podium.results.evidence import put_lines, put_once, put_packed
from podium.results.ledger import LEDGER, Head
from podium.results.run_ledger import PARTS, RunLedger
from podium.results.schema import (
    attempt_document,
    json_bytes,
    result_document,
    run_document,
    stored_files,
    stored_result,
    system_document,
)
from podium.rules import clock_notes
from podium.stores import AlreadyExists, Store, StoreRefused, digest

_LOG = logging.getLogger(__name__)
RESULT = "result.json"
SUMS = "SHA256SUMS"
STATEMENT, PUBLIC_KEY = "statement.dsse.json", "podium.pub"
_RUN, _SYSTEM = "run.yaml", "system.json"
_ATTEMPT = "attempt.json"
_TEXT = "result.txt"
# What is not in a ledger: it is removed, or made from it
NOT_SEALED = *checkpoints.CHECKPOINTS, *PARTS, SUMS, LEDGER, STATEMENT, PUBLIC_KEY
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, where PyYAML has it


class PodLog(Protocol):
    """The log of one container; `unread` is why it, or its end, could not be read."""

    unread: str

    def pieces(self) -> Iterator[bytes]: ...


class Signer(Protocol):
    """The administrator's key: see `podium.results.signature`."""

    @property
    def public_pem(self) -> str: ...

    def sign(self, digests: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """What is stored about one try, besides its status."""

    summary: LogSummary
    lines: Iterable[str]  # the MLPerf lines of rank 0, in order
    containers: Sequence[Container] = ()
    pod_logs: Mapping[str, PodLog] = field(default_factory=dict)  # by file name
    findings: Sequence[str] = ()  # what is odd about them
    sightings: Sightings = field(default_factory=Sightings)  # when the lines were seen
    writer: str = ""  # the process whose `lines` these are: that of its checkpoints


class Checkpoint(NamedTuple):
    """What earlier processes have stored of a log that grows: writer and rows of each segment, and whose log it is."""

    segments: list[tuple[str, bytes]]
    rank0: Container | None  # its pod, if the ledger says which


class Sealed(NamedTuple):
    """A stored result, and what it says: what another process has stored before, if one has."""

    result: Result
    action: StoreResult


class ResultWriter:
    """The result folder of one run. `kept` is its ledger, if the caller keeps one between calls; without a `signer`,
    the result is not signed; `chain` is that of the namespace. Methods raise StoreError."""

    def __init__(
        self,
        store: Store,
        run: Run,
        kept: RunLedger | None = None,
        *,
        signer: Signer | None = None,
        chain: Chain | None = None,
    ) -> None:
        self.store = store
        self.run = run
        self.ledger = kept or RunLedger(store, run.uid)
        self.signer = signer
        self.chain = chain

    def put_started(self, attempt: AttemptStatus, containers: Sequence[Container]) -> None:
        """Put into the ledger that a try has started: it was made, even if nothing lives to see its end."""
        self.ledger.append(*self._launched(attempt, containers))

    def put_attempt(self, action: StoreAttempt, files: AttemptFiles) -> None:
        """Store result.txt, the logs and attempt.json of a finished try; last, the ledger says so.

        The try that concludes its attempt goes to ``attempts/NNN``, earlier ones to ``attempts/NNN/tries/T``. A try
        that is in a closed ledger stays as it is: another process has stored it, and died before its status said so.
        """
        attempt = action.attempt
        if (closed := self.ledger.closed()) and _has_ended(closed, attempt.id):
            return
        folder = f"attempts/{attempt.index:03}" + ("" if action.concluding else f"/tries/{attempt.try_}")
        with self.store.together() as store:
            existing = frozenset(key.removeprefix(f"{folder}/") for key in store.list(f"{folder}/"))
            stored = put_lines(store, folder, _TEXT, files.lines, exists=_TEXT in existing)
            unread = {}
            for name, log in files.pod_logs.items():
                pieces = log.pieces()
                first = next(pieces, b"")
                if first or not log.unread:
                    stored.append(put_packed(store, folder, f"logs/{name}.gz", _chain(first, pieces), existing))
                if log.unread:
                    unread[name] = log.unread
            document = attempt_document(self.run, attempt, files.summary, files.containers, files.sightings)
            document |= stored_files(stored, unread, [*files.findings, *clock_notes(files.sightings)])
            content = json_bytes(document)
            store.put(f"{folder}/{_ATTEMPT}", content, content_type="application/json")
        digests = {f"{folder}/{_ATTEMPT}": _sum(content)} | {f"{folder}/{file.name}": file.sha256 for file in stored}
        writer = "" if any(file.finding for file in stored) else files.writer
        self.ledger.append(*self._launched(attempt, files.containers), ledger.end(attempt, digests, writer))

    def put_result(
        self, action: StoreResult, *, target: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]
    ) -> Sealed:
        """Store run.yaml, system.json, result.json and ledger.jsonl, each once, and SHA256SUMS."""
        with self.store.together() as store:
            content = json_bytes(result_document(self.run, action, target))
            stored = put_once(store, RESULT, content, "application/json")
            if stored != content:
                action = self._stored_before(stored)
            closed = self.ledger.closed()
            if closed is None:
                system = json_bytes(system_document(self.run, nodes))
                files = {
                    _RUN: _sum(put_once(store, _RUN, self._run_yaml(), "application/yaml")),
                    _SYSTEM: _sum(put_once(store, _SYSTEM, system, "application/json")),
                    RESULT: _sum(stored),
                }
        with self.ledger.together() as store:
            if closed is None:
                entries = [*self._launched(None, ()), *(ledger.try_(attempt, ()) for attempt in action.attempts)]
                self.ledger.append(*entries, within=store)
                found = self._found(ledger.files_of(self.ledger.entries()) | files)
                closed = self.ledger.close(ledger.result(action, files, found, self._chain_head()), within=store)
            result = self._seal(store, closed)
        self.ledger.drop_parts()
        return Sealed(result, action)

    def _stored_before(self, result: bytes) -> StoreResult:
        """Return what a result.json says that another process has stored for this run.

        Raises AlreadyExists if it is another run's, and StoreRefused if nobody can read it.
        """
        where = f"{self.store.url}/{RESULT}"
        try:
            uid, action = stored_result(result)
        except ValueError as error:
            raise StoreRefused(f"{where} is not a result: {error}; move the folder away") from error
        if uid != self.run.uid:
            raise AlreadyExists(f"{where} is the result of another run ({uid}); choose another folder")
        return action

    def _chain_head(self) -> Head | None:
        """Return the head of the namespace's chain; None if there is none, or the store refuses to show it."""
        try:
            return self.chain.head() if self.chain else None
        except StoreRefused as error:
            _LOG.warning("the chain over all runs cannot be read: %s", error)
            return None

    def put_checkpoint(self, segment: Segment, containers: Sequence[Container]) -> None:
        """Store a part of a growing log, after the ledger says so: no line that is restored was not received."""
        attempt = next((a for a in self.run.status.attempts if a.id == segment.id), None)
        saved = ledger.checkpoint(segment.id, segment.key, segment.rows, segment.log_bytes, segment.log_sha256)
        with self.ledger.together() as store:
            self.ledger.append(*self._launched(attempt, containers), saved, within=store)
            checkpoints.put_segment(store, segment)

    def checkpoint(self, id_: TryId) -> Checkpoint:
        """Return what earlier processes have stored of a growing log, as far as it is what they stored.

        A checkpoint without any ledger is of an earlier version, which had none.
        """
        entries = self.ledger.entries()
        known = {(e["segment"], e["segmentSha256"]) for e in entries if e["kind"] == ledger.CHECKPOINT}
        found = []
        for key, rows in checkpoints.segments(self.store, id_):
            if not entries or (key, _sum(rows)) in known:
                found.append((key.rpartition("-")[2], rows))
            else:
                _LOG.warning("%s/%s is not what was stored; it is not restored", self.store.url, key)
                self.ledger.append(ledger.refused(id_, key, rows))
        return Checkpoint(found, ledger.rank0_of(entries, id_))

    def drop_checkpoint(self, id_: TryId) -> None:
        checkpoints.drop(self.store, id_)

    def _run_yaml(self) -> bytes:
        rendered = self.ledger.run_yaml
        if rendered is None or rendered[0] is not self.run.spec:
            content = yaml.dump(run_document(self.run), Dumper=_DUMPER, sort_keys=False).encode()
            rendered = self.ledger.run_yaml = self.run.spec, content
        return rendered[1]

    def _launched(self, attempt: AttemptStatus | None, containers: Sequence[Container]) -> list[ledger.Entry]:
        """Return the first entries of the run and of a try, which the ledger has only once."""
        tries = [ledger.try_(attempt, containers)] if attempt else []
        return tries if self.ledger.begun() else [ledger.admitted(self.run, self._run_yaml()), *tries]

    def _found(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return the digests of files that are in no entry: a process that died put them, or somebody else."""
        unknown = (key for key in self.store.list() if key not in known and not key.startswith(NOT_SEALED))
        return {key: digest(self.store, key) for key in unknown}

    def _seal(self, store: Store, closed: bytes) -> Result:
        """Write SHA256SUMS from a closed ledger, and sign both: whoever does it, and however often, it is the same."""
        sums = ledger.files_of(record.entry for record in ledger.read(closed)) | {LEDGER: _sum(closed)}
        text = "".join(f"{sha256}  {key}\n" for key, sha256 in sorted(sums.items())).encode()
        store.put(SUMS, text, content_type="text/plain; charset=utf-8")
        if self.signer:
            envelope = self.signer.sign({SUMS: _sum(text), LEDGER: _sum(closed)}, self._statement(closed))
            store.put(PUBLIC_KEY, self.signer.public_pem.encode(), content_type="application/x-pem-file")
            store.put(STATEMENT, envelope, content_type="application/json")
        return Result(uri=self.store.url, sha256=_sum(text), public_key=self.signer.public_pem if self.signer else None)

    def _statement(self, closed: bytes) -> dict[str, Any]:
        """What is signed besides the digests: whose ledger it is, and where it ends."""
        return {
            "run": {"namespace": self.run.namespace, "name": self.run.name, "uid": self.run.uid},
            "ledgerHead": ledger.head_of(closed).sha256,
        }


def _has_ended(closed: bytes, id_: TryId) -> bool:
    entries = (record.entry for record in ledger.read(closed))
    return any(e["kind"] == ledger.END and (e["attempt"], e["try"]) == id_ for e in entries)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
