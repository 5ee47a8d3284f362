"""How far apart the losses of one rank and of two are, for each trainer, with the settings of its test.

    python tests/performance/train/ranks.py [BENCHMARK ...] [--out FILE]

In fp32, with batches that two ranks cannot share equally. The difference is the largest of all steps compared, relative
to the loss of one rank. Each benchmark's result goes to --out as soon as it is there. Exits with 1 if one is above 1e-4.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from timing import REPOSITORY, environment, keep, timed_run

sys.path.insert(0, str(REPOSITORY))
from tests.unit.benchmarks import (
    test_llama_runs,
    test_maskrcnn_runs,
    test_minigo_runs,
    test_ranks,
    test_ssd_runs,
    test_translation_runs,
)

AIM = 1e-4
SETTINGS = {
    "resnet": (*test_ranks.SHARED, *test_ranks.RESNET),
    "ssd": test_ssd_runs.SHARED,
    "maskrcnn": test_maskrcnn_runs.SHARED,
    "gnmt": (*test_translation_runs.SHARED, *test_translation_runs.SMALL["gnmt"]),
    "transformer": (*test_translation_runs.SHARED, *test_translation_runs.SMALL["transformer"]),
    "ncf": (*test_ranks.SHARED, *test_ranks.NCF),
    "minigo": test_minigo_runs.SHARED,
    "llama31_8b": test_llama_runs.SHARED,
}


def measure(name: str) -> dict[str, Any]:
    """The largest relative difference of a loss, of a quality, and of how many steps."""
    losses, qualities = [], []
    for ranks in (1, 2):
        run = timed_run(name, *SETTINGS[name], ranks=ranks, threads=1)
        stats = [line["value"] for line in run.lines if line["key"] == "tracked_stats"]
        losses.append([value["loss"] for value in stats if "loss" in value])
        qualities.append(
            [number for one in run.qualities for number in (one.values() if isinstance(one, dict) else [one])]
        )
    differences = [abs(two / one - 1) for one, two in zip(*losses, strict=True)]
    return {
        "steps": len(differences),
        "largest_of_20_steps": float(f"{max(differences[:20]):.2g}"),
        "largest_of_all": float(f"{max(differences):.2g}"),
        "first_loss": losses[0][0],
        "last_loss": losses[0][-1],
        "quality": float(f"{max((abs(two - one) for one, two in zip(*qualities, strict=True)), default=0):.2g}"),
    }


def main() -> int:
    """Measure each benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=[], metavar="BENCHMARK", help="all, if none is given")
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmarks) - set(SETTINGS):
        parser.error(f"unknown benchmark {min(unknown)}: choose from {', '.join(SETTINGS)}")
    good = True
    for name in arguments.benchmarks or SETTINGS:
        result = measure(name)
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in result.items())}", flush=True)
        if arguments.out:
            keep(arguments.out, "ranks", name, {"environment": environment(), **result})
        good &= result["largest_of_20_steps"] <= AIM
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
