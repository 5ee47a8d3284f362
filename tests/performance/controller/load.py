"""The load: what a run asks for, what its pods print, and how runs are created."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from podium.mllog import parse

_CONNECTIONS = 20
SPEC: dict[str, Any] = {
    "round": "v0.6",
    "benchmark": "resnet",
    "division": "open",
    "preset": "tiny",
    "attempts": 1,
    "quality": {"target": "0.9"},
    "system": {"name": "fake", "nodes": 2},
}


def benchmark_run(index: int, spec: Mapping[str, Any] = SPEC) -> dict[str, Any]:
    metadata = {"name": f"load-{index:05}", "namespace": "default"}
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": metadata, "spec": dict(spec)}


async def post_all(count: int, post: Callable[[int], Awaitable[Any]]) -> dict[str, float]:
    """As fast as the API takes them, over 20 connections; when each was created (unix seconds)."""
    numbers = iter(range(count))
    created: dict[str, float] = {}

    async def worker() -> None:
        for index in numbers:
            await post(index)
            created[f"load-{index:05}"] = time.time()

    await asyncio.gather(*(worker() for _ in range(_CONNECTIONS)))
    return created


def training_log(progress_lines: int = 7) -> str:
    """A training of seven epochs, with an evaluation each and this many lines of progress in all."""
    lines = [("init_start", None, {}), ("seed", 1, {}), ("train_samples", 1437, {}), ("init_stop", None, {})]
    lines += [("run_start", None, {"max_epochs": 30})]
    for epoch in range(1, 8):
        for part in range(progress_lines // 7):
            stats = {"throughput": 1000.0 + part, "loss": 1.0}
            lines += [("tracked_stats", stats, {"epoch_num": epoch, "samples_count": epoch * 1437 + part})]
        lines += [("eval_accuracy", 0.6 + epoch * 0.05, {"epoch_num": epoch})]
    lines += [("run_stop", None, {"status": "success"})]
    rows = []
    for number, (key, value, metadata) in enumerate(lines):
        body = {"namespace": "", "time_ms": number * 1000, "event_type": "POINT_IN_TIME", "key": key}
        rows.append(f":::MLLOG {json.dumps({**body, 'value': value, 'metadata': metadata})}\n")
    assert len(parse("".join(rows))[0]) == len(lines)
    return "".join(rows)
