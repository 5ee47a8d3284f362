"""Transformer on Multi30k: seconds to BLEU 15, uncased, on its test set, and target tokens per second beside
transformer_naive.py (aim: 2 times).

    python tests/performance/train/translation.py [--data ../shared/data/multi30k] [--seeds 1 2 3 4 5]

Seconds are those from starting a process to its end. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from timing import ENVIRONMENT, REPOSITORY, timed_run

AIM_SECONDS = 200


def measure(seed: int, data: Path) -> bool:
    """One run; prints its line and returns whether it reached its target in time."""
    run = timed_run("transformer", "--seed", str(seed), "--data", str(data), "--target", "0.15")
    print(f"transformer Multi30k, seed {seed}: {run.wall_seconds:.0f} s wall (aim {AIM_SECONDS}), {run.cpu_seconds:.0f} "
          f"CPU-s, {len(run.qualities)} epochs, BLEU {100 * run.qualities[-1]:.1f}"
          f"{'' if run.reached else ', target missed'}", flush=True)  # fmt: skip
    return run.reached and run.wall_seconds <= AIM_SECONDS


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "multi30k")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    if not (arguments.data / "train.en.gz").is_file():
        print(f"no Multi30k in {arguments.data}: give --data FOLDER", file=sys.stderr)
        return 2
    good = True
    for seed in arguments.seeds:
        good &= measure(seed, arguments.data)
    naive = Path(__file__).with_name("transformer_naive.py")
    run = subprocess.run([sys.executable, str(naive), "--data", str(arguments.data)], env=ENVIRONMENT, check=False)
    return 0 if good and run.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
