"""Seconds to quality of the two detectors (aims on two cores in brackets), and their loops beside plain ones.

    ssd       made-up scenes to a box AP of 0.32                       (150 s)
    maskrcnn  made-up scenes to a box AP of 0.50 and a mask AP of 0.45 (240 s)
    ssd       photos in the COCO layout to a box AP of 0.10            (150 s)
    both      images per second, beside detection_naive.py

    python tests/performance/train/detection.py [--seeds 1 2 3 4 5] [--data DIR]

Seconds are those from starting a process to its end, evaluations included. Without --data the photos are 205 + 87 made-up
scenes of 480 pixels, written out as JPEG. Exits with 1 if a run misses its target or aim.
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

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:2])}

from tests.unit.benchmarks.coco_folder import write_folder  # noqa: E402

from podium_benchmarks.core.scenes import make_scenes  # noqa: E402


def measure(benchmark: str, seed: int, aim_seconds: float, *arguments: str) -> bool:
    """One run; prints its line and tells whether it reached its target in time."""
    command = [sys.executable, "-m", f"podium_benchmarks.{benchmark}", "--seed", str(seed), *arguments]
    start = time.perf_counter()
    run = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    wall_seconds = time.perf_counter() - start
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()]
    found = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    numbers = found[-1].values() if isinstance(found[-1], dict) else [found[-1]]
    reached = lines[-1]["metadata"]["status"] == "success"
    print(f"{benchmark} {'photos' if arguments else 'scenes'}, seed {seed}: {wall_seconds:.0f} s wall (aim "
          f"{aim_seconds:.0f}), {len(found)} evaluations, AP {'/'.join(f'{number:.3f}' for number in numbers)}"
          f"{'' if reached else ', target missed'}", flush=True)  # fmt: skip
    return reached and wall_seconds <= aim_seconds


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
            good &= measure("ssd", seed, 150)
            good &= measure("maskrcnn", seed, 240)
            good &= measure("ssd", seed, 150, "--data", str(arguments.data or scenes), "--target", "0.10")
        naive = Path(__file__).with_name("detection_naive.py")
        run = subprocess.run([sys.executable, str(naive), "--data", str(scenes)], env=ENVIRONMENT, check=False)
    return 0 if good and run.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
