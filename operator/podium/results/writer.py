"""Write a run's result to a store, in an order that makes a crash at any point harmless.

Every call can be repeated, also by another process that knows less: nothing that is stored gets shorter, result.json is
written once and then left alone, and SHA256SUMS never loses an entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from podium.api import Result, TryId
from podium.mllog import LogSummary
from podium.reconcile import Container, Run, StoreAttempt, StoreResult
from podium.results import checkpoints
from podium.results.evidence import put_lines, put_packed
from podium.results.schema import attempt_document, result_document, run_document, stored_files, system_document
from podium.stores import AlreadyExists, NotFound, Store, digest, read_sums

RESULT = "result.json"
SUMS = "SHA256SUMS"
_ATTEMPT = "attempt.json"
_LOG = "result.txt"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, where PyYAML has it


class PodLog(Protocol):
    """The log of one container; `unread` is why it, or its end, could not be read."""

    unread: str

    def pieces(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """What is stored about one try, besides its status."""

    summary: LogSummary
    lines: Iterable[str]  # the MLPerf lines of rank 0, in order
    containers: Sequence[Container] = ()
    pod_logs: Mapping[str, PodLog] = field(default_factory=dict)  # by file name
    findings: Sequence[str] = ()  # what is odd about them


class ResultWriter:
    """The result folder of one run."""

    def __init__(self, store: Store, run: Run) -> None:
        self.store = store
        self.run = run

    def put_attempt(self, action: StoreAttempt, files: AttemptFiles) -> None:
        """Store result.txt, the logs and, last, attempt.json of a finished try.

        The try that concludes its attempt goes to ``attempts/NNN``, earlier ones to ``attempts/NNN/tries/T``.
        """
        attempt = action.attempt
        folder = f"attempts/{attempt.index:03}" + ("" if action.concluding else f"/tries/{attempt.try_}")
        existing = frozenset(key.removeprefix(f"{folder}/") for key in self.store.list(f"{folder}/"))
        stored = put_lines(self.store, folder, _LOG, files.lines, exists=_LOG in existing)
        unread = {}
        for name, log in files.pod_logs.items():
            pieces = log.pieces()
            first = next(pieces, b"")
            if first or not log.unread:
                stored.append(put_packed(self.store, folder, f"logs/{name}.gz", _chain(first, pieces), existing))
            if log.unread:
                unread[name] = log.unread
        document = attempt_document(self.run, attempt, files.summary, files.containers)
        document |= stored_files(stored, unread, files.findings)
        self.store.put(f"{folder}/{_ATTEMPT}", _json(document), content_type="application/json")

    def put_result(
        self, action: StoreResult, *, target: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]
    ) -> Result:
        """Store run.yaml, system.json, result.json (once), and SHA256SUMS."""
        run_yaml = yaml.dump(run_document(self.run), Dumper=_DUMPER, sort_keys=False).encode()
        system = _json(system_document(self.run, nodes))
        result = _json(result_document(self.run, action, target))
        self.store.put("run.yaml", run_yaml, content_type="application/yaml")
        self.store.put("system.json", system, content_type="application/json")
        try:
            self.store.put(RESULT, result, if_absent=True, content_type="application/json")
        except AlreadyExists:
            result = self._own_result()
        return self._seal({"run.yaml": _sum(run_yaml), "system.json": _sum(system), RESULT: _sum(result)})

    def put_checkpoint(self, id_: TryId, writer: str, start: int, rows: bytes) -> None:
        """Store a part of a growing log. Raises StoreError."""
        checkpoints.put_segment(self.store, id_, writer, start, rows)

    def checkpoint(self, id_: TryId) -> Iterator[tuple[str, bytes]]:
        """Yield what earlier processes have stored of a growing log. Raises StoreError."""
        return checkpoints.segments(self.store, id_)

    def drop_checkpoint(self, id_: TryId) -> None:
        checkpoints.drop(self.store, id_)

    def _own_result(self) -> bytes:
        """Return the stored result.json. Raises AlreadyExists if another run, not an earlier call, has written it."""
        result = self.store.get(RESULT)
        uid = json.loads(result)["run"]["uid"]
        if uid != self.run.uid:
            raise AlreadyExists(
                f"{self.store.url}/{RESULT} is the result of another run ({uid}); choose another folder"
            )
        return result

    def _seal(self, sums: dict[str, str]) -> Result:
        """Write SHA256SUMS from the digests taken when the files were stored, as `sums` and attempt.json have them.

        An entry of an earlier SHA256SUMS stays even if its file is gone.
        """
        keys = {key for key in self.store.list() if key != SUMS and not key.startswith(checkpoints.CHECKPOINTS)}
        for key in sorted(key for key in keys if key.endswith(f"/{_ATTEMPT}")):
            document = self.store.get(key)
            folder = key.removesuffix(_ATTEMPT)
            sums[key] = _sum(document)
            sums |= {f"{folder}{name}": sha256 for name, sha256 in json.loads(document).get("files", {}).items()}
        for key in keys - sums.keys():
            sums[key] = digest(self.store, key)
        text = "".join(f"{sha256}  {key}\n" for key, sha256 in sorted((self._earlier_sums() | sums).items())).encode()
        self.store.put(SUMS, text, content_type="text/plain; charset=utf-8")
        return Result(uri=self.store.url, sha256=_sum(text))

    def _earlier_sums(self) -> dict[str, str]:
        try:
            return {name: sha256 for sha256, name in read_sums(self.store, SUMS) if name}
        except NotFound:
            return {}


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
