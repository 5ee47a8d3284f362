"""Measure the operator on a real control plane with 100 fake nodes.

    python -m tests.performance.controller [burst] [active] [finished] [growth] [--out FILE.json]

burst: 1,000 one-attempt runs of two pods created at once; bare API, an earlier commit and this one in turns, in
three rounds. Pods complete 30 s after they run; each prints the MLPerf lines of a training meanwhile.
active: 1,000 runs train at the same time and print a line a second. finished: a restart among 5,000 finished runs.
growth: bursts of 100, 1,000 and 5,000 runs.

Absolute times differ between machines: compare ratios of one sitting only. The exit code is 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.performance.controller.active import LINES, POD_SECONDS, active_case
from tests.performance.controller.burst import bare_case, operator_case
from tests.performance.controller.finished import finished_case
from tests.performance.controller.load import training_log
from tests.performance.controller.plane import NODES, environment, source_of, spread, with_plane

BASELINE = "66b4da5"
PARTS = ("burst", "active", "finished", "growth")
Cases = dict[str, list[dict[str, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all of them")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--baseline", default=BASELINE, metavar="COMMIT", help="compare with it; empty: with none")
    parser.add_argument("--out", type=Path, help="update this file with the parts that were measured")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    missed: list[str] = []
    for part in given.parts or PARTS:
        print(f"==> {part}", file=sys.stderr, flush=True)
        try:
            found = asyncio.run(measure(part, given.runs, given.rounds, given.baseline))
        except SystemExit as error:  # the other parts are measured all the same
            missed.append(f"{part}: {error}")
            continue
        print(json.dumps({part: found}, indent=2), flush=True)
        if given.out:
            known = json.loads(given.out.read_text()) if given.out.exists() else {}
            given.out.write_text(json.dumps({**known, part: found}, indent=2) + "\n")
        missed += [f"{part}: {aim}" for aim, met in found["aims"].items() if not met]
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


async def measure(part: str, runs: int, rounds: int, baseline: str) -> dict[str, Any]:
    """Measure one part, and say where and when. Raises SystemExit if it can't be measured."""
    folder = Path(tempfile.mkdtemp(prefix="podium-baseline-"))
    measures: Mapping[str, Callable[[], Any]] = {
        "burst": lambda: burst(runs, rounds, source_of(baseline, folder / "source") if baseline else None),
        "active": lambda: active(runs),
        "finished": lambda: finished(5 * runs),
        "growth": lambda: growth([runs // 10, runs, 5 * runs]),
    }
    try:
        return {"environment": environment(), "nodes": NODES, **await measures[part]()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def burst(runs: int, rounds: int, baseline: Path | None) -> dict[str, Any]:
    """Return the figures of each case, with their spread, and ratios within each round."""
    log = training_log()
    cases: Cases = {"bare": [], "baseline": [], "operator": []}
    for _ in range(rounds):
        cases["bare"].append(await with_plane(lambda plane, api: bare_case(plane, api, runs), log=log))
        if baseline:
            measured = await with_plane(
                lambda plane, api: operator_case(plane, api, runs, baseline), log=log, source=baseline
            )
            cases["baseline"].append(measured)
        cases["operator"].append(await with_plane(lambda plane, api: operator_case(plane, api, runs), log=log))
        print(json.dumps({name: measured[-1:] for name, measured in cases.items()}), file=sys.stderr, flush=True)
    own, ratios = spread_of(cases["operator"]), {"wall_to_bare": ratio(cases, "bare", "wall_s")}
    aims = {
        "create -> Job p95 < 1.5 s": own["create_to_job_p95_s"]["median"] < 1.5,
        "own writes <= 4 a run": own["own_writes_per_run"]["median"] <= 4,
        "peak memory <= 140 MB": own["peak_rss_mb"]["median"] <= 140,
        "wall <= 1.5x the bare API": ratios["wall_to_bare"]["median"] <= 1.5,
    }
    if baseline:
        ratios["cpu_to_baseline"] = ratio(cases, "baseline", "cpu_s")
        ratios["create_to_job_p95_to_baseline"] = ratio(cases, "baseline", "create_to_job_p95_s")
        aims["CPU <= 0.6x the earlier commit"] = ratios["cpu_to_baseline"]["median"] <= 0.6
        aims["p95 <= 0.5x the earlier commit"] = ratios["create_to_job_p95_to_baseline"]["median"] <= 0.5
    figures = {name: spread_of(measured) for name, measured in cases.items() if measured}
    return {"runs": runs, "rounds": rounds, "baseline_commit": BASELINE, **figures, "ratios": ratios, "aims": aims}


def spread_of(measured: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: spread([one[name] for one in measured]) for name in measured[0]}


def ratio(cases: Cases, other: str, name: str) -> dict[str, float]:
    """Return how the operator's figure compares with that of `other` in the same round."""
    return spread([own[name] / theirs[name] for own, theirs in zip(cases["operator"], cases[other], strict=True)])


async def active(runs: int) -> dict[str, Any]:
    log = training_log(LINES)
    found = await with_plane(lambda plane, api: active_case(plane, api, runs), log=log, pod_seconds=POD_SECONDS)
    aims = {
        "reconcile p99 < 1 s": found["reconcile_p99_s"] < 1,
        "scrape < 0.2 s": found["scrape_max_s"] < 0.2,
        "memory < 256 MB": found["peak_rss_mb"] < 256,
        "<= 2 patches a minute and run": found["patches_per_minute_and_run"] <= 2,
    }
    return {"runs": runs, **found, "aims": aims}


async def finished(runs: int) -> dict[str, Any]:
    found = await with_plane(lambda plane, api: finished_case(plane, api, runs))
    aims = {
        "ready < 30 s": found["ready_s"] < 30,
        "no writes": found["own_writes"] == 0,
        "memory < 300 MB": found["peak_rss_mb"] < 300,
    }
    return {"runs": runs, **found, "aims": aims}


async def growth(sizes: list[int]) -> dict[str, Any]:
    """Return the CPU seconds and the bytes above an idle operator that each run costs, by the number of runs."""
    log = training_log()
    by_size: dict[str, dict[str, float]] = {}
    for size in sizes:
        found = await with_plane(lambda plane, api, size=size: operator_case(plane, api, size), log=log)
        by_size[str(size)] = {
            "cpu_ms_per_run": 1000 * found["cpu_s"] / size,
            "kib_per_run": 1024 * (found["peak_rss_mb"] - found["idle_rss_mb"]) / size,
            **found,
        }
    flat = {
        name: max(one[name] for one in by_size.values()) / min(one[name] for one in by_size.values())
        for name in ("cpu_ms_per_run", "kib_per_run")
    }
    aims = {f"{name} flat within 1.5x": value <= 1.5 for name, value in flat.items()}
    return {"sizes": by_size, "highest_to_lowest": flat, "aims": aims}


if __name__ == "__main__":
    main()
