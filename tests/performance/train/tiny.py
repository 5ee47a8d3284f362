"""The tiny presets to their targets: seconds, epochs and memory for each seed, beside the aims on two cores.

    python tests/performance/train/tiny.py [BENCHMARK ...] [--seeds 1 2 3 4 5] [--ranks 1] [--out FILE]

Wall seconds are those from starting a process to its end, evaluations included; the aims are for them, and for MiniGo's
seconds on its clock. On a machine with other work they grow, CPU seconds much less; the load average is noted. Each
result goes to --out as soon as it is there. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from timing import TimedRun, environment, keep, timed_run

from podium_benchmarks import benchmark, benchmarks
from podium_benchmarks.core.dist import cpu_count


def progress(run: TimedRun) -> dict[str, Any]:
    """What was trained up to the model that counts: epochs, samples, or generations of games."""
    found = next((line["metadata"] for line in run.lines if line["key"] == "eval_result"), None)
    if found is not None:
        return {"generations": found["iteration"], "to_model_seconds": found["timestamp"]}
    last = run.lines[-1]["metadata"]
    return {"sequences": last["samples_count"]} if "samples_count" in last else {"epochs": last["epoch_num"]}


def measure(name: str, seed: int, ranks: int) -> tuple[dict[str, Any], bool]:
    """One run, printed, and whether it met its target in time."""
    record = benchmark(name)
    run = timed_run(name, "--seed", str(seed), ranks=ranks, threads=max(1, cpu_count() // ranks))
    done = progress(run)
    result = {
        "seed": seed,
        "reached": run.reached,
        **done,
        "evaluations": len(run.qualities),
        "quality": run.qualities[-1] if run.qualities else None,
        "wall_seconds": round(run.wall_seconds, 1),
        "clock_seconds": round(run.clock_seconds, 1),
        "cpu_seconds": round(run.cpu_seconds, 1),
        "peak_memory_mb": round(run.peak_memory_bytes / 1e6),
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in result.items())}", flush=True)
    seconds = done.get("to_model_seconds", run.wall_seconds)
    return result, run.reached and seconds <= record.performance.tiny_seconds


def main() -> int:
    """Measure each benchmark with each seed."""
    names = [record.name for record in benchmarks()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=[], metavar="BENCHMARK", help="all, if none is given")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmarks) - set(names):
        parser.error(f"unknown benchmark {min(unknown)}: choose from {', '.join(names)}")
    good = True
    for name in arguments.benchmarks or names:
        runs, met = [], 0
        target, aim = benchmark(name).presets["tiny"].target, benchmark(name).performance.tiny_seconds
        for seed in arguments.seeds:
            result, in_time = measure(name, seed, arguments.ranks)
            runs, met = [*runs, result], met + in_time
            if arguments.out:
                conditions = {"target": target, "aim_seconds": aim, "ranks": arguments.ranks}
                keep(arguments.out, "tiny", name, {"environment": environment(), **conditions, "runs": runs})
        reached = sum(run["reached"] for run in runs)
        print(f"{name}: {reached} of {len(runs)} reached the target, {met} within {aim:.0f} s", flush=True)
        good &= met == len(runs)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
