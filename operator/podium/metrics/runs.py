"""The series of each run, written for each page from memory: they cannot go stale, and disappear with the run.

A thousand runs have thirty thousand lines. The client library would create an object for each line, which takes ten
times as long as writing it and blocks the operator; so these lines, all of them gauges, are written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from podium.metrics.families import RUN_LABELS, Family, Values
from podium.metrics.sample import STATES, FinishedSample, RunSample


def _gauge(name: str, text: str, value: Callable[[RunSample], float | None]) -> Family:
    return Family(name, text, RUN_LABELS, values=lambda sample: (((), value(sample)),))


def _gauges(name: str, text: str, labels: tuple[str, ...], values: Callable[[RunSample], Values]) -> Family:
    return Family(name, text, (*RUN_LABELS, *labels), values=values)


def _info(sample: RunSample) -> Values:
    spec = sample.run.spec
    system = spec.system
    accelerator = system.accelerator_resource if system.accelerators_per_node else "none"
    return (((spec.round, spec.division, system.name, accelerator, str(system.nodes)), 1),)


def _cost(sample: RunSample) -> Values:
    pricing = sample.run.spec.pricing
    return (((pricing.currency,), sample.cost),) if pricing else ()


_RUNS = Family("podium_runs", "Runs, by state.", ("namespace", "benchmark", "state"))
_SCORE = _gauge(
    "podium_run_time_to_train_seconds",
    "Score of the finished run: olympic mean. The other series of a run end ten minutes after it.",
    lambda s: s.time_to_train,
)
_RATE = _gauge(
    "podium_run_rate_samples_per_second",
    "Score of the finished run with spec.measure: the geometric mean of its attempts' rates. Kept like "
    "podium_run_time_to_train_seconds.",
    lambda s: s.rate,
)
FAMILIES = (
    _RUNS,
    _gauges(
        "podium_run_info",
        "Identity of a run; always 1.",
        ("round", "division", "system", "accelerator", "nodes"),
        _info,
    ),
    _gauges(
        "podium_run_attempts",
        "Tries of the run's attempts, by state; Preempted: their machines were taken, which costs no retry.",
        ("state",),
        lambda s: (((state,), count) for state, count in s.attempts.items()),
    ),
    _gauge("podium_run_attempts_planned", "Attempts that the run will make.", lambda s: s.planned),
    _gauge("podium_run_attempt", "Number of the current attempt, starting at 1.", lambda s: s.attempt),
    _gauge("podium_run_epoch", "Epoch of the current attempt.", lambda s: s.epoch),
    _gauge("podium_run_samples_processed", "Training samples processed by the current attempt.", lambda s: s.samples),
    _gauge(
        "podium_run_samples_per_second",
        "Training throughput, as reported by the trainer.",
        lambda s: s.samples_per_second,
    ),
    _gauge("podium_run_progress_ratio", "Ratio of the attempt's epochs that are done, 0 to 1.", lambda s: s.progress),
    _gauge("podium_run_elapsed_seconds", "Time since run_start of the current attempt.", lambda s: s.elapsed),
    _gauge(
        "podium_run_eta_seconds",
        "Time until the current attempt reaches its maximum number of epochs; it may converge earlier.",
        lambda s: s.remaining,
    ),
    _gauge(
        "podium_run_progress_last_update_timestamp_seconds", "Unix time of the last MLPerf line.", lambda s: s.updated
    ),
    _gauges(
        "podium_run_phase_seconds",
        "Duration of each phase of the current attempt: pending (until all its pods are running), init (until "
        "run_start), train, eval.",
        ("phase",),
        lambda s: (((phase,), seconds) for phase, seconds in s.phases.items()),
    ),
    _gauges(
        "podium_run_quality",
        "Quality at the last evaluation of the current attempt.",
        ("metric",),
        lambda s: (((metric,), value) for metric, value in s.quality.items()),
    ),
    _gauges(
        "podium_run_quality_target",
        "Quality at which the clock stops.",
        ("metric",),
        lambda s: (((metric,), value) for metric, value in s.target.items()),
    ),
    _gauges(
        "podium_run_attempt_time_to_train_seconds",
        "Time to train of each converged attempt.",
        ("attempt",),
        lambda s: (((str(attempt),), seconds) for attempt, seconds in s.converged.items()),
    ),
    _SCORE,
    _RATE,
    _gauge("podium_run_node_seconds", "Time for which the run's pods have held their nodes.", lambda s: s.node_seconds),
    _gauge(
        "podium_run_accelerator_seconds",
        "Time for which the run's pods have held their accelerators; absent for runs on CPUs.",
        lambda s: s.accelerator_seconds,
    ),
    _gauges(
        "podium_run_cost",
        "Cost of the run's node time so far, at the price in spec.pricing.",
        ("currency",),
        _cost,
    ),
    _gauge(
        "podium_run_energy_joules",
        "Energy used by the run's tries so far, if reported in their logs.",
        lambda s: s.energy_joules,
    ),
    _gauge(
        "podium_run_unstored_since_timestamp_seconds",
        "Unix time at which the oldest attempt ended that is not completely in the result store.",
        lambda s: s.unstored_since,
    ),
)


class Page:
    """The series of all runs in Prometheus' text format, made run by run: the lines of a metric must stand together."""

    def __init__(self) -> None:
        self._tally: Counter[tuple[str, str, str]] = Counter()  # of namespace, benchmark, state
        self._families = tuple(family for family in FAMILIES if family.values is not None)
        self._lines: tuple[list[str], ...] = tuple(_head(family) for family in self._families)

    def add(self, sample: RunSample | FinishedSample) -> None:
        """Add the series of a run. Of one that ended some time ago, only its score is left."""
        self._tally[sample.namespace, sample.benchmark, sample.state] += 1
        key = _pairs(RUN_LABELS, (sample.namespace, sample.name, sample.benchmark))
        if isinstance(sample, FinishedSample):
            for family, value in ((_SCORE, sample.time_to_train), (_RATE, sample.rate)):
                if value is not None:
                    self._lines[self._families.index(family)].append(f"{family.name}{{{key}}} {value}\n")
            return
        for family, lines in zip(self._families, self._lines, strict=True):
            assert family.values is not None
            more = family.labels[len(RUN_LABELS) :]
            for labels, value in family.values(sample):
                if value is not None:
                    further = f",{_pairs(more, labels)}" if more else ""
                    lines.append(f"{family.name}{{{key}{further}}} {value}\n")

    def parts(self) -> Iterator[bytes]:
        """Yield what was added, metric by metric."""
        yield "".join([*_head(_RUNS), *self._by_state()]).encode()
        for lines in self._lines:
            yield "".join(lines).encode()

    def _by_state(self) -> Iterator[str]:
        for namespace, benchmark in sorted({key[:2] for key in self._tally}):
            for state in STATES:
                labels = _pairs(_RUNS.labels, (namespace, benchmark, state))
                yield f"{_RUNS.name}{{{labels}}} {self._tally[namespace, benchmark, state]}\n"


def _head(family: Family) -> list[str]:
    return [f"# HELP {family.name} {family.help}\n", f"# TYPE {family.name} {family.type}\n"]


def _pairs(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)])


def _escaped(value: str) -> str:
    """Escape a label value: most are DNS labels, but the name of a metric comes from a log and can be anything."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return value
