"""Hyperparameter borrowing: copy another result's hyperparameters, as a group, into a new run.

The v0.7 rules, "Hyperparameter Borrowing" (mlcommons/training_policies@e382b31), allow this for the same benchmark and
all hyperparameters together; the batch size is optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from podium.api import GROUP, BenchmarkRunSpec
from podium.api.spec import MAX_NAME_LENGTH
from podium.rounds import BATCH, Hyperparameter, Round, vocabulary
from podium.rules import Finding, plain_value
from podium.rules.catalog import RuleId
from podium.submissions.entries import ScoredResult

_RATE = "opt_base_learning_rate"


@dataclass(frozen=True, slots=True)
class Borrowed:
    """`hyperparameters` replace the run's own; `left_out` are log keys that the run cannot set."""

    hyperparameters: Mapping[str, Any]
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]


def borrow(
    entry: ScoredResult, spec: BenchmarkRunSpec, rounds: Mapping[str, Round], *, with_batch_size: bool
) -> Borrowed:
    """The hyperparameters of `entry` that a run with this `spec` can take over, as a group."""
    logged, findings = _agreed(entry)
    round_ = rounds.get(spec.round)
    benchmark = round_.benchmarks.get(spec.benchmark) if round_ else None
    known: Mapping[str, Hyperparameter] = vocabulary()
    if benchmark and spec.division != "open":
        known = benchmark.tunable
    if entry.benchmark != spec.benchmark:
        message = f"the result is for {entry.benchmark}, the run for {spec.benchmark}"
        remedy = "borrow from a result of the same benchmark"
        findings.append(Finding(RuleId.BORROW_BENCHMARK, "spec.benchmark", message, remedy=remedy))
    taken = {key: plain_value(value, known[key].type) for key, value in logged.items() if key in known and key != BATCH}
    if not taken:
        message = f"no log of {entry.path or entry.system} has a hyperparameter that the run can set"
        findings.append(
            Finding(RuleId.BORROW_NOTHING, entry.path or ".", message, remedy="v0.5 logs use other names for them")
        )
    elif _RATE in known and _RATE not in taken:
        message = f"the logs do not have {_RATE}; without it the group is incomplete"
        findings.append(
            Finding(RuleId.BORROW_RATE, entry.path or ".", message, remedy="v0.5 logs use other names for them")
        )
    own = spec.hyperparameters.get(BATCH)
    size = logged.get(BATCH) if with_batch_size else own
    if size is not None:
        taken[BATCH] = size
    left_out = tuple(sorted(key for key in logged if key not in known and key != BATCH))
    return Borrowed(taken, left_out, tuple(findings))


def borrowing_run(document: Mapping[str, Any], entry: ScoredResult, borrowed: Borrowed, source: str) -> dict[str, Any]:
    """The BenchmarkRun in `document` with the borrowed group, and its origin in the annotations."""
    metadata = dict(document.get("metadata") or {})
    name = str(metadata.get("name") or "run")
    metadata["name"] = f"{name[: MAX_NAME_LENGTH - len('-borrowed')].rstrip('-')}-borrowed"
    names = " ".join(part for part in (entry.round, entry.org, entry.system, entry.benchmark) if part)
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        f"{GROUP}/borrowed-from": source,
        f"{GROUP}/borrowed-result": names,
        f"{GROUP}/borrowed-keys": ",".join(sorted(borrowed.hyperparameters)),
    }
    spec = {**document["spec"], "hyperparameters": dict(borrowed.hyperparameters)}
    return {**document, "metadata": metadata, "spec": spec}


def _agreed(entry: ScoredResult) -> tuple[dict[str, Any], list[Finding]]:
    """The hyperparameters of the converged logs, and a finding for each on which they disagree."""
    logs = [entry.logs[i] for i, v in entry.verdicts.items() if v.converged]
    if not logs:
        return {}, [Finding(RuleId.BORROW_RESULT, entry.path or ".", "no attempt of the result converged")]
    return dict(logs[0].hyperparameters), list(_differences(entry, [log.hyperparameters for log in logs]))


def _differences(entry: ScoredResult, logs: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for key in sorted({key for log in logs for key in log}):
        values = {repr(log.get(key)) for log in logs}
        if len(values) > 1:
            message = f"the attempts differ in {key}: {', '.join(sorted(values)[:5])}"
            yield Finding(
                RuleId.BORROW_DIFFERS,
                entry.path or ".",
                message,
                remedy="a result must have one set for all its attempts",
            )
