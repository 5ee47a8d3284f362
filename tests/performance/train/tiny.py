"""The tiny presets to their targets: seconds, epochs and memory for each seed, beside the aims on two cores.

    python tests/performance/train/tiny.py [BENCHMARK ...] [--seeds 1 2 3 4 5] [--ranks 1] [--threads N] [--out FILE]

Wall seconds are those from starting a process to its end, evaluations included; the aims are for them, and for MiniGo's
seconds on its clock. On a machine with other work they grow, most of all with several threads, which wait for each other
at every operator; CPU seconds grow much less. The load average is noted. Each result goes to --out as soon as it is
there. Exits with 1 if a run misses its target or aim.
"""

from __future__ import annotations

import argparse
import json
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


def measure(name: str, seed: int, ranks: int, threads: int | None) -> tuple[dict[str, Any], bool]:
    """One run, printed, and whether it met its target in time."""
    record, threads = benchmark(name), threads or max(1, cpu_count() // ranks)
    run = timed_run(name, "--seed", str(seed), ranks=ranks, threads=threads)
    done = progress(run)
    result = {
        "seed": seed,
        "ranks": ranks,
        "threads": threads,
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


def keep_run(out: Path, name: str, run: dict[str, Any]) -> None:
    """Put a run into the file, in place of that of the same seed on as many ranks; runs of another commit go."""
    record, here = benchmark(name), environment()
    kept = (json.loads(out.read_text()) if out.exists() else {}).get("tiny", {}).get(name)
    runs = {(run["ranks"], run["seed"]): run}
    if kept and kept["environment"]["commit"] == here["commit"]:
        runs = {(one["ranks"], one["seed"]): one for one in kept["runs"]} | runs
    aims = {"target": record.presets["tiny"].target, "aim_seconds": record.performance.tiny_seconds}
    keep(out, "tiny", name, {"environment": here, **aims, "runs": [runs[place] for place in sorted(runs)]})


def main() -> int:
    """Measure each benchmark with each seed."""
    names = [record.name for record in benchmarks()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=[], metavar="BENCHMARK", help="all, if none is given")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of each rank; as many as there are cores, if not given")
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmarks) - set(names):
        parser.error(f"unknown benchmark {min(unknown)}: choose from {', '.join(names)}")
    good = True
    for name in arguments.benchmarks or names:
        reached, met = 0, 0
        for seed in arguments.seeds:
            result, in_time = measure(name, seed, arguments.ranks, arguments.threads)
            reached, met = reached + result["reached"], met + in_time
            if arguments.out:
                keep_run(arguments.out, name, result)
        print(f"{name}: {reached} of {len(arguments.seeds)} reached the target, {met} within "
              f"{benchmark(name).performance.tiny_seconds:.0f} s", flush=True)  # fmt: skip
        good &= met == len(arguments.seeds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
