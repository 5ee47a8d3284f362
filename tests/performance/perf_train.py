"""Seconds to 60 % top-1 on 10,000 CIFAR-10 JPEGs (aims on two cores: 100 s, half those of a plain loop).

The network is a ResNet of width 16 with two blocks a stage.

    python tests/performance/perf_train.py [--data ../shared/data/cifar10] [--seeds 1 2 3] [--naive]

Measured from starting the process to its end, decoding and evaluations included; prints one line per seed. With
--naive each run is followed by one of train/resnet_naive.py with the same settings, and the sums over the seeds are
compared, since the epochs that a run needs differ by chance. Exits with 1 if a run misses the target or an aim.
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
NAIVE = Path(__file__).parent / "train" / "resnet_naive.py"
AIM_SECONDS = 100.0
AIM_FACTOR = 2.0
TARGET = 0.6
IMAGES_PER_CLASS = 1000
SETTINGS = {
    "width": 16,
    "blocks": "2,2,2,2",
    "image_size": 48,
    "min_crop_area": 0.8,
    "max_epochs": 11,
    "epochs_between_evals": 1,
    "eval_offset_epochs": 8,
    "opt_base_learning_rate": 0.15,
    "opt_learning_rate_warmup_epochs": 2,
    "opt_learning_rate_decay_poly_power": 1,
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


def measure(program: list[str], data: Path, seed: int) -> tuple[float, str]:
    """Wall seconds of the process, its output."""
    command = [sys.executable, *program, "--data", str(data), "--seed", str(seed), "--target", str(TARGET)]
    command += [part for item in SETTINGS.items() for part in ("--set", "{}={}".format(*item))]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - start, run.stdout


def measure_trainer(data: Path, seed: int) -> tuple[float, list[float]]:
    """Wall seconds, top-1 after each epoch; prints them and the seconds on the benchmark's clock."""
    wall_seconds, output = measure(["-m", "podium_benchmarks.resnet"], data, seed)
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in output.splitlines()]
    stamps = {line["key"]: line["time_ms"] for line in lines}
    top1 = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    clock_seconds = (stamps["run_stop"] - stamps["run_start"]) / 1000
    print(f"seed {seed}: {wall_seconds:.0f} s wall, {clock_seconds:.0f} s on the clock, {shown(top1)}", flush=True)
    return wall_seconds, top1


def shown(top1: list[float]) -> str:
    """Qualities, for a person."""
    return f"{len(top1)} evaluations, top-1 {' '.join(f'{value:.3f}' for value in top1)}"


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "cifar10")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--naive", action="store_true")
    arguments = parser.parse_args()
    if not (arguments.data / "train.tar").is_file():
        print(f"no train.tar in {arguments.data}: give --data FOLDER", file=sys.stderr)
        return 2
    good, seconds, naive_seconds = True, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        unpack(arguments.data, Path(folder))
        for seed in arguments.seeds:
            wall_seconds, top1 = measure_trainer(Path(folder), seed)
            good &= top1[-1] >= TARGET and wall_seconds <= AIM_SECONDS
            seconds += wall_seconds
            if arguments.naive:
                wall_seconds, output = measure([str(NAIVE)], Path(folder), seed)
                naive_seconds += wall_seconds
                print(f"  naive: {wall_seconds:.0f} s wall, {shown(json.loads(output))}", flush=True)
    if arguments.naive:
        good &= naive_seconds >= AIM_FACTOR * seconds
        print(f"naive over all seeds: {naive_seconds / seconds:.2f} times as long")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
