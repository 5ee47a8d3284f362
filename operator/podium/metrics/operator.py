"""Everything that is counted: fleet totals, which outlive the runs, and the health of the operator.

The totals restart at 0 with each leading operator, as Prometheus expects of counters: ``increase()`` joins them. Every
event is counted once, by the operator that led at the time. A scrape counts nothing. Some time after the last run of a
namespace and benchmark was deleted, their series end.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import AsyncIterator, Callable, Iterable
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from podium.api import PLURAL, AttemptState, BenchmarkRunStatus, ConditionType, Reason
from podium.metrics import runs
from podium.metrics.families import Family
from podium.metrics.label_sets import LabelSet, LabelSets
from podium.metrics.phases import PHASES, phases
from podium.metrics.sample import FinishedSample, RunSample, node_seconds
from podium.reconcile import Container, Observed, ObservedLog, Run

_WATCHED = (PLURAL, "jobs", "pods")
_PAGE_SECONDS = 1.0  # at most one page is made in this time
_BATCH = 50  # runs between two turns of everything else
_FLEET = ("namespace", "benchmark")
_UNKNOWN = "Unknown"  # the reason in a status that somebody else wrote
_RESULTS = (Reason.COMPLETE, *(reason for reason in Reason if ConditionType.FAILED in reason.true), Reason.ABORTED)
_PHASE_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 48 * 3600)

_BUILD = Family("podium_build_info", "Versions, as labels; always 1.", ("version", "python", "kopf"))
_LEADER = Family("podium_leader", "1 on the replica that leads.")
_DEPTH = Family("podium_queue_depth", "Runs waiting for or in reconciliation.")
_KNOWN = Family("podium_runs_known", "Runs that the watch has shown and that were not deleted since.")
_WATCH = Family(
    "podium_watch_last_event_timestamp_seconds",
    "Unix time at which a watch was last known to be alive: an event, a bookmark, or an unchanged list.",
    ("resource",),
)
_RUNS_FINISHED = Family(
    "podium_runs_finished_total",
    "Runs that ended, by result: Complete, the reason for Failed, or Aborted (deleted before their end).",
    (*_FLEET, "result"),
    "counter",
)
_ATTEMPTS_FINISHED = Family(
    "podium_attempts_finished_total",
    "Tries of attempts that ended, by state.",
    (*_FLEET, "state"),
    "counter",
)
_PHASE_SECONDS = Family(
    "podium_attempt_phase_duration_seconds",
    "Duration of each phase (pending, init, train, eval) of the tries that ended.",
    ("benchmark", "phase"),
    "histogram",
    _PHASE_BUCKETS,
)
_NODE_SECONDS = Family("podium_node_seconds_total", "Time for which runs' pods held nodes.", _FLEET, "counter")
_ACCELERATOR_SECONDS = Family(
    "podium_accelerator_seconds_total",
    "Time for which runs' pods held accelerators; 3600 is one GPU hour.",
    (*_FLEET, "accelerator"),
    "counter",
)
_COST = Family(
    "podium_cost_total", "Cost of the runs' node time, at the prices in spec.pricing.", (*_FLEET, "currency"), "counter"
)
_ENERGY = Family(
    "podium_energy_joules_total",
    "Energy used by the tries that ended, as reported in their logs.",
    _FLEET,
    "counter",
)
_RECONCILES = Family("podium_reconcile_total", "Reconciliations.", ("result",), "counter")
_RECONCILE_SECONDS = Family("podium_reconcile_duration_seconds", "Duration of a reconciliation.", (), "histogram")
_REQUESTS = Family(
    "podium_kube_api_requests_total",
    "Requests to the API server; code 0: no response.",
    ("verb", "resource", "code"),
    "counter",
)
_REQUEST_SECONDS = Family(
    "podium_kube_api_request_duration_seconds", "Duration of a request to the API server.", ("verb",), "histogram"
)
_IGNORED = Family(
    "podium_ignored_objects_total",
    "Objects that were ignored: foreign (with the label of a run that does not own them) or unreadable.",
    ("resource", "reason"),
    "counter",
)
_UPLOADS = Family("podium_result_upload_total", "Uploads to the result store.", ("result",), "counter")
_UPLOAD_SECONDS = Family("podium_result_upload_duration_seconds", "Duration of an upload.", (), "histogram")

FAMILIES = (
    _BUILD, _LEADER, _DEPTH, _KNOWN, _WATCH, _RUNS_FINISHED, _ATTEMPTS_FINISHED, _PHASE_SECONDS, _NODE_SECONDS,
    _ACCELERATOR_SECONDS, _COST, _ENERGY, _RECONCILES, _RECONCILE_SECONDS, _REQUESTS, _REQUEST_SECONDS, _IGNORED,
    _UPLOADS, _UPLOAD_SECONDS,
)  # fmt: skip

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter, which nothing reads


def reference() -> tuple[Family, ...]:
    """Return every metric of Podium; the page also contains ``process_*`` for the operator's process."""
    return (*runs.FAMILIES, *FAMILIES)


