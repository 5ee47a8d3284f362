"""1,000 one-attempt runs of two pods created at once, on a real control plane with 100 fake nodes.

    python -m tests.performance.operator_load [--runs 1000] [--out FILE.json] [--skip-bare]

Pods complete 30 s after they run; each prints the MLPerf lines of a training meanwhile, which are followed; results
are stored in a folder.
Two cases in one sitting: the operator, and no controller at all (the client posts Service and Job itself). The
thresholds are those of the design; the exit code is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podium.api import TryId
from podium.controller.pods import BENCHMARK_RUNS
from podium.kube import JOBS, SERVICES, Api, connect
from podium.launch import TrainerDefaults, build_job, build_service, launch_for
from podium.mllog import parse
from podium.reconcile import CreateJob, Run
from podium.rounds import load_rounds
from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ROOT
from tests.cluster.parts import Operator

NODES, POD_SECONDS, CONNECTIONS = 100, 30.0, 20
LIMITS = {"create_to_job_p95_s": 2.0, "own_writes_per_run": 5.0, "rss_mb": 160.0}
SPEC: dict[str, Any] = {
    "round": "v0.6",
    "benchmark": "resnet",
    "division": "open",
    "preset": "tiny",
    "attempts": 1,
    "quality": {"target": "0.9"},
    "system": {"name": "fake", "nodes": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--skip-bare", action="store_true", help="measure the operator alone")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="podium-load-"))
    try:
        report = asyncio.run(measure(folder, given.runs, bare=not given.skip_bare))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(report, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
    missed = [name for name, limit in LIMITS.items() if report["operator"][name] > limit]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


async def measure(folder: Path, runs: int, *, bare: bool) -> dict[str, Any]:
    """Both cases, each on a control plane of its own, so that neither finds the other's objects in etcd."""
    report: dict[str, Any] = {"environment": environment(), "runs": runs, "nodes": NODES}
    if bare:
        report["bare"] = await with_plane(folder / "bare", lambda plane, api: bare_case(plane, api, runs))
    report["operator"] = await with_plane(folder / "operator", lambda plane, api: operator_case(plane, api, runs))
    return report


