"""Many one-attempt runs of two pods created at once: the operator, or no controller at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import yaml

from podium.api import TryId
from podium.controller.pods import BENCHMARK_RUNS
from podium.kube import JOBS, SERVICES, Api
from podium.launch import TrainerDefaults, build_job, build_service, launch_for
from podium.reconcile import read_run
from podium.rounds import load_rounds
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ROOT
from tests.performance.controller.load import SPEC, benchmark_run, post_all
from tests.performance.controller.plane import (
    condition,
    cpu_seconds,
    has,
    items,
    operator_of,
    own_writes,
    peak_rss_mb,
    percentile,
    rss_mb,
    unix,
    writes,
)


async def operator_case(plane: ControlPlane, api: Api, runs: int, source: Path = ROOT) -> dict[str, float]:
    """BenchmarkRuns, and everything else by the operator in `source`."""
    operator = operator_of(plane, source)
    operator.start()
    await asyncio.sleep(3)  # its watches are up
    writes_before, cpu_before, rss_before = writes(plane), cpu_seconds(operator.pid), rss_mb(operator.pid)
    started = time.time()
    jobs_seen: dict[str, float] = {}
    jobs = asyncio.create_task(first_seen(api, "/apis/batch/v1/namespaces/default/jobs", jobs_seen))
    spec = SPEC if has_round(source) else {**{k: v for k, v in SPEC.items() if k != "round"}, "suite": SPEC["round"]}
    created = await post_all(runs, lambda i: api.create(BENCHMARK_RUNS, "default", benchmark_run(i, spec)))
    try:
        wall = await until_complete(plane, "benchmarkruns.podium.dev", runs, started)
    finally:
        jobs.cancel()
    delays = sorted(jobs_seen[name] - at for name, at in created.items())
    report = {
        "wall_s": wall,
        "create_s": max(created.values()) - started,
        "create_to_job_p50_s": percentile(delays, 0.5),
        "create_to_job_p95_s": percentile(delays, 0.95),
        **running_delays(plane, "benchmarkruns.podium.dev"),
        "own_writes_per_run": own_writes(operator.metrics()) / runs,
        "all_writes_per_run": (writes(plane) - writes_before) / runs,
        "cpu_s": cpu_seconds(operator.pid) - cpu_before,
        "idle_rss_mb": rss_before,
        "peak_rss_mb": peak_rss_mb(operator.pid),
        "scored": sum(1 for _ in (plane.folder / "results").glob("default/*/SHA256SUMS")),
    }
    operator.stop()
    if keep := os.environ.get("PODIUM_KEEP_LOG"):
        shutil.copy(operator.log, keep)
    return report


def has_round(source: Path) -> bool:
    """Return whether the field that names the round is called that already."""
    crd = yaml.safe_load((source / "crds/podium.dev_benchmarkruns.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return "round" in schema["properties"]["spec"]["properties"]


async def bare_case(plane: ControlPlane, api: Api, runs: int) -> dict[str, float]:
    """No controller: the client posts what the operator would."""
    writes_before = writes(plane)
    started = time.time()

    async def post(index: int) -> None:
        launch = bare_launch(index)
        for resource, body in ((SERVICES, build_service(launch)), (JOBS, build_job(launch, TrainerDefaults()))):
            body["metadata"].pop("ownerReferences")
            await api.create(resource, "default", body)

    created = await post_all(runs, post)
    wall = await until_complete(plane, "jobs", runs, started)
    return {
        "wall_s": wall,
        "create_s": max(created.values()) - started,
        **running_delays(plane, "jobs"),
        "all_writes_per_run": (writes(plane) - writes_before) / runs,
    }


def bare_launch(index: int) -> Any:
    body = benchmark_run(index)
    body["metadata"] |= {"uid": f"uid-{index:04}", "generation": 1}
    return launch_for(read_run(body), TryId(attempt=1, number=0), 1, load_rounds())


async def first_seen(api: Api, path: str, seen: dict[str, float]) -> None:
    """When a watch first reports an object of each run (unix seconds), into `seen`.

    The API server closes the watch of a client that falls behind; the next one begins with all that there is.
    """
    url = f"{api.client.configuration.host}{path}?watch=true"
    headers = {"Authorization": await api.authorization()}
    while True:
        response = await api.client.rest_client.request("GET", url, headers=headers, _request_timeout=3600)
        rest = b""
        async for chunk in response.response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b'{"type":"ADDED"'):
                    seen.setdefault(orjson.loads(line)["object"]["metadata"]["labels"]["podium.dev/run"], time.time())
        print(f"the watch of {path} was closed after {len(seen)} objects", file=sys.stderr, flush=True)


async def until_complete(plane: ControlPlane, resource: str, count: int, started: float) -> float:
    """Seconds until the last of `count` objects has come to its end, from their conditions.

    Raises SystemExit if 1,000 objects have not after half an hour, or more after as much longer.
    """
    share = max(1.0, count / 1000)  # so that looking takes the same part of the machine's time at every size
    limit = 1800 * share
    path = '-o=jsonpath={range .items[*]}{.status.conditions[?(@.status=="True")].type}{"\\n"}{end}'
    while True:
        await asyncio.sleep(5 * share)
        text = await asyncio.to_thread(plane.kubectl, "get", resource, path)
        ends = sum("Complete" in line or "Failed" in line for line in text.splitlines())
        print(f"{time.time() - started:4.0f} s: {ends} of {count} {resource} ended", file=sys.stderr, flush=True)
        if ends >= count:
            break
        if time.time() - started > limit:
            raise SystemExit(f"{count - ends} {resource} have not ended after {limit / 60:.0f} minutes")
    ended = items(plane, resource)
    if bad := [item for item in ended if not has(item, "Complete")]:
        raise SystemExit(f"{len(bad)} {resource} did not complete: {str(bad[0]['status'])[:2000]}")
    return max(unix(condition(item, "Complete")["lastTransitionTime"]) for item in ended) - started


def running_delays(plane: ControlPlane, resource: str) -> dict[str, float]:
    """Creation of a run until both its pods run, from the API server's times of whole seconds."""
    created = {item["metadata"]["name"]: unix(item["metadata"]["creationTimestamp"]) for item in items(plane, resource)}
    running: dict[str, float] = {}
    for pod in items(plane, "pods"):
        ready = condition(pod, "Ready") or condition(pod, "Initialized")
        labels = pod["metadata"]["labels"]
        name = labels["podium.dev/run"] if resource != "jobs" else labels["batch.kubernetes.io/job-name"]
        running[name] = max(running.get(name, 0), unix(ready["lastTransitionTime"]))
    # where the Job controller is slow, a few Jobs are deleted before it has ended them
    delays = sorted(running[name] - at for name, at in created.items() if name in running)
    return {"create_to_running_p50_s": percentile(delays, 0.5), "create_to_running_p95_s": percentile(delays, 0.95)}
