"""Reads measurements from a log's summary: time to train, rate, and qualities in the unit of the targets."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping

from podium.mllog.rate import Rate, Window
from podium.mllog.record import Format
from podium.mllog.summary import Evaluation, LogSummary
from podium.mllog.values import finite_number


def seconds(summary: LogSummary, timed_by: str = "run_stop") -> float | None:
    """Return the time to train, run_stop - run_start; None if one is missing or they are in the wrong order.

    With ``eval_result``, only the time reported by an evaluation after the clock counts: in such a log, run_stop comes
    whenever that evaluation is done (v0.6 MiniGo).
    """
    if timed_by == "eval_result":
        return summary.offline_seconds
    if summary.run_start is None or summary.run_stop is None or summary.run_stop < summary.run_start:
        return None
    return summary.run_stop - summary.run_start


def rate(summary: LogSummary, window: Window | None = None) -> Rate | None:
    """Return how fast an attempt trains, by the log's stamps, whatever throughput it claims; evaluations do not count.

    Within a window: its mean. Else the median over the blocks without the first one, which may read data for the first
    time or compile; None with fewer than two blocks.
    """
    if window:
        return summary.points.rate(window)
    blocks = [each for each in summary.segments[1:] if each.trained > 0 and each.train_seconds > 0]
    if not blocks or len({each.in_samples for each in blocks}) > 1:
        return None
    median = statistics.median(each.train_seconds / each.trained for each in blocks)
    return Rate(1.0, median, "sample" if blocks[0].in_samples else "epoch", blocks=len(blocks))


def in_unit_of(
    targets: Mapping[str, float], evaluation: Evaluation, summary: LogSummary, lower_is_better: Collection[str] = ()
) -> dict[str, float]:
    """Return the evaluation's values by the metrics of `targets`, in the unit of the targets.

    With one target, the evaluation's single value is that metric, whatever its name. BLEU is 24.1 in v0.6 and 0.241
    since v0.7: a log uses fractions if it is in the v0.7 format, none of its values is above 1, and neither is the
    target that it logs (eval_target), if any. Only then are its values multiplied by 100, for targets above 1 whose
    metric is not in `lower_is_better` (a loss is not a percentage). A value up to 1 alone proves nothing: an untrained
    model has a BLEU of 0.3 %.
    """
    return _by_metric(targets, evaluation.quality, _scaled(targets, summary, lower_is_better))


def evaluations_by_metric(
    summary: LogSummary, targets: Mapping[str, float], lower_is_better: Collection[str] = ()
) -> Iterator[tuple[Evaluation, dict[str, float]]]:
    """Yield each evaluation with its values as returned by `in_unit_of`."""
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
    """Return the metrics whose target is in percent and whose logged values are fractions."""
    percent = frozenset(metric for metric, target in targets.items() if target > 1 and metric not in lower_is_better)
    return percent if percent and _counts_in_fractions(summary) else frozenset()


def _counts_in_fractions(summary: LogSummary) -> bool:
    logged = finite_number(summary.target)
    if summary.format is not Format.MLLOG or (logged is not None and logged > 1):
        return False
    return all(value <= 1 for evaluation in summary.evaluations for value in evaluation.quality.values())
