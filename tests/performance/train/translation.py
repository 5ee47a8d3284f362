"""Seconds to quality of the translation trainers, beside the aims on two cores.

    gnmt         toy language to BLEU 90
    transformer  toy language to BLEU 90
    transformer  Multi30k's test set to BLEU 15, uncased
    transformer  target tokens per second on Multi30k, beside transformer_naive.py (2 times)

    python tests/performance/train/translation.py [--data ../shared/data/multi30k] [--seeds 1 2 3 4 5]

Seconds are those from starting a process to its end. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from timing import ENVIRONMENT, REPOSITORY, timed_run

from podium_benchmarks import benchmark

MULTI30K_AIM_SECONDS = 200


def measure(name: str, seed: int, aim_seconds: float, *arguments: str) -> bool:
    """One run; prints its line and returns whether it reached its target in time."""
    run = timed_run(name, seed, *arguments)
    print(f"{name} {'Multi30k' if arguments else 'toy'}, seed {seed}: {run.wall_seconds:.0f} s wall (aim "
          f"{aim_seconds:.0f}), {len(run.qualities)} epochs, BLEU {100 * run.qualities[-1]:.1f}"
          f"{'' if run.reached else ', target missed'}", flush=True)  # fmt: skip
    return run.reached and run.wall_seconds <= aim_seconds


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "multi30k")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    good = True
    for seed in arguments.seeds:
        for name in ("gnmt", "transformer"):
            good &= measure(name, seed, benchmark(name).performance.tiny_seconds)
    if not (arguments.data / "train.en.gz").is_file():
        print(f"no Multi30k in {arguments.data}: give --data FOLDER", file=sys.stderr)
        return 2
    for seed in arguments.seeds:
        good &= measure("transformer", seed, MULTI30K_AIM_SECONDS, "--data", str(arguments.data), "--target", "0.15")
    naive = Path(__file__).with_name("transformer_naive.py")
    run = subprocess.run([sys.executable, str(naive), "--data", str(arguments.data)], env=ENVIRONMENT, check=False)
    return 0 if good and run.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
