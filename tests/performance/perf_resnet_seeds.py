"""Spread of the tiny ResNet's time to train on the digits, over many seeds, in two processes as in `make demo`.

    python tests/performance/perf_resnet_seeds.py [--first 1] [--seeds 20] [--set KEY=VALUE ...]

Prints a line per seed: seconds on the benchmark's clock, wall seconds from starting the processes to their end, epochs,
top-1 of each evaluation; then the coefficients of variation (CV) of epochs and of seconds on the clock. Exits with 1 if
a seed misses the target or the trainer's aim in wall seconds, or if the CV of the seconds is above 10 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

from train.timing import timed_run

from podium_benchmarks.core.dist import cpu_count
from podium_benchmarks.resnet import BENCHMARK

AIM_SECONDS = BENCHMARK.performance.tiny_seconds
AIM_CV = 0.10
RANKS = 2


def variation(values: Sequence[float]) -> float:
    """Standard deviation over mean."""
    return statistics.stdev(values) / statistics.mean(values)


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=1, help="seed")
    parser.add_argument("--seeds", type=int, default=20, help="how many, at least 2")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = [part for setting in arguments.settings for part in ("--set", setting)]
    good, epochs, seconds = 0, [], []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        run = timed_run("resnet", "--seed", str(seed), *settings, ranks=RANKS, threads=max(1, cpu_count() // RANKS))
        good += run.reached and run.wall_seconds <= AIM_SECONDS
        epochs.append(run.lines[-1]["metadata"]["epoch_num"])
        seconds.append(run.clock_seconds)
        print(f"seed {seed}: {run.clock_seconds:.2f} s on the clock, {run.wall_seconds:.1f} s wall, {epochs[-1]} epochs, "
              f"top-1 {' '.join(f'{quality:.4f}' for quality in run.qualities)}", flush=True)  # fmt: skip
    print(f"{good} of {arguments.seeds} reached the target within {AIM_SECONDS:.0f} s; CV of epochs "
          f"{variation(epochs):.1%}, of seconds on the clock {variation(seconds):.1%}")  # fmt: skip
    return 0 if good == arguments.seeds and variation(seconds) <= AIM_CV else 1


if __name__ == "__main__":
    sys.exit(main())
