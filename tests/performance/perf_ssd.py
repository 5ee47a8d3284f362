"""Seconds of the tiny SSD to a box AP of 0.30 on held-out scenes, per seed (aim: 150 s on two cores).

    python tests/performance/perf_ssd.py [--seeds 1 2 3 4 5]
    python tests/performance/perf_ssd.py --photos [--seeds 1]

Measured from starting the process to its end, evaluations included; prints one line per seed. With --photos, 205 and
87 scenes of 480 pixels are written out as JPEG in the COCO layout first and the run is to reach 0.10 from there.
Exits with 1 if a run misses its target or the aim.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from podium_benchmarks.core.scenes import make_scenes  # noqa: E402
from tests.unit.benchmarks.coco_folder import write_folder  # noqa: E402

AIM_SECONDS = 150.0
SCENES_AP, PHOTOS_AP = 0.30, 0.10


def measure(arguments: list[str], seed: int) -> tuple[float, list[float]]:
    """Wall seconds of the process, box AP of each evaluation."""
    command = [sys.executable, "-m", "podium_benchmarks.ssd", "--preset", "tiny", "--seed", str(seed), *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_seconds = time.perf_counter() - start
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()]
    return wall_seconds, [line["value"] for line in lines if line["key"] == "eval_accuracy"]


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--photos", action="store_true")
    arguments = parser.parse_args()
    least, settings, good = PHOTOS_AP if arguments.photos else SCENES_AP, [], True
    with tempfile.TemporaryDirectory() as folder:
        if arguments.photos:
            train, val = (make_scenes(count, size=480, classes=3, seed=5, held_out=held_out)
                          for count, held_out in ((205, False), (87, True)))  # fmt: skip
            settings = ["--data", str(write_folder(Path(folder) / "coco", train, val)), "--target", str(PHOTOS_AP)]
        for seed in arguments.seeds:
            wall_seconds, found = measure(settings, seed)
            good &= found[-1] >= least and wall_seconds <= AIM_SECONDS
            print(f"seed {seed}: {wall_seconds:.0f} s wall, {len(found)} epochs, "
                  f"box AP {' '.join(f'{value:.3f}' for value in found)}", flush=True)  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
