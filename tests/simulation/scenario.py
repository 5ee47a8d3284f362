"""What a seed chooses: the cluster, the runs, what users do, and which faults happen when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

NAMESPACE = "lab"
# How often each fault is chosen; `faults.py` says what each is.
FAULTS = {
    "kill": 10,
    "kill at a step": 14,
    "freeze": 4,
    "freeze at a step": 8,
    "upgrade": 3,
    "operator down": 3,
    "api down": 3,
    "api errors": 4,
    "answers lost": 3,
    "api slow": 2,
    "watch lags": 4,
    "watch cut": 3,
    "watch silent": 2,
    "compaction": 3,
    "clock step": 2,
    "node clock set": 6,
    "node lost": 4,
    "node without power": 3,
    "node removed": 2,
    "evicted": 2,
    "drained": 2,
    "preempted": 2,
    "oom": 2,
    "kubelet unreachable": 4,
    "log half-open": 3,
    "log unreadable": 3,
    "log cut": 3,
    "log rotated": 3,
    "containers cannot start": 3,
    "quota": 6,
    "job controller slow": 2,
    "job deleted": 3,
    "stranger": 3,
    "labels taken off": 4,
    "queue closed": 2,
    "queue preempts": 3,
    "queue takes back": 3,
    "store down": 4,
    "store answers lost": 3,
    "store slow": 3,
    "run suspended": 3,
    "run deleted": 2,
    "run made again": 2,
}
# The same for what happens to sweeps, in worlds that have one; `sweeps.py` says what each is.
SWEEP_FAULTS = {
    "kill at a sweep's write": 6,
    "sweep deleted": 2,
    "sweep made again": 2,
    "sweep watch lags": 2,
    "sweep's run deleted": 3,
    "sweep's run replaced": 2,
    "sweep's template edited": 3,
}
_SWEEP_SHARE = 0.06  # of the worlds

_LATEST = {"quota": 100.0}  # seconds: later, most runs have their pods


@dataclass(frozen=True)
class Fault:
    """One fault, `at` virtual seconds, for `seconds` if it lasts."""

    kind: str
    at: float
    seconds: float


@dataclass(frozen=True)
class RunPlan:
    """One BenchmarkRun that a user creates."""

    name: str
    at: float
    spec: dict[str, Any]


@dataclass(frozen=True)
class SweepPlan:
    """One BenchmarkSweep that a user creates; the API server has such objects `served_at` that many seconds."""

    name: str
    at: float
    served_at: float
    spec: dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """Everything that a seed decides in advance."""

    replicas: int  # more than one: with a Lease
    nodes: int
    queue_slots: int
    runs: tuple[RunPlan, ...]
    faults: tuple[Fault, ...]
    sweep: SweepPlan | None = None


def choose(random: Random) -> Scenario:
    """Return the scenario of a seed: most are small, so that a broken one can be read."""
    count = random.choices((1, 2, 3, 6), (60, 20, 12, 8))[0]
    runs = tuple(RunPlan(f"run-{i}", random.uniform(0, 60), _spec(random)) for i in range(count))
    kinds = random.choices(
        list(FAULTS), list(FAULTS.values()), k=random.choices((0, 1, 2, 4, 8), (4, 30, 30, 24, 12))[0]
    )
    faults = [
        Fault(kind, random.uniform(1, _LATEST.get(kind, 1500)), random.choice((5.0, 60.0, 150.0, 500.0, 1200.0)))
        for kind in kinds
    ]
    chosen = Scenario(
        replicas=random.choices((1, 2), (70, 30))[0],
        nodes=random.choice((2, 3, 4)),
        queue_slots=random.choice((1, 2)),
        runs=runs,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )
    other = Random(f"sweep {random.getstate()[1][:4]}")  # so that worlds without a sweep stay what they were
    return _with_sweep(chosen, other) if other.random() < _SWEEP_SHARE else chosen


def _with_sweep(chosen: Scenario, random: Random) -> Scenario:
    """Return a scenario with a sweep of few rows, and with faults that meet it."""
    at = random.uniform(0, 60)
    kinds = random.choices(list(SWEEP_FAULTS), list(SWEEP_FAULTS.values()), k=random.choice((0, 1, 1, 2)))
    more = [Fault(kind, random.uniform(at, 1500), random.choice((5.0, 60.0, 500.0))) for kind in kinds]
    plan = SweepPlan("sweep", at, random.choice((0.0, 0.0, at)), _sweep_spec(random, chosen.nodes))
    faults = sorted([*chosen.faults, *more], key=lambda fault: fault.at)
    return replace(chosen, faults=tuple(faults), sweep=plan)


def _sweep_spec(random: Random, nodes: int) -> dict[str, Any]:
    least = random.choice((1, 1, 1, 2))
    template = _spec(random) | {"attempts": 1}
    template.pop("ttlSecondsAfterFinished", None)  # a sweep needs its runs
    spec = {
        "template": template,
        "parallel": random.choice((1, 2)),
        "verdict": {"minRuns": least, "maxRuns": least + random.choice((0, 0, 1))},
    }
    match over := random.choice(("nodes", "nodeCounts", "variants")):
        case "nodes":
            own = {"selector": {"pool": "gpu"}, "groupSize": 2 if nodes > 3 else 1}
        case "nodeCounts":
            own = [1, 2]
        case "variants":
            newer = {"name": "newer", "patch": {"template": {"image": "registry.example/trainer:2"}}}
            own = [{"name": "as-it-was", "patch": {}}, newer]
    return spec | {"over": over, over: own}


def _spec(random: Random) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "round": "v0.6",
        "benchmark": "resnet",
        "division": "open",
        "attempts": random.choice((1, 1, 2, 3)),
        "maxRetries": random.choice((0, 1, 2)),
        "quality": {"target": "0.5"},
        "system": {"name": "lab", "nodes": random.choice((1, 1, 2))},
        "deadlines": {"pending": random.choice(("30m", "1h")), "init": "5m", "run": random.choice(("30m", "1h"))},
        "template": {"image": "registry.example/trainer:1"},
    }
    if random.random() < 0.2:
        spec["queueName"] = "gpus"
    if random.random() < 0.1:
        spec["ttlSecondsAfterFinished"] = 600
    other = Random(repr(random.getstate()[1][:4]))  # so that the rest of a seed's world stays what it was
    if other.random() < 0.15:
        end = other.choice(({"duration": "30s"}, {"duration": "3m"}, {"samples": 2000}))
        spec["measure"] = {"warmup": other.choice(("0s", "30s", "2m")), **end}
    return spec
