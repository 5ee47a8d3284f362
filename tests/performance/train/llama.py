"""Seconds to log perplexity of the tiny Llama on two cores, on the text that comes with it, beside its aim.

    python tests/performance/train/llama.py [--seeds 1 2 3 4 5] [--ranks 1 2]

Seconds are those from starting a process to its end. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import sys

from timing import timed_run

from podium_benchmarks import benchmark

RECORD = benchmark("llama31_8b")


def measure(seed: int, ranks: int) -> bool:
    """One run; prints its line and returns whether it reached its target in time."""
    run, aim_seconds = timed_run(RECORD.name, seed, ranks=ranks), RECORD.performance.tiny_seconds
    samples = [line["metadata"]["samples_count"] for line in run.lines if line["key"] == "eval_accuracy"]
    print(f"{RECORD.name}, seed {seed}, {ranks} rank(s): {run.wall_seconds:.0f} s wall (aim {aim_seconds:.0f}), "
          f"{samples[-1]:,} sequences, log perplexity {run.qualities[-1]:.3f}"
          f"{'' if run.reached else ', target missed'}", flush=True)  # fmt: skip
    return run.reached and run.wall_seconds <= aim_seconds


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    good = True
    for ranks in arguments.ranks:
        for seed in arguments.seeds:
            good &= measure(seed, ranks)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
