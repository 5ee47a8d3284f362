"""A restart among many finished runs."""

from __future__ import annotations

import asyncio
import time

from podium.api import (
    AttemptState,
    AttemptStatus,
    BenchmarkRunStatus,
    Condition,
    ConditionType,
    Progress,
    Reason,
    Result,
    Score,
    rfc3339,
)
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.status_writer import changes
from podium.kube import Api
from tests.cluster.controlplane import ControlPlane
from tests.performance.controller.load import SPEC, benchmark_run, post_all
from tests.performance.controller.plane import cpu_seconds, operator_of, own_writes, peak_rss_mb

_SETTLE_SECONDS = 20.0


async def finished_case(plane: ControlPlane, api: Api, runs: int) -> dict[str, float]:
    """Start the operator where `runs` runs of five attempts have ended long ago."""
    spec = {**SPEC, "attempts": 5}
    status = changes({}, _complete().model_dump(mode="json", by_alias=True, exclude_none=True))

    async def post(index: int) -> None:
        made = (await api.create(BENCHMARK_RUNS, "default", benchmark_run(index, spec)))["metadata"]
        await api.patch_status(BENCHMARK_RUNS, "default", made["name"], status, uid=made["uid"])

    await post_all(runs, post)
    operator = operator_of(plane)
    started = time.time()
    operator.start()
    while f"podium_runs_known {runs}.0" not in (page := operator.metrics()):
        if time.time() - started > 120:
            raise SystemExit(f"the operator does not know {runs} runs after 2 minutes")
        await asyncio.sleep(0.5)
    ready = time.time() - started
    await asyncio.sleep(_SETTLE_SECONDS)
    begun = time.perf_counter()
    page = operator.metrics()
    report = {
        "ready_s": ready,
        "own_writes": own_writes(page),
        "metric_lines": sum(not line.startswith("#") for line in page.splitlines()),
        "scrape_s": time.perf_counter() - begun,
        "cpu_s": cpu_seconds(operator.pid),
        "peak_rss_mb": peak_rss_mb(operator.pid),
    }
    operator.stop()
    return report


def _complete() -> BenchmarkRunStatus:
    """The status of a run whose five attempts converged."""
    stamp = rfc3339(1_700_000_000.0)
    attempts = tuple(
        AttemptStatus(
            index=index,
            state=AttemptState.CONVERGED,
            seed=index,
            job=f"load-{index}-0",
            created_time=stamp,
            start_time=stamp,
            quality="0.95",
            epochs="7",
            time_to_train_seconds=f"{20 + index}.000",
            reason=Reason.TARGET_REACHED.value,
            message="quality 0.95, target 0.9",
            stored=True,
        )
        for index in range(1, 6)
    )
    conditions = tuple(
        Condition(
            type=kind,
            status="True" if kind in (ConditionType.ADMITTED, ConditionType.COMPLETE) else "False",
            reason=Reason.SCORED.value,
            last_transition_time=stamp,
            observed_generation=1,
        )
        for kind in ConditionType
    )
    return BenchmarkRunStatus(
        observed_generation=1,
        conditions=conditions,
        attempts=attempts,
        progress=Progress(attempt="5/5", quality="0.95", target="0.9", quality_ratio="1"),
        score=Score(time_to_train_minutes="0.3833", valid=True, official=False, dropped=(1, 5)),
        result=Result(uri="s3://results/default/load", sha256="0" * 64),
    )
