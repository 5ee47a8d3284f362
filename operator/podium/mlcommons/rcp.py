"""Reference convergence points (from v1.0): whether a result converged implausibly fast.

The reference implementation trained each benchmark many times at several batch sizes. By chance, a submission may
converge faster than these runs did on average; a one-sided t-test limits how much faster (training_rules.adoc,
"Reference Convergence Points"). Points and statistics come from MLCommons' ``mlperf_logging.rcp_checker``. Since that
reads logs with its own parser and writes scaling.json next to them, only its arithmetic is used, in the process for
MLCommons' tools and with epochs that Podium has read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podium.mlcommons.process import MissingCheckerError, ToolError, worker

# MLCommons counts these in samples, the others in epochs (rcp_checker.read_submission_file)
_IN_SAMPLES = frozenset({"llama2_70b_lora", "flux1", "llama31_405b", "llama31_8b", "gpt_oss_20b", "deepseekv3_671b",
                         "qwen35_397b_grpo", "dlrmv4", "stable_diffusion"})  # fmt: skip
_ROUND = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})")  # the round in a result may be any text
_NEVER = 1e9  # stands for the epochs of an attempt that did not converge
_405B_SAMPLES = 46_080  # since v5.0, results may be this much faster
_FIRST_ROUND = (1, 0)
_SCALED_SINCE = (2, 1)  # mlcommons/training_policies@be67ab3, August 2022
_SECONDS = 120
_MOST_EPOCHS = 20_000  # larger numbers are samples
_UNET3D_SAMPLES = 168  # in an epoch
_OWN_RULE = {"llama31_405b": (5, 0)}


@dataclass(frozen=True, slots=True)
class Convergence:
    """`passed` is None if the result cannot be compared; `scaling` is the factor to multiply the score by."""

    passed: bool | None
    message: str
    scaling: float | None = None


def counted_in_samples(benchmark: str) -> bool:
    """Whether a benchmark's points count samples instead of epochs."""
    return benchmark in _IN_SAMPLES


def scales_scores(round_: str) -> bool:
    """Whether a round multiplies scores by a factor."""
    return _version(round_) >= _SCALED_SINCE


def in_unit_of_points(benchmark: str, mean: float, reference: float) -> float:
    """Return the mean of a result in the unit of its point: U-Net's count samples since v3.1, some logs epochs."""
    return mean * _UNET3D_SAMPLES if benchmark == "unet3d" and mean < _MOST_EPOCHS < reference else mean


def _version(round_: str) -> tuple[int, int]:
    match = _ROUND.fullmatch(round_)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def convergence(
    round_: str, benchmark: str, batch_size: int | None, counts: Sequence[float | None], dropped: int
) -> Convergence:
    """Compare the epochs (or samples) that each attempt took with the reference; None is one that did not converge.

    `dropped` is how many to drop at each end, as for the score. Without mlperf_logging, `passed` is None.
    """
    version = _version(round_)
    if version < _FIRST_ROUND:
        return Convergence(
            None, f"{round_ or 'an unknown round'} has no reference convergence points; v1.0 introduced them"
        )
    found = _point(round_, benchmark, batch_size or 1)
    if isinstance(found, str):
        return Convergence(None, found)
    if batch_size is None:
        return Convergence(
            None, "the logs do not have global_batch_size, which selects the reference convergence points"
        )
    kept = sorted(_NEVER if count is None else count for count in counts)[dropped : len(counts) - dropped]
    if not kept or _NEVER in kept:
        return Convergence(None, "too few attempts converged to compare them with the reference convergence points")
    mean = math.fsum(kept) / len(kept)
    record, where = found["point"], _where(found, batch_size)
    if record is None:
        message = f"there is no reference convergence point for a batch size of {batch_size}; {where}"
        return Convergence(False, message)
    return _compare(record, where, mean, benchmark, version)


def _compare(
    record: Mapping[str, Any], where: str, mean: float, benchmark: str, version: tuple[int, ...]
) -> Convergence:
    reference, least = float(record["mean"]), float(record["least"])
    if version >= _OWN_RULE.get(benchmark, (math.inf,)):
        least -= _405B_SAMPLES
    mean = in_unit_of_points(benchmark, mean, reference)
    unit = "samples" if counted_in_samples(benchmark) or reference > _MOST_EPOCHS else "epochs"
    numbers = f"{mean:.6g} {unit} on average; {where}: {reference:.6g}, and at least {least:.6g}"
    if mean < least:
        return Convergence(False, f"converged too fast, in {numbers}")
    scaling = max(1.0, reference / mean) if version >= _SCALED_SINCE else 1.0
    note = f", so its score is multiplied by {scaling:.4f}" if scaling > 1 else ""
    return Convergence(True, f"converged in {numbers}{note}", scaling)


def _point(round_: str, benchmark: str, batch_size: int) -> Mapping[str, Any] | str:
    """MLCommons' reference point, or a sentence that says why there is none."""
    ruleset = f"{round_.removeprefix('v')}.0"
    try:
        rules = worker().rulesets.get(ruleset)
        if rules is not None and benchmark in rules.benchmarks:
            asked = {"ruleset": ruleset, "benchmark": benchmark, "batch_size": batch_size}
            answer = worker().ask("point", seconds=_SECONDS, **asked)
            if answer["known"]:
                return answer
    except MissingCheckerError:
        return "the reference convergence points come with MLCommons' tools: pip install 'podium-operator[cli]'"
    except ToolError as error:
        return f"MLCommons' tool for the reference convergence points gave up: {error}"
    return f"{round_} has no reference convergence points for {benchmark}"


def _where(found: Mapping[str, Any], batch_size: int) -> str:
    below, above, smallest = found["below"], found["above"], found["smallest"]
    if found["point"] is None:
        return "there are none" if below is None else f"the largest is {below}"
    if smallest is not None:
        return f"reference at its smallest batch size, {smallest}"
    return f"reference between batch sizes {below} and {above}" if below else f"reference at batch size {batch_size}"
