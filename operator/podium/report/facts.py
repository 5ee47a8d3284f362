"""Gather what a report shows from an entry's logs and the documents beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podium.api import AttemptState, rfc3339
from podium.documents import DocumentError, LimitError, read_json
from podium.mllog import LogSummary
from podium.report.described import described_system, plain_text
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import NotFound, Store, document_bytes, read_sums
from podium.submissions import (
    EntryRate,
    Folder,
    Provenance,
    ScoredResult,
    Variance,
    convergence_of_entry,
    is_closed,
    provenance,
    rate_of,
    variance,
)

if TYPE_CHECKING:
    from podium.results.signature import PublicKey

SUMS = "SHA256SUMS"
_CHECKED = (".json", ".yaml", "result.txt")  # files whose digests are verified; pod logs may be gigabytes


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation, `seconds` after run_start, in the unit of the target."""

    seconds: float
    epoch: float | None
    quality: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `mark` says why the score leaves it out; "" if it is part of the mean."""

    index: int
    state: str
    reason: str
    mark: str
    cause: str
    seed: int | None
    epochs: float | None  # until the target was reached, else until the last evaluation
    quality: Mapping[str, float]  # at that point
    init_seconds: float | None  # before the clock starts
    seconds: float | None  # on the clock
    samples_per_second: float | None  # of a run that measures the rate
    per_accelerator: float | None  # samples per second of training
    eval_seconds: float | None  # part of `seconds`
    energy_joules: float | None
    curve: tuple[Point, ...]
    log: str
    sha256: str

    @property
    def outcome(self) -> str:
        """The state in words."""
        return "Not converged" if self.state == AttemptState.NOT_CONVERGED else self.state

    @property
    def scored(self) -> bool:
        return self.mark == "" and self.state in (AttemptState.CONVERGED, AttemptState.MEASURED)


@dataclass(frozen=True, slots=True)
class Retried:
    """An earlier try of an attempt, which failed because of the infrastructure."""

    index: int
    try_: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A value that all attempts logged, or all the different values."""

    name: str
    value: str
    description: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Report:
    """One entry as a report shows it."""

    entry: ScoredResult
    kind: tuple[str, ...]  # division and preset, if Podium's result has them
    spread: Variance
    rate: EntryRate | None
    attempts: tuple[Attempt, ...]
    retried: tuple[Retried, ...]
    energy_joules: float | None  # mean of the scored attempts
    cost: str
    system: tuple[tuple[str, str], ...]
    hyperparameters: tuple[Hyperparameter, ...]
    provenance: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    convergence: str = ""  # how fast the attempts converged beside the reference, where that is judged

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``. Times are in seconds if their names say so, else in minutes."""
        return {
            **self.entry.document(),
            "target": self.entry.target,
            "kind": list(self.kind),
            "variance": self.spread.document(),
            "rate": self.rate.document() if self.rate else None,
            "convergence": self.convergence or None,
            "energyJoules": self.energy_joules,
            "cost": self.cost or None,
            "attempts": [_document(attempt) for attempt in self.attempts],
            "retried": [{"index": r.index, "try": r.try_, "state": r.state, "reason": r.reason} for r in self.retried],
            "system": dict(self.system),
            "hyperparameters": {h.name: h.value for h in self.hyperparameters},
            "provenance": dict(self.provenance),
            "findings": [finding.document() for finding in self.findings],
        }


def read_report(store: Store, folder: Folder, entry: ScoredResult, key: PublicKey | None = None) -> Report:
    """Everything about one scored entry of `store`; `key` is the administrator's, if it is known. Raises StoreError."""
    digests = {log.index: _digest(store, log.name) for log in folder.logs}
    names = {log.index: log.name for log in folder.logs}
    rate = rate_of(entry)
    attempts = tuple(_attempt(entry, rate, index, names[index], digests[index]) for index in entry.logs)
    sums, wrong = _check_sums(store, folder)
    claims = _check_claims(folder, entry)
    origin = provenance(store, folder.own, len(entry.score.scored), key) if folder.result else None
    energies = [attempt.energy_joules for attempt in attempts if attempt.scored]
    known = [joules for joules in energies if joules is not None]
    seen = _read_json(store, folder.key("system.json")) if folder.result else {}
    return Report(
        entry=entry,
        kind=tuple(plain_text(folder.result[key]) for key in ("division", "preset") if folder.result.get(key)),
        spread=variance(entry),
        rate=rate,
        attempts=attempts,
        retried=tuple(_retried(folder)),
        energy_joules=sum(known) / len(known) if known and len(known) == len(energies) else None,
        cost=plain_text(_part(folder.result, "score").get("cost") or ""),
        system=described_system(folder, entry, seen),
        hyperparameters=_hyperparameters(entry),
        provenance=_provenance(store, folder, entry, sums, origin),
        findings=(*entry.findings, *claims, *wrong, *(origin.findings if origin else ())),
        convergence=_convergence(folder, entry),
    )


