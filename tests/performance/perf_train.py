"""Seconds to 60 % top-1 on 10,000 CIFAR-10 JPEGs (aim: 180 s on two cores).

The network is a ResNet of width 16 with two blocks a stage.

    python tests/performance/perf_train.py [--data ../shared/data/cifar10] [--seeds 1 2 3]

Measured from starting the process to its end, decoding and evaluations included; prints one line per seed. Exits
with 1 if a run misses the target or the aim.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
AIM_SECONDS = 180.0
IMAGES_PER_CLASS = 1000
SETTINGS = {
    "width": 16,
    "blocks": "2,2,2,2",
    "image_size": 64,
    "max_epochs": 12,
    "opt_base_learning_rate": 0.1,
}


def unpack(archives: Path, folder: Path) -> None:
    """The first 1,000 training images of each class, and all for evaluation."""
    for part in ("train", "val"):
        with tarfile.open(archives / f"{part}.tar") as archive:
            members = [m for m in archive.getmembers() if m.isfile()]
            if part == "train":
                by_class: dict[str, list[tarfile.TarInfo]] = {}
                for member in sorted(members, key=lambda m: m.name):
                    by_class.setdefault(Path(member.name).parent.name, []).append(member)
                members = [member for images in by_class.values() for member in images[:IMAGES_PER_CLASS]]
            archive.extractall(folder / part, members=members, filter="data")


def measure(data: Path, seed: int) -> tuple[float, float, list[float]]:
    """Wall seconds of the process, seconds on the benchmark's clock, top-1 after each epoch."""
    command = [sys.executable, "-m", "podium_benchmarks.resnet", "--data", str(data), "--seed", str(seed)]
    command += ["--target", "0.6", *(part for item in SETTINGS.items() for part in ("--set", "{}={}".format(*item)))]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_seconds = time.perf_counter() - start
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()]
    stamps = {line["key"]: line["time_ms"] for line in lines}
    top1 = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    return wall_seconds, (stamps["run_stop"] - stamps["run_start"]) / 1000, top1


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "cifar10")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    if not (arguments.data / "train.tar").is_file():
        print(f"no train.tar in {arguments.data}: give --data FOLDER", file=sys.stderr)
        return 2
    good = True
    with tempfile.TemporaryDirectory() as folder:
        unpack(arguments.data, Path(folder))
        for seed in arguments.seeds:
            wall_seconds, run_seconds, top1 = measure(Path(folder), seed)
            good &= top1[-1] >= 0.6 and wall_seconds <= AIM_SECONDS
            print(f"seed {seed}: {wall_seconds:.0f} s wall, {run_seconds:.0f} s on the clock, {len(top1)} epochs, "
                  f"top-1 {' '.join(f'{value:.3f}' for value in top1)}", flush=True)  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
