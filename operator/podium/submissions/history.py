"""List all results that Podium wrote to a store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from podium.documents import DocumentError, read_json
from podium.results.writer import RESULT
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import Store, StoreRefused, document_bytes
from podium.submissions.tree import with_round

COLUMNS = (
    "time", "namespace", "name", "round", "benchmark", "division", "system", "attempts", "minutes", "valid",
    "official", "outcome", "uri",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One result. `time` is the start of its first attempt (RFC 3339, UTC), "" if none started."""

    time: str
    namespace: str
    name: str
    round: str
    benchmark: str
    division: str
    system: str
    attempts: int
    minutes: float | None
    valid: bool
    official: bool
    outcome: str
    uri: str

    def document(self) -> dict[str, Any]:
        return {column: getattr(self, column) for column in COLUMNS}


def read_history(store: Store) -> Iterator[HistoryRow | Finding]:
    """Every result.json below `store`, in any order; a Finding for each that is not valid. Raises StoreError."""
    for key in store.list():
        if key.rpartition("/")[2] != RESULT:
            continue
        try:
            document = read_json(document_bytes(store, key), key)
        except (DocumentError, StoreRefused) as error:
            yield Finding(RuleId.HISTORY_UNREADABLE, key, str(error), remedy="restore or remove it")
            continue
        if isinstance(document, dict) and isinstance(document.get("run"), dict):
            yield _past(with_round(document), f"{store.url}/{key}".removesuffix(f"/{RESULT}"))
        else:
            yield Finding(RuleId.HISTORY_UNREADABLE, key, "is not the result of a run", remedy="restore or remove it")


def _past(document: Mapping[str, Any], uri: str) -> HistoryRow:
    run, score, system = document["run"], _object(document, "score"), _object(document, "system")
    listed = document.get("attempts")
    attempts = [a for a in listed if isinstance(a, dict)] if isinstance(listed, list) else []
    starts = [str(a["startTime"]) for a in attempts if a.get("startTime")]
    return HistoryRow(
        time=min(starts, default=""),
        namespace=str(run.get("namespace") or ""),
        name=str(run.get("name") or ""),
        round=str(document.get("round") or ""),
        benchmark=str(document.get("benchmark") or ""),
        division=str(document.get("division") or ""),
        system=str(system.get("name") or ""),
        attempts=len({str(a.get("index")) for a in attempts}),
        minutes=_number(score.get("timeToTrainMinutes")),
        valid=score.get("valid") is True,
        official=score.get("official") is True,
        outcome=str(document.get("outcome") or ""),
        uri=uri,
    )


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """A finite number, or None. Fractions are strings in a status; a string may also be "nan"."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
