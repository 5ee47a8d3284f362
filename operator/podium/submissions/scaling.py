"""The factor by which a score is multiplied because its attempts converged faster than the reference does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from podium.mllog import LogSummary
from podium.rounds import Benchmark, in_unit_of_points
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.scoring import kept_mean, scales_scores
from podium.submissions.tree import Folder

_CLOSE = 1e-3  # MLCommons and submitters round the factor
_LARGEST_UNCHECKED = 1.2  # the 497 published factors are between 1.0003 and 1.189


@dataclass(frozen=True, slots=True)
class Asked:
    """What a scaling factor is checked against. `counts`: see `Goal.converged_after`; None if it did not converge."""

    round: str
    benchmark: str
    rules: Benchmark
    divisions: AbstractSet[str]
    logs: Sequence[LogSummary]
    counts: Sequence[float | None]


def scaling_of(folder: Folder, asked: Asked) -> tuple[float, list[Finding]]:
    """Return the factor that applies, and what is wrong with scaling.json.

    Only what the reference convergence points give is applied. If there is no point for a closed result, a plausible
    factor is applied although nothing confirms it: it can only make the score worse.
    """
    value = folder.scaling
    if value is None:
        return 1.0, []
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return 1.0, [_finding(folder, f"scaling_factor {value!r} is not a positive number", "correct scaling.json")]
    due = _due(asked)
    if due is not None and abs(value / due - 1) <= _CLOSE:
        return float(value), []
    remedy = "write scaling.json as MLCommons' rcp_checker does, or remove it"
    if due is not None:
        return due, [_finding(folder, f"scaling_factor is {value:.6g}, the reference points give {due:.6g}", remedy)]
    why = _why_none(asked)
    if not why and 1 <= value <= _LARGEST_UNCHECKED:
        message = f"no reference point confirms the scaling_factor {value:.6g}, which is applied"
        return float(value), [_finding(folder, message, remedy)]
    message = (
        f"scaling_factor {value:.6g} is not applied: {why or 'it is not between 1 and 1.2, and nothing confirms it'}"
    )
    return 1.0, [_finding(folder, message, remedy)]


def batch_size(logs: Iterable[LogSummary]) -> int | None:
    """Return the global batch size of the attempts; None if they do not agree on one."""
    sizes = {log.global_batch_size for log in logs if log.lines}
    return sizes.pop() if len(sizes) == 1 else None


def _due(asked: Asked) -> float | None:
    """Return the factor that the reference points give; None if there is none to compare with."""
    if _why_none(asked):
        return None
    size = batch_size(asked.logs)
    reference = asked.rules.reference_point(size) if size else None
    mean = kept_mean(asked.counts, asked.rules.drop_fastest)
    if reference is None or not mean or mean <= 0:
        return None
    return max(1.0, reference.mean / in_unit_of_points(asked.benchmark, mean, reference.mean))


def _why_none(asked: Asked) -> str:
    """Why no factor applies to the result; "" if one may."""
    if asked.divisions == {"open"}:
        return "the open division has no reference points"
    return "" if scales_scores(asked.round) else f"{asked.round or 'its round'} scales no score"


def _finding(folder: Folder, message: str, remedy: str) -> Finding:
    where = f"{folder.path}/scaling.json".lstrip("/")
    return Finding(RuleId.SCORE_SCALING, where, message, remedy=remedy)
