"""The table of reference convergence points says what MLCommons' checker does, for every batch size."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from podium import rounds
from podium.mlcommons.process import worker
from podium.rounds import reference_mean

pytest.importorskip("mlperf_logging")
TABLE = yaml.safe_load((Path(rounds.__file__).parent / "reference-points.yaml").read_text())


@pytest.mark.parametrize("round_", TABLE)
def test_the_means_are_those_of_the_checker(round_):
    for benchmark, points in TABLE[round_].items():
        sizes = [size for size, _ in points]
        between = [(a + b) // 2 for a, b in pairwise(sizes)]
        for size in (1, *sizes, *between, sizes[-1] + 1):
            asked = {"ruleset": f"{round_[1:]}.0", "benchmark": benchmark, "batch_size": size}
            point = worker().ask("point", seconds=60, **asked)["point"]
            found = reference_mean(round_, benchmark, size)
            assert found == (None if point is None else pytest.approx(point["mean"])), (benchmark, size)
