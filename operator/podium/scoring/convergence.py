"""The test by reference convergence points (RCP, from v1.0): whether a result converged implausibly fast.

The reference implementation trained each benchmark many times at several batch sizes. By chance, a submission may
converge faster than these runs did on average; a one-sided t-test limits how much faster (training_rules.adoc,
"Reference Convergence Points"). This is the arithmetic of MLCommons' ``mlperf_logging.rcp_checker``, with the points
in the round's file and epochs that Podium has read: the operator, which has none of MLCommons' tools, and a review
judge alike. Tests compare the two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from podium.rounds import Benchmark, ReferencePoint, counted_in_samples, in_unit_of_points
from podium.scoring.student_t import student_t

_ROUND = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})")  # the round in a result may be any text
_FIRST_ROUND = (1, 0)
_SCALED_SINCE = (2, 1)  # mlcommons/training_policies@be67ab3, August 2022
_405B_SAMPLES = 46_080  # since v5.0, results may be this much faster
_OWN_RULE = {"llama31_405b": (5, 0)}
_TOLERANCE = 1e-4  # of MLCommons' bisection


@dataclass(frozen=True, slots=True)
class Convergence:
    """`passed` is None if the result cannot be compared; `scaling` is the factor to multiply the score by."""

    passed: bool | None
    message: str
    scaling: float | None = None


@dataclass(frozen=True, slots=True)
class Floor:
    """What a result at one batch size is compared with: it passes if its mean is not below `least`."""

    point: ReferencePoint
    least: float
    unit: str


def scales_scores(round_: str) -> bool:
    """Return whether a round multiplies scores by a factor."""
    return _version(round_) >= _SCALED_SINCE


def convergence(
    round_: str, name: str, rules: Benchmark, batch_size: int | None, counts: Sequence[float | None]
) -> Convergence:
    """Compare the epochs (or samples) that each attempt took with the reference; None is one that did not converge.

    `name` and `rules` are the benchmark's.
    """
    if not rules.reference_points:
        return Convergence(None, _why_none(round_, name))
    if batch_size is None:
        return Convergence(
            None, "the logs do not have global_batch_size, which selects the reference convergence points"
        )
    mean = kept_mean(counts, rules.drop_fastest)
    if mean is None:
        return Convergence(None, "too few attempts converged to compare them with the reference convergence points")
    floor = floor_at(round_, name, rules, batch_size)
    if floor is None:
        message = f"there is no reference convergence point for a batch size of {batch_size}"
        return Convergence(False, f"{message}; the largest is {rules.reference_points[-1].batch_size}")
    reference = floor.point.mean
    mean = in_unit_of_points(name, mean, reference)
    where = _where(rules.reference_points, batch_size)
    numbers = f"{mean:.6g} {floor.unit} on average; {where}: {reference:.6g}, and at least {floor.least:.6g}"
    if mean < floor.least:
        return Convergence(False, f"converged too fast, in {numbers}")
    scaling = max(1.0, reference / mean) if scales_scores(round_) else 1.0
    note = f", so its score is multiplied by {scaling:.4f}" if scaling > 1 else ""
    return Convergence(True, f"converged in {numbers}{note}", scaling)


def floor_at(round_: str, name: str, rules: Benchmark, batch_size: int) -> Floor | None:
    """Return what a result at a batch size is compared with; None without a point for it."""
    point = rules.reference_point(batch_size)
    if point is None:
        return None
    least = _least(point, rules.runs)
    if _version(round_) >= _OWN_RULE.get(name, (math.inf,)):
        least -= _405B_SAMPLES
    return Floor(point, least, "samples" if counted_in_samples(name, point.mean) else "epochs")


def kept_mean(counts: Sequence[float | None], dropped: int) -> float | None:
    """Return the mean after dropping as many at each end as the score does; None if one of the rest did not converge.

    One that did not converge ranks last.
    """
    kept = sorted(math.inf if count is None else count for count in counts)[dropped : len(counts) - dropped]
    return math.fsum(kept) / len(kept) if kept and kept[-1] < math.inf else None


def _least(point: ReferencePoint, attempts: int) -> float:
    """Return the smallest mean that is not significantly (5 %) below the reference's, which has the same deviation.

    MLCommons finds it by bisection and takes the middle of the last step: so do we, to the last digit. Whatever the
    benchmark drops, MLCommons reckons with two attempts fewer than it asks for.
    """
    if point.deviation == 0:
        return point.mean
    submitted = attempts - 2
    error = point.deviation * math.sqrt(1 / point.runs + 1 / submitted)
    limit = point.mean - student_t(point.runs + submitted - 2, confidence=0.9) * error
    low, high = 0.0, point.mean
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        low, high = (low, middle) if middle > limit else (middle, high)
    return (low + high) / 2


def _version(round_: str) -> tuple[int, int]:
    match = _ROUND.fullmatch(round_)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _why_none(round_: str, name: str) -> str:
    if _version(round_) < _FIRST_ROUND:
        return f"{round_ or 'an unknown round'} has no reference convergence points; v1.0 introduced them"
    return f"{round_} has no reference convergence points for {name}"


def _where(points: Sequence[ReferencePoint], batch_size: int) -> str:
    sizes = [point.batch_size for point in points]
    if batch_size in sizes:
        return f"reference at batch size {batch_size}"
    if batch_size < sizes[0]:
        return f"reference at its smallest batch size, {sizes[0]}"
    above = next(size for size in sizes if size > batch_size)
    return f"reference between batch sizes {sizes[sizes.index(above) - 1]} and {above}"
