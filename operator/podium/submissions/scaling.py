"""The factor by which a score is multiplied because its attempts converged faster than the reference does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from podium.mlcommons import counted_in_samples, in_unit_of_points, scales_scores
from podium.mllog import LogSummary
from podium.rounds import Benchmark
from podium.rules import Finding, Goal
from podium.rules.catalog import RuleId
from podium.submissions.tree import Folder

_CLOSE = 1e-3  # MLCommons and submitters round the factor
_LARGEST_UNCHECKED = 1.2  # the 497 published factors are between 1.0003 and 1.189
_BERT_EPOCHS = 1000  # at most; larger numbers are samples


@dataclass(frozen=True, slots=True)
class Asked:
    """What a scaling factor is checked against. `counts`: see `converged_after`; None for one that did not converge."""

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


def converged_after(summary: LogSummary, goal: Goal, benchmark: str) -> float | None:
    """Epochs or samples at the last evaluation; with two metrics, at the earliest that reached both.

    Stable Diffusion's checkpoints are evaluated after the training, in any order.
    """
    both = goal.all_reached(summary) if len(goal.qualities) > 1 else ()
    ends = [*both] or summary.evaluations[-1:]
    counts = [each.samples if counted_in_samples(benchmark) else each.epoch for each in ends]
    count = min((each for each in counts if each is not None), default=None)
    if benchmark == "bert" and (count is None or count < _BERT_EPOCHS):
        count = summary.train_samples  # its points count samples; some logs have them in epoch_num, others here
    return None if count is None else round(count, 3)


def _due(asked: Asked) -> float | None:
    """Return the factor that the reference points give; None if there is none to compare with."""
    if _why_none(asked):
        return None
    size = batch_size(asked.logs)
    reference = asked.rules.reference_mean(size) if size else None
    kept = sorted(math.inf if count is None else count for count in asked.counts)
    kept = kept[asked.rules.drop_fastest : len(kept) - asked.rules.drop_fastest]
    if reference is None or not kept or kept[-1] == math.inf or kept[0] <= 0:
        return None
    mean = math.fsum(kept) / len(kept)
    return max(1.0, reference / in_unit_of_points(asked.benchmark, mean, reference))


def _why_none(asked: Asked) -> str:
    """Why no factor applies to the result; "" if one may."""
    if asked.divisions == {"open"}:
        return "the open division has no reference points"
    return "" if scales_scores(asked.round) else f"{asked.round or 'its round'} scales no score"


def _finding(folder: Folder, message: str, remedy: str) -> Finding:
    where = f"{folder.path}/scaling.json".lstrip("/")
    return Finding(RuleId.SCORE_SCALING, where, message, remedy=remedy)
