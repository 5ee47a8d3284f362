"""What a log says against itself, and against what all published logs of its benchmark have in common.

None of these findings decides whether a run converged: an honest log can be the first of its kind. Each is a question
for the submitter.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise

from podium.mllog import Evaluation, LogSummary, Segment
from podium.rounds import Published
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding
from podium.rules.goal import Goal

CLOCK_TOLERANCE = 0.5  # seconds between the clocks of two processes; the published logs differ by less than 0.2
_SLACK = 1.01  # a batch may end a little after the point of an evaluation
_FEWEST_SEGMENTS = 3  # fewer have no median
_ASK = "ask for the unedited log: the published logs of this benchmark never do this"


def evidence(summary: LogSummary, goal: Goal, where: str) -> Iterator[Finding]:
    """Yield the findings against one log. Values that no clock and no data set explains are asked about in any log."""
    yield from _values(summary, goal, where)
    if None not in (summary.ranks, goal.ranks) and summary.ranks != goal.ranks:
        message = f"number_of_ranks is {summary.ranks}; the run started {goal.ranks}"
        yield Finding(RuleId.LOG_RANKS, where, message, remedy="train on all processes that the run starts")
    if summary.early_result_seconds > CLOCK_TOLERANCE and not goal.evaluated_offline:
        message = f"the result of an evaluation is stamped {summary.early_result_seconds:.1f} s before its start"
        yield Finding(RuleId.LOG_TIME_ORDER, where, message, remedy=_ASK)
    usual = goal.published
    if usual is None:
        return
    yield from _repeated_evaluations(summary, goal, usual, where)
    yield from _data(summary, usual, where)
    yield from _schedule(summary, usual, where)
    yield from _pace(summary, usual, where)
    if usual.consecutive_epochs and summary.epochs_missing:
        count = summary.epochs_missing
        message = f"{count} {'epoch is' if count == 1 else 'epochs are'} missing between the first and the last"
        yield Finding(RuleId.LOG_EPOCHS_MISSING, where, message, remedy=_ASK)


def _values(summary: LogSummary, goal: Goal, where: str) -> Iterator[Finding]:
    """Report evaluations that are not numbers, or that no model can have."""
    line = summary.line_numbers.get("eval_accuracy")
    remedy = "log the measured value of every evaluation"
    if summary.not_numbers and summary.evaluations:
        message = (
            f"{summary.not_numbers} of {summary.not_numbers + len(summary.evaluations)} evaluations are not numbers"
        )
        yield Finding(RuleId.LOG_EVALUATION_VALUE, where, message, line, remedy)
    impossible = next((e for e in summary.evaluations if not goal.possible(summary, e)), None)
    if impossible is not None and goal.reached(summary):  # else it is the reason why the target was not reached
        message = f"an evaluation is {goal.render(summary, impossible)}, which is impossible"
        yield Finding(RuleId.LOG_EVALUATION_VALUE, where, message, line, remedy)


def _repeated_evaluations(summary: LogSummary, goal: Goal, usual: Published, where: str) -> Iterator[Finding]:
    """Report a point of the training that was evaluated twice, with two results."""
    if usual.repeats_evaluations:
        return
    values: dict[float, Evaluation] = {}
    for evaluation, point in zip(summary.evaluations, _points(summary), strict=True):
        first = values.setdefault(point, evaluation)
        if point >= 0 and first.quality != evaluation.quality:
            message = (
                f"two evaluations after {point:.6g} {_unit(summary)}: {goal.render(summary, first)}, and "
                f"{goal.render(summary, evaluation)}"
            )
            yield Finding(RuleId.LOG_EVALUATION_REPEATED, where, message, remedy="log each evaluation once")
            return


def _data(summary: LogSummary, usual: Published, where: str) -> Iterator[Finding]:
    for rule, key, found, known in (
        (RuleId.LOG_DATA_TRAIN, "train_samples", summary.train_samples, usual.train_samples),
        (RuleId.LOG_DATA_EVAL, "eval_samples", summary.eval_samples, usual.eval_samples),
    ):
        if known and found is not None and found not in known:
            message = f"{key} is {found}; every published log has {' or '.join(map(str, known))}"
            yield Finding(rule, where, message, remedy="train and evaluate on the whole data set of the benchmark")


def _schedule(summary: LogSummary, usual: Published, where: str) -> Iterator[Finding]:
    """Report evaluations that the round requires and the log does not have."""
    points = sorted(set(_points(summary)))
    gaps = [after - before for before, after in pairwise(points)]
    unit, remedy = _unit(summary), "log every evaluation; the round prescribes when to evaluate"
    median = statistics.median(gaps) if gaps else None
    interval = usual.interval(summary.global_batch_size)
    longest = max(gaps, default=0.0)
    if interval and longest > interval * _SLACK:
        message = f"no evaluation for {longest:.6g} {unit}; the round wants one every {interval:.6g}"
        yield Finding(RuleId.LOG_EVALUATION_MISSING, where, message, remedy=remedy)
    elif usual.regular and median and longest > usual.regular * median * _SLACK:
        message = f"no evaluation for {longest:.6g} {unit}, where there is one every {median:.6g} otherwise"
        yield Finding(RuleId.LOG_EVALUATION_MISSING, where, message, remedy=remedy)
    step = interval or median
    if not step or not points or (latest := usual.first_within(step, summary.global_batch_size)) is None:
        return
    due = (points[-1] - latest) // step + 1
    fewest = usual.fewest
    if fewest is not None and summary.run_stop is None:
        return  # the log was cut off: those to come could have been enough
    if points[0] > latest * _SLACK and (fewest is None or len(points) < fewest * due):
        message = f"the first evaluation is after {points[0]:.6g} {unit}; the round wants it after {latest:.6g}"
        yield Finding(RuleId.LOG_EVALUATION_MISSING, where, message, remedy=remedy)


def _pace(summary: LogSummary, usual: Published, where: str) -> Iterator[Finding]:
    """Compare the stamps of the training with each other, and with the logged throughput."""
    segments = _trained(summary)
    ratio = _fastest([segment.train_seconds / segment.trained for segment in segments])
    if usual.block and ratio is not None and ratio < usual.block:
        message = f"one stretch of training is {1 / ratio:.2f} times as fast as the others by its stamps"
        yield Finding(RuleId.LOG_PACE_BLOCK, where, message, remedy=_ASK)
    yield from _pace_of_evaluations(summary, segments, usual, where)
    size = summary.train_samples or 0
    samples = [segment.trained if segment.in_samples else segment.trained * size for segment in segments]
    ratios = [s.throughput * s.train_seconds / n for s, n in zip(segments, samples, strict=True) if s.throughput and n]
    if usual.throughput and ratios:
        low, high = usual.throughput
        logged = statistics.median(ratios)
        if not low <= logged <= high:
            message = f"the logged throughput is {logged:.2f} times that of the stamps"
            yield Finding(RuleId.LOG_PACE_THROUGHPUT, where, message, remedy=_ASK)


def _pace_of_evaluations(
    summary: LogSummary, segments: Sequence[Segment], usual: Published, where: str
) -> Iterator[Finding]:
    """Compare the stamps of the evaluations with each other, and with those of the training."""
    if summary.eval_seconds is None or not segments:
        return  # the log has no lines that say when an evaluation starts and ends
    seconds = [segment.eval_seconds for segment in summary.segments]
    ratio = _fastest(seconds)
    if usual.evaluation and ratio is not None and ratio < usual.evaluation:
        message = f"one evaluation takes {ratio:.2f} of the time of the others by its stamps"
        yield Finding(RuleId.LOG_PACE_EVALUATION, where, message, remedy=_ASK)
    trained = statistics.median(seconds) / statistics.median(s.train_seconds / s.trained for s in segments)
    if usual.evaluated_as and trained < usual.evaluated_as:
        message = (
            f"an evaluation takes the time of {trained:.3g} trained {_unit(summary)} by its stamps; in the published "
            f"logs, that of {usual.evaluated_as:.3g} or more"
        )
        yield Finding(RuleId.LOG_PACE_EVALUATION, where, message, remedy=_ASK)


def pace(summary: LogSummary) -> float | None:
    """Return the seconds per sample (or epoch) of a log, as the median over its evaluations; None without any."""
    paces = [segment.train_seconds / segment.trained for segment in _trained(summary)]
    return statistics.median(paces) if paces else None


def _trained(summary: LogSummary) -> list[Segment]:
    return [segment for segment in summary.segments if segment.trained > 0 and segment.train_seconds > 0]


def _fastest(values: Sequence[float]) -> float | None:
    """Return the smallest value divided by the median; None if there are too few, or most are 0."""
    median = statistics.median(values) if len(values) >= _FEWEST_SEGMENTS else 0.0
    return min(values) / median if median > 0 else None


def _points(summary: LogSummary) -> list[float]:
    """Return where each evaluation was made, in samples if the log counts them, else in epochs; -1 where unknown."""
    in_samples = _counts_samples(summary)
    points = [e.samples if in_samples else e.epoch for e in summary.evaluations]
    return [-1.0 if point is None else round(point, 3) for point in points]


def _unit(summary: LogSummary) -> str:
    return "samples" if _counts_samples(summary) else "epochs"


def _counts_samples(summary: LogSummary) -> bool:
    return any(evaluation.samples is not None for evaluation in summary.evaluations)