async def with_plane(folder: Path, case: Callable[[ControlPlane, Api], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    plane = ControlPlane(folder)
    try:
        plane.up(scheduler=True)
        log = folder / "training.log"
        log.write_text(training_log())
        kwok.start_nodes(plane, NODES, pod_seconds=POD_SECONDS, replay=log)
        plane.kubectl("apply", "--server-side", "-f", ROOT / "crds")
        plane.kubectl("wait", "--for=condition=Established", "crd/benchmarkruns.podium.dev", "--timeout=30s")
        api = await connect(kubeconfig=str(service_account(plane)), rate=10_000, burst=10_000)
        try:
            return await case(plane, api)
        finally:
            await api.close()
    finally:
        plane.down()


def service_account(plane: ControlPlane) -> Path:
    """A kubeconfig with a service account's token, as a pod has one. (A client certificate is verified anew with every
    request, which was a tenth of the API server's work.)"""
    plane.kubectl("create", "serviceaccount", "podium")
    plane.kubectl(
        "create", "clusterrolebinding", "podium", "--clusterrole=cluster-admin", "--serviceaccount=default:podium"
    )
    file = plane.folder / "podium.kubeconfig"
    plane.pki.kubeconfig(file, "podium", plane.server, plane.kubectl("create", "token", "podium").strip())
    return file


async def operator_case(plane: ControlPlane, api: Api, runs: int) -> dict[str, Any]:
    """BenchmarkRuns, and everything else by the operator."""
    results = plane.folder / "results"
    operator = Operator(plane.folder / "podium.kubeconfig", plane.folder, ["--results-url", str(results)], {})
    operator.start()
    await asyncio.sleep(3)  # its watches are up
    writes_before, cpu_before = writes(plane), cpu_seconds(operator.pid)
    started = time.time()
    jobs_seen: dict[str, float] = {}
    jobs = asyncio.create_task(first_seen(api, "/apis/batch/v1/namespaces/default/jobs", jobs_seen))
    created = await post_all(runs, lambda i: api.create(BENCHMARK_RUNS, "default", benchmark_run(i)))
    try:
        wall = await until_complete(plane, "benchmarkruns.podium.dev", runs, started)
    finally:
        jobs.cancel()
    seen = {name.rsplit("-", 2)[0]: at for name, at in jobs_seen.items()}
    delays = sorted(seen[name] - at for name, at in created.items())
    metrics = operator.metrics()
    report = {
        "wall_s": wall,
        "create_s": max(created.values()) - started,
        "create_to_job_p50_s": percentile(delays, 0.5),
        "create_to_job_p95_s": percentile(delays, 0.95),
        **running_delays(plane, "benchmarkruns.podium.dev"),
        "own_writes_per_run": own_writes(metrics) / runs,
        "all_writes_per_run": (writes(plane) - writes_before) / runs,
        "cpu_s": cpu_seconds(operator.pid) - cpu_before,
        "rss_mb": peak_rss_mb(operator.pid),
        "scored": sum(1 for _ in results.glob("default/*/SHA256SUMS")),
    }
    operator.stop()
    if keep := os.environ.get("PODIUM_KEEP_LOG"):
        shutil.copy(operator.log, keep)
    return report


async def bare_case(plane: ControlPlane, api: Api, runs: int) -> dict[str, Any]:
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


# ---- load ----


def benchmark_run(index: int) -> dict[str, Any]:
    metadata = {"name": f"load-{index:04}", "namespace": "default"}
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": metadata, "spec": SPEC}


def bare_launch(index: int) -> Any:
    from podium.reconcile import read_run

    body = benchmark_run(index)
    body["metadata"] |= {"uid": f"uid-{index:04}", "generation": 1}
    run: Run = read_run(body)
    return launch_for(run, CreateJob(TryId(attempt=1, number=0), seed=1), load_rounds())


async def post_all(count: int, post: Callable[[int], Awaitable[Any]]) -> dict[str, float]:
    """As fast as the API takes them, over 20 connections; when each was created (unix seconds)."""
    numbers = iter(range(count))
    created: dict[str, float] = {}

    async def worker() -> None:
        for index in numbers:
            await post(index)
            created[f"load-{index:04}"] = time.time()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return created


async def first_seen(api: Api, path: str, seen: dict[str, float]) -> None:
    """When a watch first reports each object (unix seconds), into `seen`.

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
                    seen.setdefault(json.loads(line)["object"]["metadata"]["name"], time.time())
        print(f"the watch of {path} was closed after {len(seen)} objects", file=sys.stderr, flush=True)


async def until_complete(plane: ControlPlane, resource: str, count: int, started: float) -> float:
    """Seconds until the last of `count` objects has come to its end, from their conditions."""
    path = '-o=jsonpath={range .items[*]}{.status.conditions[?(@.status=="True")].type}{"\\n"}{end}'
    while True:
        await asyncio.sleep(5)
        text = await asyncio.to_thread(plane.kubectl, "get", resource, path)
        ends = sum("Complete" in line or "Failed" in line for line in text.splitlines())
        print(f"{time.time() - started:4.0f} s: {ends} of {count} {resource} ended", file=sys.stderr, flush=True)
        if ends >= count:
            break
        if time.time() - started > 900:
            raise SystemExit(f"{count - ends} {resource} have not ended after 15 minutes")
    items = json.loads(plane.kubectl("get", resource, "-o", "json"))["items"]
    bad = [i["metadata"]["name"] for i in items if not has(i, "Complete")]
    if bad:
        failed = next(i for i in items if i["metadata"]["name"] == bad[0])
        raise SystemExit(f"{len(bad)} {resource} did not complete: {json.dumps(failed['status'])[:2000]}")
    return max(unix(condition(i, "Complete")["lastTransitionTime"]) for i in items) - started


def training_log() -> str:
    """A training of seven epochs, a line of progress and an evaluation each."""
    lines = [("init_start", None, {}), ("seed", 1, {}), ("train_samples", 1437, {}), ("init_stop", None, {})]
    lines += [("run_start", None, {"max_epochs": 30})]
    for epoch in range(1, 8):
        stats = {"throughput": 1000.0, "loss": 1.0}
        lines += [("tracked_stats", stats, {"epoch_num": epoch, "samples_count": epoch * 1437})]
        lines += [("eval_accuracy", 0.6 + epoch * 0.05, {"epoch_num": epoch})]
    lines += [("run_stop", None, {"status": "success"})]
    rows = []
    for number, (key, value, metadata) in enumerate(lines):
        body = {"namespace": "", "time_ms": number * 1000, "event_type": "POINT_IN_TIME", "key": key}
        rows.append(f":::MLLOG {json.dumps({**body, 'value': value, 'metadata': metadata})}\n")
    assert len(parse("".join(rows))[0]) == len(lines)
    return "".join(rows)


# ---- measuring ----


def running_delays(plane: ControlPlane, resource: str) -> dict[str, float]:
    """Creation of a run until both its pods run, from the API server's times of whole seconds."""
    items = json.loads(plane.kubectl("get", resource, "-o", "json"))["items"]
    created = {item["metadata"]["name"]: unix(item["metadata"]["creationTimestamp"]) for item in items}
    running: dict[str, float] = {}
    for pod in json.loads(plane.kubectl("get", "pods", "-o", "json"))["items"]:
        ready = condition(pod, "Ready") or condition(pod, "Initialized")
        labels = pod["metadata"]["labels"]
        name = labels["podium.dev/run"] if resource != "jobs" else labels["batch.kubernetes.io/job-name"]
        running[name] = max(running.get(name, 0), unix(ready["lastTransitionTime"]))
    delays = sorted(running[name] - at for name, at in created.items())
    return {"create_to_running_p50_s": percentile(delays, 0.5), "create_to_running_p95_s": percentile(delays, 0.95)}


def writes(plane: ControlPlane) -> float:
    """Successful writes of all clients, by the API server's own count; leases are left out."""
    text = plane.kubectl("get", "--raw", "/metrics")
    wanted = [line for line in text.splitlines() if line.startswith("apiserver_request_total{")]
    wanted = [
        line for line in wanted if any(f'verb="{verb}"' in line for verb in ("POST", "PUT", "PATCH", "DELETE", "APPLY"))
    ]
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in wanted if 'code="2' in line and 'resource="leases"' not in line
    )


def own_writes(metrics: str) -> float:
    """Successful writes that the operator counted itself."""
    lines = [line for line in metrics.splitlines() if line.startswith("podium_kube_api_requests_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if 'code="2' in line and 'verb="GET"' not in line)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_mb(pid: int) -> float:
    line = next(row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def environment() -> dict[str, Any]:
    cpu = next(row for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name"))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu.partition(": ")[2],
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "kubernetes": "1.37.2",
        "kwok": "0.8.0",
    }


def condition(item: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in item["status"].get("conditions", ()) if c["type"] == kind), {})


def has(item: dict[str, Any], kind: str) -> bool:
    return condition(item, kind).get("status") == "True"


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def percentile(ordered: Iterable[float], share: float) -> float:
    values = list(ordered)
    return statistics.quantiles(values, n=100, method="inclusive")[int(share * 100) - 1]


if __name__ == "__main__":
    main()
