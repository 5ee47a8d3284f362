"""What a log's summary measures: its time to train, and its qualities in the unit of the targets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from podium.mllog.record import Format
from podium.mllog.summary import Evaluation, LogSummary, finite_number


def seconds(summary: LogSummary, timed_by: str = "run_stop") -> float | None:
    """Time to train: run_stop - run_start; None when one is missing or they are the wrong way round.

    With ``eval_result``, the time that an evaluation after the clock found, and nothing else: a run_stop in such a
    log comes whenever the evaluation is through (v0.6 MiniGo).
    """
    if timed_by == "eval_result":
        return summary.offline_seconds
    if summary.run_start is None or summary.run_stop is None or summary.run_stop < summary.run_start:
        return None
    return summary.run_stop - summary.run_start


def in_unit_of(
    targets: Mapping[str, float], evaluation: Evaluation, summary: LogSummary, lower_is_better: Collection[str] = ()
) -> dict[str, float]:
    """The evaluation's values by the metrics of `targets`, in the unit of the targets.

    With one target the evaluation's single value is that metric, whatever its name. BLEU is 24.1 in v0.6 and 0.241
    from v0.7 on: a log counts in fractions when it is in the format of v0.7, no value of it is above 1, and the target
    that it logs (eval_target), if any, is not above 1 either. Only then, against a target above 1 that is not one of
    the metrics in `lower_is_better` (a loss has no percent), its values are multiplied by 100. A value up to 1 alone
    says nothing: an untrained model has a BLEU of 0.3 %.
    """
    return _by_metric(targets, evaluation.quality, _scaled(targets, summary, lower_is_better))


def evaluations_by_metric(
    summary: LogSummary, targets: Mapping[str, float], lower_is_better: Collection[str] = ()
) -> Iterator[tuple[Evaluation, dict[str, float]]]:
    """Each evaluation, with its values as `in_unit_of` gives them."""
    scaled = _scaled(targets, summary, lower_is_better)
    for evaluation in summary.evaluations:
        yield evaluation, _by_metric(targets, evaluation.quality, scaled)


def _by_metric(targets: Mapping[str, float], values: Mapping[str, float], scaled: Collection[str]) -> dict[str, float]:
    if len(targets) == len(values) and (len(targets) == 1 or "#1" in values):
        values = dict(zip(targets, values.values(), strict=True))
    return {
        metric: values[metric] * 100 if metric in scaled else values[metric] for metric in targets if metric in values
    }


def _scaled(targets: Mapping[str, float], summary: LogSummary, lower_is_better: Collection[str]) -> frozenset[str]:
    """The metrics whose target is in percent and whose logged values are fractions."""
    percent = frozenset(metric for metric, target in targets.items() if target > 1 and metric not in lower_is_better)
    return percent if percent and _counts_in_fractions(summary) else frozenset()


def _counts_in_fractions(summary: LogSummary) -> bool:
    logged = finite_number(summary.target)
    if summary.format is not Format.MLLOG or (logged is not None and logged > 1):
        return False
    return all(value <= 1 for evaluation in summary.evaluations for value in evaluation.quality.values())
