"""What reference convergence points count, and how one of them describes the reference at a batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# MLCommons counts these in samples, the others in epochs (rcp_checker.read_submission_file)
_IN_SAMPLES = frozenset({"llama2_70b_lora", "flux1", "llama31_405b", "llama31_8b", "gpt_oss_20b", "deepseekv3_671b",
                         "qwen35_397b_grpo", "dlrmv4", "stable_diffusion"})  # fmt: skip
_MOST_EPOCHS = 20_000  # larger numbers are samples
_UNET3D_SAMPLES = 168  # in an epoch


class ReferencePoint(NamedTuple):
    """A reference convergence point (RCP): in how many epochs, or samples, the reference converges at a batch size."""

    batch_size: int
    mean: float  # olympic
    deviation: float  # population standard deviation of all of its runs
    runs: int  # in the mean


def counted_in_samples(benchmark: str, mean: float = 0.0) -> bool:
    """Return whether a benchmark's points count samples instead of epochs; some do since a later round."""
    return benchmark in _IN_SAMPLES or mean > _MOST_EPOCHS


def in_unit_of_points(benchmark: str, mean: float, reference: float) -> float:
    """Return the mean of a result in the unit of its point: U-Net's count samples since v3.1, some logs epochs."""
    return mean * _UNET3D_SAMPLES if benchmark == "unet3d" and mean < _MOST_EPOCHS < reference else mean


def point_at(points: Sequence[ReferencePoint], batch_size: int, attempts: int) -> ReferencePoint | None:
    """Return how the reference converges at a batch size; None without points, or beyond the largest.

    `points` are ascending. One between two of them is interpolated, and stands for twice the `attempts` of a result;
    below the smallest, that one counts.
    """
    if not points or batch_size > points[-1].batch_size:
        return None
    at = next(index for index, point in enumerate(points) if batch_size <= point.batch_size)
    above, below = points[at], points[max(0, at - 1)]
    if at == 0 or batch_size == above.batch_size:
        return above
    way = (batch_size - below.batch_size) / (above.batch_size - below.batch_size)
    mean = below.mean + (above.mean - below.mean) * way
    deviation = below.deviation + (above.deviation - below.deviation) * way
    return ReferencePoint(batch_size, mean, deviation, 2 * attempts)
