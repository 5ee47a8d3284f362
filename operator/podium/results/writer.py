"""Write a run's result to a store, in an order that makes a crash at any point harmless.

Every call can be repeated: the files of a try are overwritten with the same content, and result.json is written
once and then left alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from podium.api import Result, TryId
from podium.mllog import LogSummary
from podium.reconcile import Container, Run, StoreAttempt, StoreResult
from podium.results.schema import attempt_document, result_document, run_document, system_document
from podium.stores import AlreadyExists, NotFound, Store, digest

RESULT = "result.json"
SUMS = "SHA256SUMS"
_CHECKPOINTS = "checkpoints/"


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """What is stored about one try, besides its status."""

    summary: LogSummary
    lines: Sequence[str]  # the MLPerf lines of rank 0, in order
    containers: Sequence[Container] = ()
    pod_logs: Mapping[str, bytes] = field(default_factory=dict)  # by file name, uncompressed, bounded


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
        self.store.put(f"{folder}/result.txt", _text(files.lines), content_type="text/plain; charset=utf-8")
        for name, content in files.pod_logs.items():
            packed = gzip.compress(content, mtime=0)
            self.store.put(f"{folder}/logs/{name}.gz", packed, content_type="application/gzip")
        document = attempt_document(self.run, attempt, files.summary, files.containers)
        self.store.put(f"{folder}/attempt.json", _json(document), content_type="application/json")
        self.drop_checkpoint(attempt.id)

    def put_result(
        self, action: StoreResult, *, target: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]
    ) -> Result:
        """Store run.yaml, system.json, result.json (once), and SHA256SUMS of what the store returns."""
        run_yaml = yaml.safe_dump(run_document(self.run), sort_keys=False).encode()
        self.store.put("run.yaml", run_yaml, content_type="application/yaml")
        self.store.put("system.json", _json(system_document(self.run, nodes)), content_type="application/json")
        document = result_document(self.run, action, target)
        try:
            self.store.put(RESULT, _json(document), if_absent=True, content_type="application/json")
        except AlreadyExists:
            self._check_owner()
        return self._seal()

    def put_checkpoint(self, id_: TryId, text: bytes) -> None:
        """Store the log so far, so that no lines are lost when the operator restarts or the log is rotated."""
        self.store.put(_checkpoint(id_), text, content_type="text/plain; charset=utf-8")

    def get_checkpoint(self, id_: TryId) -> bytes:
        """The last checkpoint of the log; empty if there is none."""
        try:
            return self.store.get(_checkpoint(id_))
        except NotFound:
            return b""

    def drop_checkpoint(self, id_: TryId) -> None:
        self.store.delete(_checkpoint(id_))

    def _check_owner(self) -> None:
        """Raises AlreadyExists if another run, not an earlier call, has written result.json."""
        uid = json.loads(self.store.get(RESULT))["run"]["uid"]
        if uid != self.run.uid:
            raise AlreadyExists(
                f"{self.store.url}/{RESULT} is the result of another run ({uid}); choose another folder"
            )

    def _seal(self) -> Result:
        keys = sorted(key for key in self.store.list() if key != SUMS and not key.startswith(_CHECKPOINTS))
        digests = ((digest(self.store, key), key) for key in keys)
        sums = "".join(f"{digest}  {key}\n" for digest, key in digests).encode()
        self.store.put(SUMS, sums, content_type="text/plain; charset=utf-8")
        return Result(uri=self.store.url, sha256=hashlib.sha256(sums).hexdigest())


def _checkpoint(id_: TryId) -> str:
    return f"{_CHECKPOINTS}{id_.attempt:03}-{id_.number}.log"


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
