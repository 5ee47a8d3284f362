"""One run at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from podium.api import AttemptState, AttemptStatus, ConditionType, Reason, unix_seconds
from podium.metrics.phases import ended, phases
from podium.mllog import LogSummary, seconds
from podium.reconcile import Container, Observed, ObservedLog, Run, concluded, finish_time
from podium.rules import Goal

STATES = ("Pending", "Running", "Suspended", "Complete", "Failed")


@dataclass(frozen=True, slots=True)
class FinishedSample:
    """A run that ended some time ago; `time_to_train` in seconds."""

    namespace: str
    name: str
    benchmark: str
    state: str
    time_to_train: float | None
    rate: float | None = None  # samples per second


@dataclass(frozen=True, slots=True)
class RunSample:
    """The values of a run's series, in seconds; `updated` and `unstored_since` are unix times. None means unknown."""

    run: Run
    state: str
    attempts: Mapping[str, int]
    planned: int | None = None
    attempt: int | None = None
    epoch: float | None = None
    samples: int | None = None
    samples_per_second: float | None = None
    progress: float | None = None
    elapsed: float | None = None
    remaining: float | None = None
    updated: float | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    target: Mapping[str, float] = field(default_factory=dict)
    converged: Mapping[int, float] = field(default_factory=dict)  # attempt -> time to train
    time_to_train: float | None = None
    rate: float | None = None  # the score of a run with spec.measure, in samples per second
    energy_joules: float | None = None
    node_seconds: float = 0.0
    unstored_since: float | None = None

    @property
    def namespace(self) -> str:
        return self.run.namespace

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def benchmark(self) -> str:
        return self.run.spec.benchmark

    @property
    def accelerator_seconds(self) -> float | None:
        """Accelerator time in seconds; None for a run on CPUs."""
        per_node = self.run.spec.system.accelerators_per_node
        return self.node_seconds * per_node if per_node else None

    @property
    def cost(self) -> float | None:
        """Cost so far in the run's currency; None without pricing."""
        pricing = self.run.spec.pricing
        return self.node_seconds / 3600 * float(pricing.per_node_hour) if pricing else None


def finished_sample(run: Run) -> FinishedSample:
    """Return what is left of a run that has ended."""
    return FinishedSample(run.namespace, run.name, run.spec.benchmark, _state(run), *_score(run))


def run_sample(
    run: Run, observed: Observed, goal: Goal | None, now: float, containers: Iterable[Container] = ()
) -> RunSample:
    """Return the sample of `run`; `goal` is None if the run was not admitted, `containers` are all it ever had."""
    time_to_train, rate = _score(run)
    known = RunSample(
        run=run,
        state=_state(run),
        attempts=_by_state(run),
        planned=goal.attempts if goal else None,
        target=goal.targets if goal else {},
        time_to_train=time_to_train,
        rate=rate,
    )
    last = run.status.current
    if goal is None or last is None:
        return known
    job = observed.jobs.get(last.id)
    summary = observed.logs.get(last.id, ObservedLog()).summary
    training = last.state is AttemptState.TRAINING and summary.run_start is not None
    finish = finish_time(summary) if training else None
    planned_samples = (summary.train_samples or 0) * (summary.max_epochs or 0)
    elapsed = now - summary.run_start if training and summary.run_start else seconds(summary, goal.timed_by)
    return RunSample(
        run=run,
        state=known.state,
        attempts=known.attempts,
        planned=known.planned,
        attempt=last.index,
        epoch=summary.epoch,
        samples=summary.samples,
        samples_per_second=summary.throughput if training else None,
        progress=min(1.0, (summary.samples or 0) / planned_samples) if planned_samples else None,
        elapsed=elapsed,
        remaining=max(0.0, finish - now) if finish is not None else None,
        updated=summary.last_event_time,
        phases=phases(last, job.containers if job else (), summary, nodes=run.spec.system.nodes, now=now),
        quality=_quality(summary, goal),
        target=known.target,
        converged=_converged(run.status.attempts),
        time_to_train=known.time_to_train,
        rate=known.rate,
        energy_joules=_energy(run.status.attempts),
        node_seconds=node_seconds(containers, now),
        unstored_since=unstored_since(run, observed),
    )


def _score(run: Run) -> tuple[float | None, float | None]:
    """Return the time to train in seconds and the rate in samples per second: at most one of them is known."""
    score = run.status.score
    minutes, rate = (score.time_to_train_minutes, score.rate) if score else (None, None)
    return float(minutes) * 60 if minutes else None, float(rate.samples_per_second) if rate else None


def node_seconds(containers: Iterable[Container], now: float, since: float = 0.0) -> float:
    """Return the total time for which `containers` held their nodes between `since` and `now` (unix seconds)."""
    return sum(
        max(0.0, (now if c.finished is None else min(c.finished, now)) - max(c.started, since))
        for c in containers
        if c.started is not None
    )


def unstored_since(run: Run, observed: Observed) -> float | None:
    """Return the unix time at which the oldest try ended that the store lacks, or the last try if only the result is
    missing; None if everything is stored."""
    finished = [a for a in run.status.attempts if a.state.finished]
    if not finished or run.status.terminal or observed.result is not None:
        return None
    unstored = [a for a in finished if not a.stored and a.id not in observed.stored]
    running = run.status.condition(ConditionType.RUNNING)
    if not unstored and (run.deleted or (running is not None and running.reason == Reason.STORING)):
        unstored = finished[-1:]  # its files are stored, the result is not
    return min((_end(a, observed) for a in unstored), default=None)


def _end(attempt: AttemptStatus, observed: Observed) -> float:
    job, log = observed.jobs.get(attempt.id), observed.logs.get(attempt.id)
    summary = log.summary if log else LogSummary()
    end = ended(job.containers if job else (), summary)
    return unix_seconds(attempt.created_time) if end is None else end


def _quality(summary: LogSummary, goal: Goal) -> Mapping[str, float]:
    """The last evaluation, by the metrics of the goal and in the unit of its targets; a log may have any others."""
    if not summary.evaluations:
        return {}
    values = goal.values(summary, summary.evaluations[-1])
    return {metric: value for metric, value in values.items() if metric in goal.targets}


def _by_state(run: Run) -> dict[str, int]:
    """Return the number of tries in each state. One whose machines were only taken for a while did not fail: it is
    `Preempted`, and tried again at no cost."""
    counts = dict.fromkeys(map(str, AttemptState), 0)
    tries = run.status.attempts
    for one in tries:
        taken = one.reason == Reason.PREEMPTED and not concluded(tries, one, run.spec.max_retries)
        state = "Preempted" if taken else str(one.state)
        counts[state] = counts.get(state, 0) + 1
    return counts


def _converged(attempts: Collection[AttemptStatus]) -> dict[int, float]:
    done = (a for a in attempts if a.state is AttemptState.CONVERGED and a.time_to_train_seconds)
    return {a.index: float(a.time_to_train_seconds or 0) for a in done}


def _energy(attempts: Collection[AttemptStatus]) -> float | None:
    measured = [float(a.energy_joules) for a in attempts if a.energy_joules is not None]
    return sum(measured) if measured else None


def _state(run: Run) -> str:
    for kind in (ConditionType.COMPLETE, ConditionType.FAILED, ConditionType.SUSPENDED, ConditionType.RUNNING):
        if run.status.is_true(kind):
            return str(kind)
    return "Pending"
