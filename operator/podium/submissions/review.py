"""Review a package, or any results: recompute scores, recheck logs, and compare both with what is claimed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from podium.api import BenchmarkRunSpec
from podium.documents import DocumentError, LimitError, read_json, read_yaml
from podium.mllog import LogSummary
from podium.results.writer import SUMS
from podium.rounds import load_rounds, shown
from podium.rules import Finding, check_spec
from podium.rules.catalog import RuleId
from podium.stores import Store, StoreError, digest, document_bytes, read_sums
from podium.submissions.contradictions import contradictions
from podium.submissions.convergence import convergence_of_entry
from podium.submissions.package import ReviewedResult, faults, is_closed
from podium.submissions.together import copies_elsewhere
from podium.submissions.tree import with_round
from podium.submissions.verify import provenance

if TYPE_CHECKING:
    from podium.results.signature import PublicKey

_CLOSE_MINUTES = 1e-4  # the digits in result.json
_CLOSE_FACTOR = 1e-3


def review(parts: Sequence[ReviewedResult], key: PublicKey | None = None) -> Iterator[Finding]:
    """Everything that a reviewer would question, once; `key` is the administrator's, if known. Raises StoreError."""
    yield from dict.fromkeys(_questions(parts, key))


def _questions(parts: Sequence[ReviewedResult], key: PublicKey | None) -> Iterator[Finding]:
    for part in parts:
        yield from faults(part)
        yield from (
            f for f in part.entry.findings if f.rule.startswith((RuleId.SCORE_BENCHMARK_UNKNOWN, RuleId.SCORE_DOCUMENT))
        )
        yield from _identical_files(part)
        yield from _other_than_stored(part)
        yield from _claimed_score(part)
        yield from contradictions(part)
        if not part.folder.system and PurePosixPath(part.folder.path).parts[-3:-2] == ("results",):
            message = f"there is no readable systems/{part.entry.system}.json"
            yield Finding(RuleId.REVIEW_SYSTEM, _where(part), message, remedy="add a description of the system")
        yield from _claimed_settings(part)
        yield from _claimed_run(part)
        yield from _convergence(part)
        if part.folder.result:
            yield from provenance(part.store, part.folder.own, len(part.entry.score.scored), key).findings
    yield from copies_elsewhere(part.folder.logs for part in parts)
    for store in dict.fromkeys(part.store for part in parts):
        yield from _sums(store)


def _identical_files(part: ReviewedResult) -> Iterator[Finding]:
    """Report logs that are the same to the last byte and have too few evaluations for `copies` to see it."""
    named = {finding.field for finding in part.entry.together if finding.rule == RuleId.REVIEW_RUNS_SAME}
    contents: dict[str, str] = {}
    for log in part.folder.logs:
        content = digest(part.store, log.name)
        if (twin := contents.get(content)) and log.name not in named:
            remedy = "ask for the attempt's own log"
            yield Finding(RuleId.REVIEW_RUNS_SAME, log.name, f"is a copy of {twin}", remedy=remedy)
        contents.setdefault(content, log.name)


def _other_than_stored(part: ReviewedResult) -> Iterator[Finding]:
    """Report logs of a package that are not those of the attempts in its copy of Podium's result."""
    folder = part.folder
    if not folder.result or folder.own == folder.path:
        return
    stored = frozenset(part.store.list(folder.key("attempts/")))
    for log in folder.logs:
        key = folder.key(f"attempts/{log.index:03}/result.txt")
        if key not in stored:
            message = "the result that Podium stored has no such attempt"
            yield Finding(RuleId.REVIEW_COPY, log.name, message, remedy="ask where it comes from")
        elif digest(part.store, key) != digest(part.store, log.name):
            message = f"is not {key}, the log that Podium stored"
            yield Finding(RuleId.REVIEW_COPY, log.name, message, remedy="restore the original")


def _claimed_score(part: ReviewedResult) -> Iterator[Finding]:
    """Compare Podium's result.json with the score computed from the logs beside it."""
    score = part.folder.result.get("score")
    if not isinstance(score, dict):
        return
    claimed, found = _number(score.get("timeToTrainMinutes")), part.entry.score.minutes
    same = claimed == found or (claimed is not None and found is not None and abs(claimed - found) <= _CLOSE_MINUTES)
    if not same:
        message = f"result.json claims {_minutes(claimed)}, the logs give {_minutes(found)}"
        yield Finding(RuleId.REVIEW_SCORE, _where(part), message, remedy="one of them was changed")


