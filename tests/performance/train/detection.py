"""The detectors: seconds of SSD to a box AP of 0.10 on photos in the COCO layout, and images per second of both beside
detection_naive.py.

    python tests/performance/train/detection.py [--seeds 1 2 3 4 5] [--data DIR]

Seconds are those from starting a process to its end, evaluations included. Without --data the photos are 205 + 87 made-up
scenes of 480 pixels, written out as JPEG. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import REPOSITORY, timed_run

from podium_benchmarks.core.scenes import make_scenes

sys.path.insert(0, str(REPOSITORY))
from tests.unit.benchmarks.coco_folder import write_folder

PHOTOS_AIM_SECONDS = 150


def measure(seed: int, photos: Path) -> bool:
    """One run; prints its line and returns whether it reached its target in time."""
    run = timed_run("ssd", "--seed", str(seed), "--data", str(photos), "--target", "0.10")
    print(f"ssd photos, seed {seed}: {run.wall_seconds:.0f} s wall (aim {PHOTOS_AIM_SECONDS}), {run.cpu_seconds:.0f} CPU-s, "
          f"{len(run.qualities)} evaluations, AP {run.qualities[-1]:.3f}"
          f"{'' if run.reached else ', target missed'}", flush=True)  # fmt: skip
    return run.reached and run.wall_seconds <= PHOTOS_AIM_SECONDS


def main() -> int:
    """Measure each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="photos in the COCO 2017 layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        train, val = (make_scenes(count, size=480, classes=3, seed=5, held_out=held_out)
                      for count, held_out in ((205, False), (87, True)))  # fmt: skip
        scenes = write_folder(Path(folder) / "coco", train, val)
        for seed in arguments.seeds:
            good &= measure(seed, arguments.data or scenes)
        naive = Path(__file__).with_name("detection_naive.py")
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "benchmarks")])
        command = [sys.executable, str(naive), "--data", str(scenes)]
        run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
    return 0 if good and run.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