class Metrics:
    """The metrics that Prometheus reads from the operator."""

    def __init__(
        self,
        samples: Callable[[], Iterable[RunSample | FinishedSample]],
        queue_depth: Callable[[], float],
        runs_known: Callable[[], float] = lambda: 0,
    ) -> None:
        self._samples = samples
        self._page = b""
        self._made_at = -_PAGE_SECONDS  # time.monotonic()
        self._making: asyncio.Task[bytes] | None = None
        self._since = time.time()  # nothing before this is counted here: another operator led
        self._counted: dict[str, float] = {}  # by uid of a run, its node seconds that have been counted
        self._label_sets = LabelSets(self._remove)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._series: dict[tuple[str, tuple[str, ...]], Any] = {}  # by family and labels: the library looks slowly
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for family in FAMILIES:
            self._register(family)
        self._gauge(_BUILD, version("podium-operator"), platform.python_version(), version("kopf")).set(1)
        self._gauge(_DEPTH).set_function(queue_depth)
        self._gauge(_KNOWN).set_function(runs_known)
        for outcome in ("success", "error"):  # a counter that starts at 1 shows no increase
            self._counter(_RECONCILES, outcome)
            self._counter(_UPLOADS, outcome)
        for resource in _WATCHED:
            for reason in ("foreign", "unreadable"):
                self._counter(_IGNORED, resource, reason)

    def _register(self, family: Family) -> None:
        name, text, labels = family.name, family.help, family.labels
        match family.type:
            case "gauge":
                self._gauges[name] = Gauge(name, text, labels, registry=self.registry)
            case "counter":
                self._counters[name] = Counter(name, text, labels, registry=self.registry)
            case "histogram":
                buckets = family.buckets or Histogram.DEFAULT_BUCKETS
                self._histograms[name] = Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def _gauge(self, family: Family, *labels: str) -> Gauge:
        gauge: Gauge = self._child(self._gauges[family.name], family, labels)
        return gauge

    def _counter(self, family: Family, *labels: str) -> Counter:
        """Return the series with these labels, creating it at 0."""
        counter: Counter = self._child(self._counters[family.name], family, labels)
        return counter

    def _histogram(self, family: Family, *labels: str) -> Histogram:
        histogram: Histogram = self._child(self._histograms[family.name], family, labels)
        return histogram

    def _child(self, metric: Any, family: Family, labels: tuple[str, ...]) -> Any:
        if not labels:
            return metric
        if (series := self._series.get((family.name, labels))) is None:
            series = self._series[family.name, labels] = metric.labels(*labels)
        return series

    async def page(self) -> bytes:
        """Return the metrics in Prometheus' text format, at most a second old: concurrent scrapes share a page."""
        if self._making is None:
            if time.monotonic() - self._made_at < _PAGE_SECONDS:
                return self._page
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        try:
            self._made_at = time.monotonic()
            self._page = b"".join([part async for part in self._parts()])
            return self._page
        finally:
            self._making = None

    async def _parts(self) -> AsyncIterator[bytes]:
        """Yield the parts of the page; everything else gets a turn between the steps."""
        page = runs.Page()
        for number, sample in enumerate(self._samples(), 1):
            page.add(sample)
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        for part in page.parts():
            yield part
        self._label_sets.expire()
        for metric in self.registry.collect():
            await asyncio.sleep(0)
            yield generate_latest(_Collected(metric))

    # ---- the fleet ----

    def occupied(self, run: Run, containers: Iterable[Container], now: float) -> None:
        """Count the time for which the run's `containers`, past ones included, held their nodes until `now`."""
        labels = self._labels(run)
        known = self._counted.get(run.uid, 0.0)
        held = node_seconds(containers, now, self._since)
        if held <= known:  # the end of a container may become known only after the fact
            return
        self._counted[run.uid] = held
        place = labels.place
        self._counter(_NODE_SECONDS, *place).inc(held - known)
        if labels.accelerator:
            seconds = (held - known) * run.spec.system.accelerators_per_node
            self._counter(_ACCELERATOR_SECONDS, *place, labels.accelerator).inc(seconds)
        if (pricing := run.spec.pricing) and labels.currency:
            self._counter(_COST, *place, labels.currency).inc((held - known) / 3600 * float(pricing.per_node_hour))

    def _labels(self, run: Run) -> LabelSet:
        """Return the labels of the run's totals. New ones are created at 0: one that starts at 1 shows no increase."""
        if labels := self._label_sets.of(run.uid):
            return labels
        system, pricing = run.spec.system, run.spec.pricing
        asked = LabelSet(
            run.namespace,
            run.spec.benchmark,
            system.accelerator_resource if system.accelerators_per_node else "",
            pricing.currency if pricing else "",
        )
        labels = self._label_sets.take(run.uid, asked)
        place = labels.place
        for result in _RESULTS:
            self._counter(_RUNS_FINISHED, *place, result)
        for state in AttemptState:
            if state.finished:
                self._counter(_ATTEMPTS_FINISHED, *place, state)
        for phase in PHASES:
            self._histogram(_PHASE_SECONDS, labels.benchmark, phase)
        self._counter(_NODE_SECONDS, *place)
        self._counter(_ENERGY, *place)
        if labels.accelerator:
            self._counter(_ACCELERATOR_SECONDS, *place, labels.accelerator)
        if labels.currency:
            self._counter(_COST, *place, labels.currency)
        return labels

    def _remove(self, gone: LabelSet) -> None:
        """Remove the series of a label set that no run has had for a while, except for those that others share."""
        known, place = self._label_sets.known(), gone.place
        if not any(labels[:3] == gone[:3] for labels in known):
            self._forget(_ACCELERATOR_SECONDS, *place, gone.accelerator)
        if not any((labels.place, labels.currency) == (place, gone.currency) for labels in known):
            self._forget(_COST, *place, gone.currency)
        if not any(labels.place == place for labels in known):
            for result in (*Reason, _UNKNOWN):
                self._forget(_RUNS_FINISHED, *place, result)
            for state in AttemptState:
                self._forget(_ATTEMPTS_FINISHED, *place, state)
            self._forget(_NODE_SECONDS, *place)
            self._forget(_ENERGY, *place)
        if not any(labels.benchmark == gone.benchmark for labels in known):
            for phase in PHASES:
                self._forget(_PHASE_SECONDS, gone.benchmark, phase)

    def _forget(self, family: Family, *labels: str) -> None:
        metric = self._histograms[family.name] if family.type == "histogram" else self._counters[family.name]
        self._series.pop((family.name, labels), None)
        with contextlib.suppress(KeyError):
            metric.remove(*labels)

    def moved(self, before: BenchmarkRunStatus, run: Run, observed: Observed, now: float) -> None:
        """Count what ended between the status `before` and the run's status."""
        labels = self._labels(run)
        place = labels.place
        finished_before = {a.id for a in before.attempts if a.state.finished}
        for attempt in run.status.attempts:
            if not attempt.state.finished or attempt.id in finished_before:
                continue
            self._counter(_ATTEMPTS_FINISHED, *place, attempt.state).inc()
            self._counter(_ENERGY, *place).inc(float(attempt.energy_joules or 0))
            job = observed.jobs.get(attempt.id)
            summary = observed.logs.get(attempt.id, ObservedLog()).summary
            containers, nodes = job.containers if job else (), run.spec.system.nodes
            for phase, seconds in phases(attempt, containers, summary, nodes=nodes, now=now).items():
                self._histogram(_PHASE_SECONDS, labels.benchmark, phase).observe(seconds)
        if run.status.terminal and not before.terminal:
            failed = run.status.condition(ConditionType.FAILED)
            reason = Reason.known(failed.reason) if failed and failed.status == "True" else Reason.COMPLETE
            self._counter(_RUNS_FINISHED, *place, reason or _UNKNOWN).inc()

    def gone(self, run: Run) -> None:
        """Handle a deleted run for which nothing is left to do."""
        if not run.status.terminal:
            self._counter(_RUNS_FINISHED, *self._labels(run).place, Reason.ABORTED.value).inc()
        self.forget(run.uid)

    def forget(self, uid: str) -> None:
        """Handle a run that has ended and is deleted."""
        self._counted.pop(uid, None)
        self._label_sets.release(uid)

    # ---- the operator ----

    def leads(self, *, leads: bool) -> None:
        self._gauge(_LEADER).set(leads)
        if leads:
            self._since = time.time()
            for resource in _WATCHED:  # so that a watch that never starts also has an age
                self.watch_event(resource)

    def watch_event(self, resource: str) -> None:
        self._gauge(_WATCH, resource).set_to_current_time()

    def ignored(self, resource: str, reason: str) -> None:
        self._counter(_IGNORED, resource, reason).inc()

    def reconciled(self, outcome: str, seconds: float) -> None:
        self._counter(_RECONCILES, outcome).inc()
        self._histogram(_RECONCILE_SECONDS).observe(seconds)

    def request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self._counter(_REQUESTS, verb, resource, str(code)).inc()
        self._histogram(_REQUEST_SECONDS, verb).observe(seconds)

    def uploaded(self, outcome: str, seconds: float) -> None:
        self._counter(_UPLOADS, outcome).inc()
        self._histogram(_UPLOAD_SECONDS).observe(seconds)


class _Collected(Collector):
    """One metric that was collected before, to be written by itself."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)
