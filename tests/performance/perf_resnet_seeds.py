"""Seconds of the tiny ResNet to 97 % of the digits, over many seeds (aim: 30 s each on two cores).

    python tests/performance/perf_resnet_seeds.py [--seeds 10] [--set KEY=VALUE ...]

Measured from starting the process to its end; prints one line per seed, then how many reached the target. Exits with 1
if one did not, or took longer than the aim.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
AIM_SECONDS = 30.0


def measure(seed: int, settings: list[str]) -> tuple[float, bool, list[float]]:
    """Wall seconds of the process, whether the target was reached, top-1 after each epoch."""
    command = [sys.executable, "-m", "podium_benchmarks.resnet", "--seed", str(seed)]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_seconds = time.perf_counter() - start
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()]
    top1 = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    return wall_seconds, lines[-1]["metadata"]["status"] == "success", top1


def main() -> int:
    """Measure seeds 1, 2, ..."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    good, times = 0, []
    for seed in range(1, arguments.seeds + 1):
        wall_seconds, reached, top1 = measure(seed, arguments.settings)
        good += reached and wall_seconds <= AIM_SECONDS
        times.append(wall_seconds)
        print(f"seed {seed}: {wall_seconds:.1f} s wall, {len(top1)} epochs, top-1 {top1[-1]:.4f}", flush=True)
    print(f"{good} of {arguments.seeds} reached the target within {AIM_SECONDS:.0f} s; "
          f"{min(times):.1f} to {max(times):.1f} s")  # fmt: skip
    return 0 if good == arguments.seeds else 1


if __name__ == "__main__":
    sys.exit(main())
