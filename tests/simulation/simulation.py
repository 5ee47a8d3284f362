"""One simulated world from its first second to its last: `run_seed`."""

from __future__ import annotations

import gc
import logging
import random
import secrets
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest import mock

from tests.simulation import faults, scenario
from tests.simulation.aftermath import FINAL
from tests.simulation.apiserver import ApiServer, Change, Object
from tests.simulation.closed import with_closed_runs
from tests.simulation.disruptions import Disruptions
from tests.simulation.forecasts import ForecastWatchdog
from tests.simulation.jobs import GarbageCollector, JobController
from tests.simulation.logged import Stumbles
from tests.simulation.nodes import Cluster, Node
from tests.simulation.podlogs import PodLogs
from tests.simulation.queueing import Queue
from tests.simulation.replicas import Replica, patched, rounds
from tests.simulation.scenario import NAMESPACE
from tests.simulation.statuses import is_terminal
from tests.simulation.stores import Bucket, Threads
from tests.simulation.sweep_watchdog import SweepWatchdog
from tests.simulation.sweeps import active_sweeps, create_sweep, prepare
from tests.simulation.transport import Network
from tests.simulation.truth import Truth
from tests.simulation.watchdog import Watchdog
from tests.simulation.world import VirtualClock, World

_LIMIT_SECONDS = 60_000.0
_QUIET_SECONDS = 1500.0  # after the last run has ended: what was left behind would show
_LOG_STREAMS = 64, 64, 64, 1, 64, 64, 64, 0  # of each process in turn: most follow all logs, some poll them


