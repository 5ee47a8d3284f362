"""Many runs that train at the same time, each of which prints a line a second."""

from __future__ import annotations

import asyncio
import statistics
import time
import urllib.request

from podium.controller.pods import BENCHMARK_RUNS
from podium.kube import Api
from tests.cluster.controlplane import ControlPlane
from tests.performance.controller.load import SPEC, benchmark_run, post_all
from tests.performance.controller.plane import (
    cpu_seconds,
    histogram_quantile,
    items,
    operator_of,
    own_writes,
    peak_rss_mb,
)

POD_SECONDS = 1200.0  # longer than everything here takes
WATCHED_SECONDS = 180.0
LINES = round(POD_SECONDS * 0.5)  # one a second: a fake pod prints all of its log in half of its time


async def active_case(plane: ControlPlane, api: Api, runs: int) -> dict[str, float]:
    """Measure the operator for a few minutes once all runs train."""
    operator = operator_of(plane)
    operator.start()
    spec = {**SPEC, "system": {"name": "fake", "nodes": 1}}
    await post_all(runs, lambda i: api.create(BENCHMARK_RUNS, "default", benchmark_run(i, spec)))
    deadline = time.time() + 300
    while (training := _training(plane)) < runs:
        if time.time() > deadline:
            raise SystemExit(f"only {training} of {runs} runs train after 5 minutes")
        await asyncio.sleep(5)
    before, cpu, started = operator.metrics(), cpu_seconds(operator.pid), time.time()
    blocked = asyncio.create_task(_blocked(operator.url))
    scrapes = []
    while time.time() - started < WATCHED_SECONDS:
        begun = time.perf_counter()
        await asyncio.to_thread(operator.metrics)
        scrapes.append(time.perf_counter() - begun)
        await asyncio.sleep(10)
    blocked.cancel()
    after, seconds = operator.metrics(), time.time() - started
    report = {
        "reconcile_p99_s": histogram_quantile(before, after, "podium_reconcile_duration_seconds", 0.99),
        "scrape_median_s": statistics.median(scrapes),
        "scrape_max_s": max(scrapes),
        "patches_per_minute_and_run": (own_writes(after, verb="PATCH") - own_writes(before, verb="PATCH"))
        / (seconds / 60)
        / runs,
        "cpu_share": (cpu_seconds(operator.pid) - cpu) / seconds,
        "peak_rss_mb": peak_rss_mb(operator.pid),
    }
    operator.stop()
    return report


def _training(plane: ControlPlane) -> int:
    runs = items(plane, "benchmarkruns.podium.dev")
    return sum(run.get("status", {}).get("attempts", [{}])[-1].get("state") == "Training" for run in runs)


async def _blocked(url: str) -> None:
    """Keep a second client at work, so that a scrape competes with something."""
    while True:
        await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/healthz", timeout=10).read())
        await asyncio.sleep(1)
