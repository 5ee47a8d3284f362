"""Reference convergence points: those of mlperf_logging 4.1.68, where ResNet of v4.0 has 35.15 epochs at 3264."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from podium.rounds import Benchmark, load_rounds
from podium.scoring import Convergence, convergence

AS_REFERENCE = [35, 36, 35, 36, 36]


def compared(round_: str, benchmark: str, batch: int | None, counts: Sequence[float | None]) -> Convergence:
    unknown = Benchmark(title="", model="", dataset="", quality=(), runs=5, eval_every="")
    known = load_rounds()[round_].benchmarks if round_ in load_rounds() else {}
    return convergence(round_, benchmark, known.get(benchmark, unknown), batch, counts)


@pytest.mark.parametrize(
    ("round_", "benchmark", "batch", "counts", "passed", "scaling", "sentence"),
    [
        ("v4.0", "resnet", 3264, AS_REFERENCE, True, 1.0,
         "converged in 35.6667 epochs on average; reference at batch size 3264: 35.1538, and at least 34.3096"),
        # faster than the mean and not too fast: the score counts 35.15 / 34.67
        ("v4.0", "resnet", 3264, [34, 35, 35, 34, 36], True, 1.0141, "so its score is multiplied by 1.0141"),
        ("v2.0", "resnet", 3264, [34, 35, 35, 34, 36], True, 1.0, "34.6667 epochs"),  # scaled since v2.1 only
        ("v4.0", "resnet", 3264, [33, 34, 34, 33, 35], False, None, "converged too fast, in 33.6667 epochs on average"),
        ("v4.0", "resnet", 3264, [None, *AS_REFERENCE[1:]], True, 1.0, "36 epochs"),  # one may fail
        ("v4.0", "resnet", 18016, [40] * 5, False, None, "reference between batch sizes 3264 and 32768: 45.5769"),
        ("v4.0", "resnet", 408, AS_REFERENCE, True, 1.0, "reference at its smallest batch size, 1632: 35"),
        ("v4.0", "resnet", 70000, [90] * 5, False, None,
         "there is no reference convergence point for a batch size of 70000; the largest is 67840"),
        ("v5.0", "llama31_405b", 1152, [276_480] * 3, True, 1.1667, ("276480 samples on average; reference at batch size "
         "1152: 322560, and at least 276480")),
        ("v4.0", "resnet", 3264, [None, None, 35, 36, 36], None, None, "too few attempts converged"),
        ("v4.0", "resnet", None, AS_REFERENCE, None, None, "the logs do not have global_batch_size"),
        ("v4.0", "novel", 3264, AS_REFERENCE, None, None, "v4.0 has no reference convergence points for novel"),
        ("v1.0", "dlrm", 3264, AS_REFERENCE, None, None, "v1.0 has no reference convergence points for dlrm"),
        ("v0.7", "resnet", 3264, AS_REFERENCE, None, None,
         "v0.7 has no reference convergence points; v1.0 introduced them"),
        ("v0.6", "resnet", 3264, AS_REFERENCE, None, None, "v0.6 has no reference convergence points"),
        ("v0.5", "resnet", 3264, AS_REFERENCE, None, None, "v0.5 has no reference convergence points"),
        ("mine", "resnet", 3264, AS_REFERENCE, None, None, "mine has no reference convergence points"),
    ],
)  # fmt: skip
def test_epochs_beside_the_references(round_, benchmark, batch, counts, passed, scaling, sentence):
    found = compared(round_, benchmark, batch, counts)
    assert (found.passed, found.scaling) == (passed, scaling if scaling is None else pytest.approx(scaling, abs=1e-4))
    assert sentence in found.message
    json.dumps(found.scaling)


def test_unet3d_drops_four_at_each_end():
    counts = [None] * 4 + [345_200.0] * 32 + [1.0] * 4
    assert compared("v4.0", "unet3d", 28, counts).passed
    assert compared("v4.0", "unet3d", 28, [None, *counts[:-1]]).passed is None


def test_unet3d_in_epochs_is_compared_with_points_that_count_samples():
    found = compared("v3.1", "unet3d", 56, [2100.0] * 40)
    assert (found.passed, round(found.scaling, 4)) == (True, 1.0795)
    assert found.message.startswith("converged in 352800 samples on average; reference at batch size 56: 380847, and")
    assert compared("v3.1", "unet3d", 56, [2000.0] * 40).passed is False


def test_it_needs_none_of_mlcommons_tools(without_mlcommons):
    assert compared("v4.0", "resnet", 3264, AS_REFERENCE).passed
