"""The Prometheus metrics of the operator.

The series of a run are made at the scrape from what is in memory: they cannot go stale and vanish with the run.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from podium.api import ConditionType
from podium.metrics.sample import STATES, RunSample
from podium.reconcile import Run

_RUN = ("namespace", "run", "benchmark")
# name -> (help, value of a sample)
_GAUGES: dict[str, tuple[str, Callable[[RunSample], float | None]]] = {
    "podium_run_attempt": ("Number of the attempt in progress, from 1.", lambda s: s.attempt),
    "podium_run_epoch": ("Epoch of the attempt in progress.", lambda s: s.epoch),
    "podium_run_samples_processed": ("Training samples processed by the attempt in progress.", lambda s: s.samples),
    "podium_run_samples_per_second": ("Training throughput as the trainer reports it.", lambda s: s.samples_per_second),
    "podium_run_progress_ratio": ("Share of the attempt's epochs that are done, 0 to 1.", lambda s: s.progress),
    "podium_run_elapsed_seconds": ("Time since run_start of the attempt in progress.", lambda s: s.elapsed),
    "podium_run_eta_seconds": (
        "Time until the attempt has used its epochs; it may converge earlier.",
        lambda s: s.remaining,
    ),
    "podium_run_progress_last_update_timestamp_seconds": ("Unix time of the last MLPerf line.", lambda s: s.updated),
    "podium_run_time_to_train_seconds": ("Score of the finished run: olympic mean.", lambda s: s.time_to_train),
}


class RunCollector(Collector):
    """The progress series of every run."""

    def __init__(self, samples: Callable[[], Iterable[RunSample]]) -> None:
        self._samples = samples

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families([])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families(list(self._samples()))

    def _families(self, samples: list[RunSample]) -> Iterator[GaugeMetricFamily]:
        for name, (text, value) in _GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=_RUN)
            for sample in samples:
                number = value(sample)
                if number is not None:
                    family.add_metric(_labels(sample.run), number)
            yield family
        yield from self._qualities(samples)
        yield self._infos(samples)
        yield self._attempts(samples)
        yield self._runs(samples)

    @staticmethod
    def _qualities(samples: list[RunSample]) -> Iterator[GaugeMetricFamily]:
        quality = GaugeMetricFamily(
            "podium_run_quality", "Last evaluation of the attempt in progress.", labels=(*_RUN, "metric")
        )
        target = GaugeMetricFamily(
            "podium_run_quality_target", "Quality at which the clock stops.", labels=(*_RUN, "metric")
        )
        for sample in samples:
            single = next(iter(sample.target)) if len(sample.target) == 1 else None
            for metric, value in sample.quality.items():
                quality.add_metric([*_labels(sample.run), single or metric], value)
            for metric, value in sample.target.items():
                target.add_metric([*_labels(sample.run), metric], value)
        yield quality
        yield target

    @staticmethod
    def _infos(samples: list[RunSample]) -> GaugeMetricFamily:
        labels = (*_RUN, "suite", "division", "system", "accelerator", "nodes")
        family = GaugeMetricFamily("podium_run_info", "Identity of a run; always 1.", labels=labels)
        for sample in samples:
            spec = sample.run.spec
            system = spec.system
            accelerator = system.accelerator_resource if system.accelerators_per_node else "none"
            more = [spec.suite, spec.division, system.name, accelerator, str(system.nodes)]
            family.add_metric([*_labels(sample.run), *more], 1)
        return family

    @staticmethod
    def _attempts(samples: list[RunSample]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "podium_run_attempts", "Tries of the run's attempts by state.", labels=(*_RUN, "state")
        )
        for sample in samples:
            for state, count in sample.attempts.items():
                family.add_metric([*_labels(sample.run), state], count)
        return family

    @staticmethod
    def _runs(samples: list[RunSample]) -> GaugeMetricFamily:
        family = GaugeMetricFamily("podium_runs", "Runs by state.", labels=("namespace", "benchmark", "state"))
        tally = Tally((s.run.namespace, s.run.spec.benchmark, s.state) for s in samples)
        for namespace, benchmark in sorted({(s.run.namespace, s.run.spec.benchmark) for s in samples}):
            for state in STATES:
                family.add_metric([namespace, benchmark, state], tally[namespace, benchmark, state])
        return family


class Metrics:
    """Everything that is counted, in a registry of its own."""

    def __init__(self, samples: Callable[[], Iterable[RunSample]], queue_depth: Callable[[], float]) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(RunCollector(samples))
        info = Gauge("podium_build_info", "Versions; always 1.", ["version", "python", "kopf"], registry=registry)
        info.labels(version("podium-operator"), platform.python_version(), version("kopf")).set(1)
        self._runs_finished = Counter(
            "podium_runs_finished",
            "Runs that came to their end.",
            ["namespace", "benchmark", "result"],
            registry=registry,
        )
        self._reconciles = Counter("podium_reconcile", "Reconciliations.", ["result"], registry=registry)
        self._reconcile_seconds = Histogram(
            "podium_reconcile_duration_seconds", "Time of a reconciliation.", registry=registry
        )
        self._requests = Counter(
            "podium_kube_api_requests", "Requests to the API server.", ["verb", "resource", "code"], registry=registry
        )
        self._request_seconds = Histogram(
            "podium_kube_api_request_duration_seconds",
            "Time of a request to the API server.",
            ["verb"],
            registry=registry,
        )
        self._uploads = Counter("podium_result_upload", "Uploads to the result store.", ["result"], registry=registry)
        self._upload_seconds = Histogram(
            "podium_result_upload_duration_seconds", "Time of an upload.", registry=registry
        )
        self._watch = Gauge(
            "podium_watch_last_event_timestamp_seconds",
            "Unix time of the last watch event.",
            ["resource"],
            registry=registry,
        )
        self._leader = Gauge("podium_leader", "1 on the replica that leads.", registry=registry)
        depth = Gauge("podium_queue_depth", "Runs waiting for or in reconciliation.", registry=registry)
        depth.set_function(queue_depth)

    def page(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)

    def leads(self, *, leads: bool) -> None:
        self._leader.set(leads)

    def watch_event(self, resource: str) -> None:
        self._watch.labels(resource).set_to_current_time()

    def reconciled(self, outcome: str, seconds: float) -> None:
        self._reconciles.labels(outcome).inc()
        self._reconcile_seconds.observe(seconds)

    def finished(self, run: Run) -> None:
        failed = run.status.condition(ConditionType.FAILED)
        result = failed.reason if failed and failed.status == "True" else "Complete"
        self._runs_finished.labels(run.namespace, run.spec.benchmark, result).inc()

    def request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self._requests.labels(verb, resource, str(code)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def uploaded(self, outcome: str, seconds: float) -> None:
        self._uploads.labels(outcome).inc()
        self._upload_seconds.observe(seconds)


def _labels(run: Run) -> list[str]:
    return [run.namespace, run.name, run.spec.benchmark]