def _claimed_settings(part: ReviewedResult) -> Iterator[Finding]:
    """Compare the hyperparameters in the package's description with those in the logs."""
    parts = PurePosixPath(part.folder.path).parts
    if len(parts) < 3 or parts[-3] != "results":
        return
    folder = "/".join([*parts[:-3], "benchmarks", parts[-1], parts[-2], ""])
    for key in part.store.list(folder):
        claimed = _settings(part.store, key) if key.endswith(".json") else {}
        logged = _first(part)
        for name, value in claimed.items():
            if name in logged and not _equal(value, logged[name]):
                message = f"{name} is {value!r} here and {logged[name]!r} in the logs"
                yield Finding(RuleId.REVIEW_HYPERPARAMETERS_CLAIM, key, message, remedy="correct the one that is wrong")


def _claimed_run(part: ReviewedResult) -> Iterator[Finding]:
    """Check that run.yaml would be admitted, and compare its hyperparameters and ranks with those in the logs."""
    if not part.folder.result:
        return
    key = part.folder.key("run.yaml")
    try:
        (document,) = read_yaml(document_bytes(part.store, key), key)
        spec = BenchmarkRunSpec.model_validate(with_round(document["spec"]))
    except (StoreError, ValueError, KeyError, TypeError) as error:
        message = str(error) if isinstance(error, LimitError) else "there is no readable run.yaml"
        yield Finding(RuleId.REVIEW_RUN, _where(part), message, remedy="restore the original")
        return
    for finding in check_spec(spec, load_rounds()):
        yield Finding(finding.rule, f"{key}: {finding.field}", finding.message, remedy=finding.remedy)
    counted = {log.summary.ranks or 0 for log in part.folder.logs} - {0, spec.system.ranks}
    if counted:
        message = f"the run starts {spec.system.ranks} ranks, a log has {', '.join(map(str, sorted(counted)))}"
        yield Finding(RuleId.REVIEW_KEY.of("chips"), key, message, remedy="ask which of them was used")
    logged = _first(part)
    for name, value in spec.hyperparameters.items():
        if name in logged and not _equal(value, logged[name]):
            message = f"{name} is {shown(value)} here and {shown(logged[name])} in the logs"
            yield Finding(RuleId.REVIEW_HYPERPARAMETERS_CLAIM, key, message, remedy="ask which of them was used")


def _convergence(part: ReviewedResult) -> Iterator[Finding]:
    """Report closed results that converged faster than the reference could by chance."""
    if not is_closed(part.folder):
        return
    found = convergence_of_entry(part.entry)
    if found.passed is False:
        remedy = (
            "ask for reference convergence points of these hyperparameters, or for rcp-bypass in package_checker_params"
        )
        yield Finding(RuleId.REVIEW_CONVERGENCE, _where(part), found.message, remedy=remedy)
    elif found.scaling and part.entry.scaling < found.scaling * (1 - _CLOSE_FACTOR):
        message = f"the scaling factor is {part.entry.scaling:.4f} instead of {found.scaling:.4f}: {found.message}"
        yield Finding(
            RuleId.REVIEW_SCALING, _where(part), message, remedy="write scaling.json as MLCommons' rcp_checker does"
        )


def _settings(store: Store, key: str) -> Mapping[str, Any]:
    try:
        document = read_json(document_bytes(store, key), key)
    except DocumentError:
        return {}
    settings = document.get("hyperparameters") if isinstance(document, dict) else None
    return settings if isinstance(settings, dict) else {}


def _first(part: ReviewedResult) -> Mapping[str, Any]:
    good = (log.summary for log in part.folder.logs if part.entry.verdicts[log.index].converged)
    return next(good, LogSummary()).hyperparameters


def _sums(store: Store) -> Iterator[Finding]:
    """Report files that SHA256SUMS lists and that were edited or removed after the result was written."""
    keys = frozenset(store.list())
    found = cache(partial(digest, store))  # reads a file that is listed a thousand times only once
    for sums in (key for key in sorted(keys) if key.rpartition("/")[2] == SUMS):
        folder = sums.removesuffix(SUMS)
        try:
            for claimed, name in read_sums(store, sums):
                key = folder + name
                if key not in keys:
                    yield Finding(RuleId.REVIEW_SUMS, sums, f"{name} is missing", remedy="restore the original")
                elif found(key) != claimed:
                    yield Finding(
                        RuleId.REVIEW_SUMS,
                        key,
                        "was changed after the result was written",
                        remedy="restore the original",
                    )
        except LimitError as error:
            yield Finding(RuleId.REVIEW_SUMS, sums, str(error), remedy="restore the original")


def _where(part: ReviewedResult) -> str:
    return part.folder.path or part.entry.benchmark


def _equal(one: object, other: object) -> bool:
    a, b = _number(one), _number(other)
    return one == other if a is None or b is None else math.isclose(a, b, rel_tol=1e-9)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _minutes(value: float | None) -> str:
    return "no score" if value is None else f"{value:.3f} minutes"
