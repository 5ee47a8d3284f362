"""Seconds to quality of the translation trainers (aims on two cores in brackets).

    gnmt         toy language to BLEU 90                            (90 s)
    transformer  toy language to BLEU 90                            (60 s)
    transformer  Multi30k's test set to BLEU 15, uncased            (200 s)
    transformer  target tokens per second on Multi30k, beside transformer_naive.py (2 times)

    python tests/performance/train/translation.py [--data ../shared/data/multi30k] [--seeds 1 2 3 4 5]

Seconds are those from starting a process to its end. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}


def measure(benchmark: str, seed: int, aim_seconds: float, *arguments: str) -> bool:
    """One run; prints its line and tells whether it reached its target in time."""
    command = [sys.executable, "-m", f"podium_benchmarks.{benchmark}", "--seed", str(seed), *arguments]
    start = time.perf_counter()
    run = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    wall_seconds = time.perf_counter() - start
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()]
    bleu = [100 * line["value"] for line in lines if line["key"] == "eval_accuracy"]
    reached = lines[-1]["metadata"]["status"] == "success"
    print(f"{benchmark} {'Multi30k' if arguments else 'toy'}, seed {seed}: {wall_seconds:.0f} s wall (aim {aim_seconds:.0f}), "
          f"{len(bleu)} epochs, BLEU {bleu[-1]:.1f}{'' if reached else ', target missed'}", flush=True)  # fmt: skip
    return reached and wall_seconds <= aim_seconds


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "multi30k")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    good = True
    for seed in arguments.seeds:
        good &= measure("gnmt", seed, 90)
        good &= measure("transformer", seed, 60)
    if not (arguments.data / "train.en.gz").is_file():
        print(f"no Multi30k in {arguments.data}: give --data FOLDER", file=sys.stderr)
        return 2
    for seed in arguments.seeds:
        good &= measure("transformer", seed, 200, "--data", str(arguments.data), "--target", "0.15")
    naive = Path(__file__).with_name("transformer_naive.py")
    run = subprocess.run([sys.executable, str(naive), "--data", str(arguments.data)], env=ENVIRONMENT, check=False)
    return 0 if good and run.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