def _convergence(folder: Folder, entry: ScoredResult) -> str:
    is_judged = is_closed(folder) and entry.rules.reference_points and not entry.goal.window
    return convergence_of_entry(entry).message if is_judged else ""


def _document(attempt: Attempt) -> dict[str, Any]:
    return {
        "index": attempt.index,
        "state": attempt.state,
        "reason": attempt.reason,
        "mark": attempt.mark,
        "cause": attempt.cause,
        "seed": attempt.seed,
        "epochs": attempt.epochs,
        "quality": dict(attempt.quality),
        "initSeconds": attempt.init_seconds,
        "seconds": attempt.seconds,
        **({"samplesPerSecond": attempt.samples_per_second} if attempt.samples_per_second else {}),
        "evalSeconds": attempt.eval_seconds,
        "energyJoules": attempt.energy_joules,
        "curve": [{"seconds": p.seconds, "epoch": p.epoch, "quality": dict(p.quality)} for p in attempt.curve],
        "log": attempt.log,
        "sha256": attempt.sha256,
    }


def _attempt(entry: ScoredResult, rate: EntryRate | None, index: int, name: str, digest: str) -> Attempt:
    log, verdict = entry.logs[index], entry.verdicts[index]
    curve = _curve(entry, log)
    end = _end(entry, log)
    offset = 0 if entry.first_epoch else 1
    init = None if log.run_start is None or log.init_start is None else max(0.0, log.run_start - log.init_start)
    return Attempt(
        index=index,
        state=str(verdict.state),
        reason=str(verdict.reason),
        mark=_mark(entry, index),
        cause="" if verdict.converged else plain_text(verdict.message),
        seed=log.seed,
        epochs=None if end is None or end.epoch is None else end.epoch + offset,
        quality={} if end is None else end.quality,
        init_seconds=init,
        seconds=verdict.seconds,
        samples_per_second=verdict.rate.per_second if verdict.rate else None,
        per_accelerator=rate.per_accelerator(rate.by_attempt[index]) if rate and index in rate.by_attempt else None,
        eval_seconds=_on_the_clock(entry, log.eval_seconds, verdict.seconds),
        energy_joules=log.energy_joules,
        curve=curve,
        log=name,
        sha256=digest,
    )


def _on_the_clock(entry: ScoredResult, eval_seconds: float | None, seconds: float | None) -> float | None:
    """The part of the time to train spent on evaluation; None if it is after the clock or the log does not say."""
    if entry.rules.timed_by == "eval_result" or eval_seconds is None or seconds is None:
        return None
    return min(eval_seconds, seconds)


def _curve(entry: ScoredResult, log: LogSummary) -> tuple[Point, ...]:
    start = log.run_start
    if start is None:
        return ()
    return tuple(Point(e.time - start, e.epoch, entry.goal.values(log, e)) for e in log.evaluations)


def _end(entry: ScoredResult, log: LogSummary) -> Point | None:
    """The evaluation that reached the target, or else the last one."""
    if not log.evaluations:
        return None
    chosen = entry.goal.reached(log) or log.evaluations[-1]
    return Point(chosen.time - (log.run_start or chosen.time), chosen.epoch, entry.goal.values(log, chosen))


def _mark(entry: ScoredResult, index: int) -> str:
    score, verdict = entry.score, entry.verdicts[index]
    if not score.valid or index in score.scored:
        return ""
    if not score.counts(index):
        return "not among those that count"
    if index not in score.dropped:
        return "not counted"
    if not verdict.converged and not verdict.keeps_place:
        return "dropped as the slowest"
    scored = [seconds for i in score.scored if (seconds := entry.verdicts[i].seconds) is not None]
    fast = verdict.seconds is not None and verdict.seconds <= min(scored, default=0.0)
    slow = verdict.seconds is not None and verdict.seconds >= max(scored, default=0.0)
    if fast and slow:  # equal times: the first dropped attempt is the fastest
        fast = index == min(score.dropped)
    return "dropped: fastest" if fast else "dropped: slowest"


def _hyperparameters(entry: ScoredResult) -> tuple[Hyperparameter, ...]:
    """All logged hyperparameters, first those that the round lets a submitter tune, in its order."""
    seen: dict[str, dict[str, None]] = {}
    for log in entry.logs.values():
        for name, value in log.hyperparameters.items():
            seen.setdefault(name, {})[_value(value)] = None
    tunable = entry.rules.tunable
    order = [name for name in tunable if name in seen] + sorted(name for name in seen if name not in tunable)
    return tuple(
        Hyperparameter(
            name=plain_text(name),
            value=plain_text(" | ".join(list(seen[name])[:8]) + (" | ..." if len(seen[name]) > 8 else "")),
            description=tunable[name].description if name in tunable else "",
            differs=len(seen[name]) > 1,
        )
        for name in order
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value)


