"""A control plane with fake nodes for one case, and what is read from it and from the operator's process."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from podium.kube import Api, connect
from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import ROOT
from tests.cluster.parts import Operator, until

NODES = 100
T = TypeVar("T")


def source_of(commit: str, folder: Path) -> Path:
    """Unpack the operator and the CRD of an earlier commit. Raises SystemExit if the clone does not have it."""
    packed = subprocess.run(["git", "archive", commit, "operator", "crds"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(f"{commit} is not in this clone: {packed.stderr.decode().strip()}; run git fetch --unshallow")
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


async def with_plane(
    case: Callable[[ControlPlane, Api], Awaitable[T]],
    *,
    log: str = "",
    pod_seconds: float = 30.0,
    source: Path = ROOT,
) -> T:
    """Run one case on a control plane of its own, so that no case finds another's objects in etcd.

    Pods print `log` and complete after `pod_seconds`. `source` has the CRD to install.
    """
    plane = ControlPlane(Path(tempfile.mkdtemp(prefix="podium-load-")))
    try:
        plane.up(scheduler=True)
        file = plane.folder / "training.log"
        file.write_text(log)
        kwok.start_nodes(plane, NODES, pod_seconds=pod_seconds, replay=file if log else None, live=True)
        plane.kubectl("apply", "--server-side", "-f", source / "crds")
        crd = "crd/benchmarkruns.podium.dev"
        await asyncio.to_thread(until, lambda: _established(plane, crd), 30, f"{crd} is served")
        api = await connect(kubeconfig=str(service_account(plane)), rate=10_000, burst=10_000)
        try:
            return await case(plane, api)
        finally:
            await api.close()
    finally:
        plane.down()
        shutil.rmtree(plane.folder, ignore_errors=True)


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


def operator_of(plane: ControlPlane, source: Path = ROOT, *options: str) -> Operator:
    """Return the operator whose code is in `source`, with results in a folder."""
    folder = plane.folder / "results"
    environment = {} if source == ROOT else {"PYTHONPATH": str(source / "operator")}
    return Operator(
        plane.folder / "podium.kubeconfig", plane.folder, ["--results-url", str(folder), *options], environment
    )


# ---- measuring ----


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


def own_writes(metrics: str, *, verb: str = "") -> float:
    """Successful writes that the operator counted itself, or only those with `verb`."""
    lines = [line for line in metrics.splitlines() if line.startswith("podium_kube_api_requests_total{")]
    wanted = [line for line in lines if 'code="2' in line and 'verb="GET"' not in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in wanted if not verb or f'verb="{verb}"' in line)


def histogram_quantile(before: str, after: str, name: str, share: float) -> float:
    """Return the upper bound of the bucket in which the quantile of the observations between two pages lies."""
    grown = {bound: count - _buckets(before, name).get(bound, 0) for bound, count in _buckets(after, name).items()}
    total = max(grown.values(), default=0)
    return min((bound for bound, count in grown.items() if count >= share * total), default=float("nan"))


def _buckets(page: str, name: str) -> dict[float, float]:
    found: dict[float, float] = {}
    for line in page.splitlines():
        if line.startswith(f"{name}_bucket{{"):
            bound = float(line.partition('le="')[2].partition('"')[0])
            found[bound] = found.get(bound, 0) + float(line.rsplit(" ", 1)[1])
    return found


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_mb(pid: int) -> float:
    return _status_mb(pid, "VmHWM")


def rss_mb(pid: int) -> float:
    return _status_mb(pid, "VmRSS")


def _status_mb(pid: int, field: str) -> float:
    line = next(row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) / 1024


def environment() -> dict[str, Any]:
    cpu = next(row for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name"))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cpu": cpu.partition(": ")[2],
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "kubernetes": "1.37.2",
        "kwok": "0.8.0",
    }


def items(plane: ControlPlane, resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(plane.kubectl("get", resource, "-o", "json"))["items"]
    return found


def condition(item: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in item.get("status", {}).get("conditions") or () if c["type"] == kind), {})


def _established(plane: ControlPlane, crd: str) -> bool:
    return has(json.loads(plane.kubectl("get", crd, "-o", "json")), "Established")


def has(item: dict[str, Any], kind: str) -> bool:
    return condition(item, kind).get("status") == "True"


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def percentile(ordered: Iterable[float], share: float) -> float:
    values = list(ordered)
    return statistics.quantiles(values, n=100, method="inclusive")[int(share * 100) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return what several rounds of one measure gave: the median and the extremes."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
