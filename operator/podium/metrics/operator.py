"""Everything that is counted: totals of the fleet, which outlive the runs, and the health of the operator.

The totals begin at 0 with each operator that leads, as Prometheus expects of counters: ``increase()`` joins them. What
is counted is counted once, by the operator that led at that time.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from podium.api import PLURAL, AttemptState, BenchmarkRunStatus, ConditionType
from podium.metrics import runs
from podium.metrics.families import Family
from podium.metrics.phases import PHASES, phases
from podium.metrics.sample import RunSample, node_seconds
from podium.reconcile import Container, Observed, ObservedLog, Run

_WATCHED = (PLURAL, "jobs", "pods")
_FLEET = ("namespace", "benchmark")
_RESULTS = ("Complete", "ResultInvalid", "AttemptFailed", "InvalidSpec", "LaunchRefused", "Aborted")
_PHASE_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 48 * 3600)

_BUILD = Family("podium_build_info", "Versions; always 1.", ("version", "python", "kopf"))
_LEADER = Family("podium_leader", "1 on the replica that leads.")
_DEPTH = Family("podium_queue_depth", "Runs waiting for or in reconciliation.")
_WATCH = Family(
    "podium_watch_last_event_timestamp_seconds",
    "Unix time at which a watch was last known to be alive: an event, a bookmark, or a list without news.",
    ("resource",),
)
_RUNS_FINISHED = Family(
    "podium_runs_finished_total",
    "Runs that came to their end, by Complete, the reason of Failed, or Aborted (deleted before their end).",
    (*_FLEET, "result"),
    "counter",
)
_ATTEMPTS_FINISHED = Family(
    "podium_attempts_finished_total",
    "Tries of attempts that came to their end, by state.",
    (*_FLEET, "state"),
    "counter",
)
_PHASE_SECONDS = Family(
    "podium_attempt_phase_duration_seconds",
    "Time of each phase of the tries that came to their end: pending, init, train, eval.",
    ("benchmark", "phase"),
    "histogram",
)
_NODE_SECONDS = Family("podium_node_seconds_total", "Time for which pods of runs held nodes.", _FLEET, "counter")
_ACCELERATOR_SECONDS = Family(
    "podium_accelerator_seconds_total",
    "Time for which pods of runs held accelerators; 3600 are one GPU hour.",
    (*_FLEET, "accelerator"),
    "counter",
)
_COST = Family(
    "podium_cost_total", "Node time of runs at the price of their spec.pricing.", (*_FLEET, "currency"), "counter"
)
_ENERGY = Family(
    "podium_energy_joules_total",
    "Energy of the tries that came to their end, as their logs tell it.",
    _FLEET,
    "counter",
)
_RECONCILES = Family("podium_reconcile_total", "Reconciliations.", ("result",), "counter")
_RECONCILE_SECONDS = Family("podium_reconcile_duration_seconds", "Time of a reconciliation.", (), "histogram")
_REQUESTS = Family(
    "podium_kube_api_requests_total",
    "Requests to the API server; code 0 is one that got no answer.",
    ("verb", "resource", "code"),
    "counter",
)
_REQUEST_SECONDS = Family(
    "podium_kube_api_request_duration_seconds", "Time of a request to the API server.", ("verb",), "histogram"
)
_UPLOADS = Family("podium_result_upload_total", "Uploads to the result store.", ("result",), "counter")
_UPLOAD_SECONDS = Family("podium_result_upload_duration_seconds", "Time of an upload.", (), "histogram")

_FAMILIES = (
    _BUILD, _LEADER, _DEPTH, _WATCH, _RUNS_FINISHED, _ATTEMPTS_FINISHED, _PHASE_SECONDS, _NODE_SECONDS,
    _ACCELERATOR_SECONDS, _COST, _ENERGY, _RECONCILES, _RECONCILE_SECONDS, _REQUESTS, _REQUEST_SECONDS, _UPLOADS,
    _UPLOAD_SECONDS,
)  # fmt: skip

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, which nothing reads


def reference() -> tuple[Family, ...]:
    """Every metric of Podium's own; ``process_*`` of the operator's process come on top."""
    return (*runs.FAMILIES, *_FAMILIES)


class Metrics:
    """What the operator tells Prometheus."""

    def __init__(self, samples: Callable[[], Iterable[RunSample]], queue_depth: Callable[[], float]) -> None:
        self._samples = samples
        self._since = time.time()  # nothing before is counted here: another operator led
        self._counted: dict[str, float] = {}  # by uid of a run, the node seconds of it that are counted
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = _gauge(_BUILD, registry)
        build.labels(version("podium-operator"), platform.python_version(), version("kopf")).set(1)
        self._leader = _gauge(_LEADER, registry)
        _gauge(_DEPTH, registry).set_function(queue_depth)
        self._watch = _gauge(_WATCH, registry)
        self._runs_finished = _counter(_RUNS_FINISHED, registry)
        self._attempts_finished = _counter(_ATTEMPTS_FINISHED, registry)
        self._phase_seconds = _histogram(_PHASE_SECONDS, registry, _PHASE_BUCKETS)
        self._node_seconds = _counter(_NODE_SECONDS, registry)
        self._accelerator_seconds = _counter(_ACCELERATOR_SECONDS, registry)
        self._cost = _counter(_COST, registry)
        self._energy = _counter(_ENERGY, registry)
        self._reconciles = _counter(_RECONCILES, registry)
        self._reconcile_seconds = _histogram(_RECONCILE_SECONDS, registry)
        self._requests = _counter(_REQUESTS, registry)
        self._request_seconds = _histogram(_REQUEST_SECONDS, registry)
        self._uploads = _counter(_UPLOADS, registry)
        self._upload_seconds = _histogram(_UPLOAD_SECONDS, registry)
        for outcome in ("success", "error"):  # a counter that begins at 1 has no increase
            self._reconciles.labels(outcome)
            self._uploads.labels(outcome)

    def page(self) -> bytes:
        """The text exposition."""
        return b"".join([*runs.exposition(list(self._samples())), generate_latest(self.registry)])

    # ---- the fleet ----

    def occupied(self, run: Run, containers: Iterable[Container], now: float) -> None:
        """Count the time for which all the `containers` that the run ever had held their nodes until `now`."""
        if run.uid not in self._counted:
            self._begin(run)
        known = self._counted[run.uid]
        held = node_seconds(containers, now, self._since)
        if held <= known:  # a container's end may be told later than it was
            return
        self._counted[run.uid] = held
        place, system = (run.namespace, run.spec.benchmark), run.spec.system
        self._node_seconds.labels(*place).inc(held - known)
        if system.accelerators_per_node:
            seconds = (held - known) * system.accelerators_per_node
            self._accelerator_seconds.labels(*place, system.accelerator_resource).inc(seconds)
        if pricing := run.spec.pricing:
            self._cost.labels(*place, pricing.currency).inc((held - known) / 3600 * float(pricing.per_node_hour))

    def _begin(self, run: Run) -> None:
        """Show the run's counters at 0 before anything of it is counted: one that begins at 1 has no increase."""
        self._counted[run.uid] = 0.0
        place, system = (run.namespace, run.spec.benchmark), run.spec.system
        for result in _RESULTS:
            self._runs_finished.labels(*place, result)
        for state in AttemptState:
            if state.finished:
                self._attempts_finished.labels(*place, state)
        for phase in PHASES:
            self._phase_seconds.labels(run.spec.benchmark, phase)
        self._node_seconds.labels(*place)
        self._energy.labels(*place)
        if system.accelerators_per_node:
            self._accelerator_seconds.labels(*place, system.accelerator_resource)
        if run.spec.pricing:
            self._cost.labels(*place, run.spec.pricing.currency)

    def moved(self, before: BenchmarkRunStatus, run: Run, observed: Observed, now: float) -> None:
        """Count what has come to its end between the status `before` and the run's status."""
        place = (run.namespace, run.spec.benchmark)
        finished_before = {a.id for a in before.attempts if a.state.finished}
        for attempt in run.status.attempts:
            if not attempt.state.finished or attempt.id in finished_before:
                continue
            self._attempts_finished.labels(*place, attempt.state).inc()
            self._energy.labels(*place).inc(float(attempt.energy_joules or 0))
            job = observed.jobs.get(attempt.id)
            summary = observed.logs.get(attempt.id, ObservedLog()).summary
            containers, nodes = job.containers if job else (), run.spec.system.nodes
            for phase, seconds in phases(attempt, containers, summary, nodes=nodes, now=now).items():
                self._phase_seconds.labels(run.spec.benchmark, phase).observe(seconds)
        if run.status.terminal and not before.terminal:
            failed = run.status.condition(ConditionType.FAILED)
            result = failed.reason if failed and failed.status == "True" else "Complete"
            self._runs_finished.labels(*place, result).inc()

    def gone(self, run: Run) -> None:
        """The run was deleted, and nothing of it is left to do."""
        self._counted.pop(run.uid, None)
        if not run.status.terminal:
            self._runs_finished.labels(run.namespace, run.spec.benchmark, "Aborted").inc()

    # ---- the operator ----

    def leads(self, *, leads: bool) -> None:
        self._leader.set(leads)
        if leads:
            self._since = time.time()
            for resource in _WATCHED:  # a watch that never comes to life has an age, too
                self.watch_event(resource)

    def watch_event(self, resource: str) -> None:
        self._watch.labels(resource).set_to_current_time()

    def reconciled(self, outcome: str, seconds: float) -> None:
        self._reconciles.labels(outcome).inc()
        self._reconcile_seconds.observe(seconds)

    def request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self._requests.labels(verb, resource, str(code)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def uploaded(self, outcome: str, seconds: float) -> None:
        self._uploads.labels(outcome).inc()
        self._upload_seconds.observe(seconds)


def _gauge(family: Family, registry: CollectorRegistry) -> Gauge:
    return Gauge(family.name, family.help, family.labels, registry=registry)


def _counter(family: Family, registry: CollectorRegistry) -> Counter:
    return Counter(family.name, family.help, family.labels, registry=registry)


def _histogram(
    family: Family, registry: CollectorRegistry, buckets: tuple[float, ...] = Histogram.DEFAULT_BUCKETS
) -> Histogram:
    return Histogram(family.name, family.help, family.labels, registry=registry, buckets=buckets)