@dataclass
class Outcome:
    """What one seed gave."""

    seed: int
    broken: dict[str, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    virtual_seconds: float = 0.0
    runs: int = 0
    tries: int = 0


class Simulation:
    """The parts of one world."""

    def __init__(self, seed: int, plan: scenario.Scenario | None = None, *, verbose: bool = False) -> None:
        """`plan` replaces the scenario that the seed chooses."""
        self.world = World(seed, verbose=verbose)
        self.plan = plan or with_closed_runs(scenario.choose(self.world.random), seed)
        self.server = ApiServer(self.world)
        self.logs = PodLogs(self.world)
        self.truth = Truth(self.world)
        self.network = Network(self.world)
        self.threads = Threads(self.world)
        self.bucket = Bucket(self.world, self.threads)
        self.cluster = Cluster(self.world, self.server, self.logs, self.plan.nodes, self.truth.program_of)
        self.truth.cluster = self.cluster
        self.disruptions = Disruptions(self.world, self.server, self.cluster)
        self.jobs = JobController(self.world, self.server)
        self.garbage = GarbageCollector(self.world, self.server)
        self.queue = Queue(self.world, self.server, self.plan.queue_slots)
        self.watchdog = Watchdog(self)
        self.forecasts = ForecastWatchdog(self)
        self.sweep_watchdog = SweepWatchdog(self)
        self.restart_seconds = 0.0  # until the next leader starts; 0: a few seconds
        self._started = self.deaths = 0
        self.replicas: list[Replica] = []
        self._to_create = len(self.plan.runs) + (self.plan.sweep is not None)
        self._quiet_since = 0.0
        self._busy = self._runs_changed = True
        for plural in ("benchmarkruns", "benchmarksweeps"):
            self.server.listeners[plural].append(lambda _: self._note_change())
        self.server.listeners["pods"].append(self._pod_changed)
        if self.plan.sweep:
            prepare(self, self.plan.sweep)
        for _ in range(self.plan.replicas):
            self._start_replica()

    @property
    def leader(self) -> Replica:
        """The replica that works; any other if none does."""
        return next((r for r in self.replicas if r.leads), self.replicas[0])

    def _start_replica(self) -> None:
        self._started += 1
        name, lease = f"operator-{self._started}", self.plan.replicas > 1
        replica = Replica(
            self.world,
            self.network,
            self.server,
            self.logs,
            self.bucket,
            self.threads,
            name,
            lease=lease,
            log_streams=_LOG_STREAMS[(self.world.seed + self._started) % len(_LOG_STREAMS)],
        )
        replica.process.died = lambda: self._died(replica)
        replica.connection.on_write.append(self.watchdog.operator_writes)
        replica.connection.on_request.append(self.watchdog.requested)
        self.replicas.append(replica)
        self.world.say(name, "starts")
        replica.start()

    def _died(self, replica: Replica) -> None:
        """Its Deployment starts another one."""
        self.deaths += 1
        self.world.say(replica.process.name, f"is dead after {replica.process.steps} steps")
        for container in self.cluster.containers.values():
            if self.server.find("pods", *container.place) is None:
                self.truth.went_unseen(container.job_uid)  # by the next one
        seconds = self.restart_seconds or self.world.random.uniform(1, 20)
        self.restart_seconds = 0.0

        def start() -> None:
            self.replicas.remove(replica)
            self._start_replica()

        self.world.after(seconds, start)

    def disturbed(self, node: Node) -> None:
        """A node is about to be lost: what runs on it is disturbed."""
        for container in self.cluster.containers.values():
            if container.node is node and not container.removed:
                self.truth.disturb(container.job_uid, "node lost")

    def set_clock(self, node: Node, seconds: float) -> None:
        """Set the clock of a node ahead, or back: an attempt whose clock runs there has no time that anybody knows."""
        node.clock_offset += seconds
        node.steps.append((self.world.now, seconds))
        for container in self.cluster.containers.values():
            keys = {key for _, key, _ in container.printed}
            if container.node is node and "run_start" in keys and "run_stop" not in keys:
                self.truth.disturb(container.job_uid, "node clock set")

    def create_run(self, name: str, spec: dict[str, Any]) -> None:
        """A user creates a BenchmarkRun; again later if the old one of that name is still there."""
        if self.server.find("benchmarkruns", NAMESPACE, name):
            self.world.after(10.0, lambda: self.create_run(name, spec))
            return
        self.world.say("user", f"creates {name}: {spec}")
        body: Object = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun"}
        self.server.create("benchmarkruns", NAMESPACE, {**body, "metadata": {"name": name}, "spec": spec})

    def _create_planned(self, plan: scenario.RunPlan) -> None:
        self._to_create -= 1
        self.create_run(plan.name, plan.spec)

    def _create_planned_sweep(self, plan: scenario.SweepPlan) -> None:
        self._to_create -= 1
        create_sweep(self, plan.name, plan.spec)

    def active_runs(self) -> set[str]:
        """Return the uids of the runs that exist and have not ended."""
        return {
            run["metadata"]["uid"]
            for run in self.server.all("benchmarkruns")
            if not is_terminal(run.get("status") or {}) and "deletionTimestamp" not in run["metadata"]
        }

    def _is_quiet(self) -> bool:
        if self._runs_changed:
            self._runs_changed = False
            self._busy = bool(self._to_create or self.active_runs() or active_sweeps(self))
            self._quiet_since = self.world.now
        return not self._busy and self.world.now - self._quiet_since > _QUIET_SECONDS

    def _note_change(self) -> None:
        self._runs_changed = True

    def _pod_changed(self, change: Change) -> None:
        """A pod that goes while no watch is open may leave nothing that says why."""
        process = self.leader.process
        watched = not process.frozen and self.network.watches("pods", process)
        if change.type == "DELETED" and not watched:
            for owner in change.object["metadata"].get("ownerReferences", ()):
                self.truth.went_unseen(owner["uid"])

    def start(self) -> None:
        """Put the runs, the sweep and the faults of the plan on the calendar."""
        for plan in self.plan.runs:
            self.world.after(plan.at, lambda plan=plan: self._create_planned(plan))
        if sweep := self.plan.sweep:
            self.world.after(sweep.at, lambda: self._create_planned_sweep(sweep))
        for fault in self.plan.faults:
            self.world.after(fault.at, lambda fault=fault: faults.inject(self, fault))

    def run(self) -> Outcome:
        """Let the world run until every run and sweep has ended and everything is quiet; then check."""
        world = self.world
        self.start()
        world.run(self._is_quiet, _LIMIT_SECONDS)
        self.network.heal()  # with a slow API server, nobody may lead for long
        for replica in self.replicas:
            replica.process.dies_at_step = replica.process.freezes_at_step = None
        world.run(lambda: self.leader.leads and not self.leader.process.frozen, world.now + 6000.0)
        world.run(lambda: False, world.now + 60.0)
        for check in FINAL:
            if case := check(self):
                world.breaks(check.__name__, case)
        runs, tries = len({t.run_uid for t in self.truth.tries.values()}), len(self.truth.tries)
        return Outcome(world.seed, dict(world.broken), world.faults, world.now, runs, tries)


def run_seed(seed: int, *, verbose: bool = False) -> Outcome:
    """Run the world of one seed."""
    with opened(Simulation(seed, verbose=verbose)) as simulation:
        return simulation.run()


@contextmanager
def opened(simulation: Simulation) -> Iterator[Simulation]:
    """Make time and chance those of one world; collect what it leaves behind at the end."""
    _leave_imports_alone()
    seed = simulation.world.seed
    random.seed(seed)
    numbers = random.Random(seed + 1)
    gc.disable()  # what is left of a dead process is collected at the end, without a word
    try:
        with (
            VirtualClock(simulation.world),
            patched(simulation.bucket, with_sweeps=simulation.plan.sweep is not None),
            Stumbles(simulation.world),
            mock.patch.object(secrets, "randbits", numbers.getrandbits),
            mock.patch.object(secrets, "token_hex", lambda size=16: numbers.randbytes(size).hex()),
            mock.patch.object(secrets, "token_bytes", lambda size=16: numbers.randbytes(size)),
        ):
            yield simulation
    finally:
        simulation.threads.close()
        del simulation
        _collect()


@cache
def _leave_imports_alone() -> None:
    """Keep the collector from visiting the modules after every seed."""
    rounds()
    gc.collect()
    gc.freeze()


def _silent(_: object) -> None:
    """Report nothing."""


def _collect() -> None:
    """Collect the coroutines of processes that were killed; they complain that they were never finished."""
    with warnings.catch_warnings(), mock.patch.object(sys, "unraisablehook", _silent):
        warnings.simplefilter("ignore")
        logging.disable()
        gc.enable()
        gc.collect()
        logging.disable(logging.NOTSET)