# ---- the documents of a stored result ----


def _retried(folder: Folder) -> Iterable[Retried]:
    last = folder.last_tries
    for attempt in folder.tries:
        if attempt["try"] != last[attempt["index"]]["try"]:
            reason = plain_text(attempt.get("message") or attempt.get("reason") or "")
            yield Retried(attempt["index"], attempt["try"], plain_text(attempt.get("state") or ""), reason)


def _check_claims(folder: Folder, entry: ScoredResult) -> Iterable[Finding]:
    """A finding if the stored score differs from that of the logs."""
    claimed = _part(folder.result, "score").get("timeToTrainMinutes")
    if claimed is None or entry.score.minutes is None:
        return
    try:
        differs = abs(float(str(claimed)) - entry.score.minutes) > 1e-4
    except ValueError:
        differs = True
    if differs:
        where = folder.key("result.json")
        text = f"it says {plain_text(claimed)} minutes, but the logs give {entry.score.minutes:.4f}"
        yield Finding(RuleId.REPORT_SCORE, where, text, remedy="trust the logs if their digests are right")


def _check_sums(store: Store, folder: Folder) -> tuple[str, list[Finding]]:
    """Compare documents and logs of a stored result with SHA256SUMS; returns a sentence and findings."""
    if not folder.result:
        return "", []
    base = folder.key("")
    try:
        checked = [(digest, key) for digest, key in read_sums(store, base + SUMS) if key.endswith(_CHECKED)]
    except NotFound:
        return f"no {SUMS}", [
            Finding(RuleId.REPORT_SUMS, base + SUMS, "is missing", remedy="the result was not finished")
        ]
    except LimitError as error:
        finding = Finding(RuleId.REPORT_SUMS, base + SUMS, str(error), remedy="restore the original")
        return f"{SUMS} cannot be read", [finding]
    existing = frozenset(store.list(base))
    wrong = [
        Finding(
            RuleId.REPORT_SUMS,
            plain_text(base + key),
            f"is not the file that {SUMS} lists",
            remedy="restore the original",
        )
        for digest, key in checked
        if base + key not in existing or _digest(store, base + key) != digest
    ]
    good = len(checked) - len(wrong)
    return f"{good} of {len(checked)} documents and logs match {SUMS}", wrong


def _digest(store: Store, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in store.chunks(key):
        digest.update(chunk)
    return digest.hexdigest()


def _read_json(store: Store, key: str) -> Mapping[str, Any]:
    try:
        document = read_json(document_bytes(store, key), key)
    except (NotFound, DocumentError):
        return {}
    return document if isinstance(document, dict) else {}


def _provenance(
    store: Store, folder: Folder, entry: ScoredResult, sums: str, origin: Provenance | None
) -> tuple[tuple[str, str], ...]:
    result, run = folder.result, _part(folder.result, "run")
    starts = [log.run_start for log in entry.logs.values() if log.run_start is not None]
    formats = sorted({str(log.format) for log in entry.logs.values() if log.format})
    rows: Sequence[tuple[str, object]] = [
        ("Place", f"{store.url}/{folder.path}".rstrip("/")),
        ("Run", "/".join(str(run[key]) for key in ("namespace", "name") if run.get(key))),
        ("Run uid", run.get("uid")),
        ("Outcome", ": ".join(str(result[key]) for key in ("outcome", "message") if result.get(key))),
        ("Written by", f"Podium {result['podium']}" if result.get("podium") else ""),
        ("First attempt started", _utc(min(starts)) if starts else ""),
        ("Rules", f"{entry.round}: {entry.rules.source}" if entry.rules.source else entry.round),
        ("Attempts required", _asked(entry)),
        ("Log format", ", ".join(formats)),
        ("Integrity", sums),
        ("Signature", origin.signed if origin else ""),
        ("Ledger", origin.ledger if origin else ""),
        ("Tries", origin.tries if origin else ""),
    ]  # fmt: skip
    return tuple((name, plain_text(value)) for name, value in rows if value)


def _asked(entry: ScoredResult) -> str:
    rule = entry.rule
    return f"{rule.runs}, of which the fastest {rule.drop_fastest} and the slowest {rule.drop_slowest} are dropped"


def _utc(seconds: float) -> str:
    try:
        return rfc3339(seconds).replace("T", " ").replace("Z", " UTC")
    except (OverflowError, ValueError, OSError):
        return ""


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}
