"""The result of a sweep: one document with every row and the runs that it rests on, which is written once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from pydantic import Field, ValidationError

from podium.api import GROUP, Result
from podium.api.credentials import without_credentials
from podium.api.status import Model
from podium.api.sweep import SweepCounts, SweepResult, SweepRow, count
from podium.documents import read_json
from podium.reconcile.sweep import Sweep, SweepEnd, SweepRun
from podium.results.evidence import put_once
from podium.results.schema import json_bytes
from podium.stores import AlreadyExists, Store, StoreRefused
from podium.text import printable
from podium.version import podium_version

SWEEP_RESULT = "sweep.json"
SWEEP_SCHEMA = f"{GROUP}/sweep/v1"
_LONGEST_NAME = 200  # a sweep's name may have 253 characters; a folder's 255, with the uid
_LONGEST_FAILURE = 1024


class SweepIdentity(Model):
    """Which sweep it was."""

    namespace: str
    name: str
    uid: str


class StoredRun(Model):
    """A run of a sweep: what it measured, and where its own result is."""

    name: str
    row: str
    number: int
    uid: str
    rates: tuple[float, ...]
    failure: str = ""
    result: Result | None = None


class SweepDocument(Model):
    """sweep.json. Rows are as in the status of the sweep."""

    schema_: str = Field(alias="schema")
    podium: str
    sweep: SweepIdentity
    spec: dict[str, Any]
    message: str
    counts: SweepCounts
    worst: str | None = None
    rows: tuple[SweepRow, ...]
    runs: tuple[StoredRun, ...]


def sweep_folder(sweep: Sweep) -> str:
    """Return the folder of a sweep's result below the administrator's URL."""
    return f"{sweep.namespace}/{sweep.name[:_LONGEST_NAME]}-{sweep.uid[:8]}"


def sweep_document(sweep: Sweep, end: SweepEnd, runs: Sequence[SweepRun]) -> bytes:
    """Return sweep.json. It has no time of its own: the same rows and runs give the same bytes."""
    spec = sweep.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    spec["template"] = without_credentials(spec["template"])
    for variant in spec.get("variants", ()):
        variant["patch"] = without_credentials(variant["patch"])
    document = SweepDocument(
        schema_=SWEEP_SCHEMA,
        podium=podium_version(),
        sweep=SweepIdentity(namespace=sweep.namespace, name=sweep.name, uid=sweep.uid),
        spec=spec,
        message=end.message,
        counts=count(end.rows),
        worst=end.worst,
        rows=end.rows,
        runs=tuple(_run(run) for run in sorted(runs, key=lambda run: (run.row, run.number, run.name))),
    )
    return json_bytes(document.model_dump(mode="json", by_alias=True, exclude_none=True))


def _run(run: SweepRun) -> StoredRun:
    return StoredRun(
        name=run.name,
        row=run.row,
        number=run.number,
        uid=run.uid,
        rates=run.rates,
        failure=printable(run.failure)[:_LONGEST_FAILURE],
        result=run.result,
    )


def put_sweep(store: Store, sweep: Sweep, end: SweepEnd, runs: Sequence[SweepRun]) -> tuple[SweepEnd, SweepResult]:
    """Store the result of `sweep` in its folder. Returns how it ended, and where that is stored.

    If another process has stored it before, and died before the status said so, that one counts. Raises StoreError.
    """
    content = sweep_document(sweep, end, runs)
    stored = put_once(store, SWEEP_RESULT, content, "application/json")
    where = f"{store.url}/{SWEEP_RESULT}"
    if stored != content:
        try:
            found = read_sweep(stored, where)
        except ValueError as error:
            raise StoreRefused(f"{error}; move the file away") from error
        if found.sweep.uid != sweep.uid:
            raise AlreadyExists(f"{where} is the result of another sweep ({found.sweep.uid}); move the file away")
        end = SweepEnd(found.rows, found.message)
    return end, SweepResult(uri=where, sha256=hashlib.sha256(stored).hexdigest())


def read_sweep(content: bytes, where: str) -> SweepDocument:
    """Read a sweep.json that others may have written. Raises ValueError if it is not one."""
    found = read_json(content, where)
    try:
        document = SweepDocument.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise ValueError(f"{where} is not the result of a sweep: {place}: {first['msg']}") from error
    if document.schema_ != SWEEP_SCHEMA:
        raise ValueError(f"{where} is not the result of a sweep: schema is {document.schema_}, not {SWEEP_SCHEMA}")
    return document
