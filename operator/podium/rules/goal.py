"""The goal that a run's attempts, or the logs of a published result, must meet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from podium.api import BenchmarkRunSpec, Measure, duration_seconds
from podium.mllog import Evaluation, LogSummary, Rate, Window, evaluations_by_metric, in_unit_of, rate
from podium.rounds import Benchmark, Published, Quality, Round, counted_in_samples

DEFAULT_ATTEMPTS = 5  # for a benchmark that no round knows
DEFAULT_MEASUREMENTS = 3  # of the rate: enough for an interval
_FLOAT32 = 6e-8  # a BLEU of 21.80 that passed through 32 bits is logged as 21.799999237060547 (NVIDIA, v0.5 GNMT)
_BERT_EPOCHS = 1000  # at most; larger numbers are samples
_ALIASES = {"mask": "maskrcnn", "mask_rcnn": "maskrcnn", "single_stage_detector": "ssd", "nmt": "gnmt"}


@dataclass(frozen=True, slots=True)
class Goal:
    """The qualities to reach in one evaluation, the clock that times it, and the number of attempts.

    `max_init_seconds` is None if initialization is not limited: in the open division, and in v0.5. `binding`: missing
    the target breaks a rule; not so in other people's open logs, which may have their own targets.
    """

    qualities: tuple[Quality, ...]
    attempts: int
    max_failures: int = 1
    timed_by: str = "run_stop"
    max_init_seconds: int | None = None
    binding: bool = True
    benchmark: str = ""
    other_benchmarks: frozenset[str] = frozenset()  # of the round
    published: Published | None = None  # what closed logs of the benchmark have in common
    evaluated_offline: bool = False  # evaluations come after the clock stops
    ranks: int | None = None  # processes that the run started; None for other people's logs
    window: Window | None = None  # where the rate is measured, instead of the time to train
    has_reference: bool = False  # reference convergence points that a result is compared with

    @property
    def targets(self) -> dict[str, float]:
        """The target of each metric."""
        return {quality.metric: quality.target for quality in self.qualities}

    @property
    def lower_is_better(self) -> frozenset[str]:
        """Metrics that reach their targets from above, such as a loss."""
        return frozenset(quality.metric for quality in self.qualities if quality.lower_is_better)

    def rate(self, summary: LogSummary) -> Rate | None:
        """Return the rate that a log has had so far; None if it is not to be measured, or not known."""
        return rate(summary, self.window) if self.window else None

    @property
    def text(self) -> str:
        return "/".join(f"{quality.target:g}" for quality in self.qualities)

    def render(self, summary: LogSummary, evaluation: Evaluation) -> str:
        """Format an evaluation in the order and unit of the targets, such as ``0.381/0.342``, or else as logged."""
        values = self.values(summary, evaluation) or evaluation.quality
        return "/".join(f"{value:.4g}" for value in values.values())

    def values(self, summary: LogSummary, evaluation: Evaluation) -> Mapping[str, float]:
        """Return an evaluation by the goal's metrics, in the unit of the targets; as logged if there is no target."""
        if not self.qualities:
            return dict(evaluation.quality)
        return in_unit_of(self.targets, evaluation, summary, self.lower_is_better)

    def ratio(self, summary: LogSummary) -> float | None:
        """How much of the way to the target the last evaluation has come, 0 to 1; of two metrics the smaller ratio.

        The way of an accuracy begins at 0, that of a loss at its first evaluation. None without evaluations or target.
        """
        if not self.qualities or not summary.evaluations:
            return None
        first, last = (self.values(summary, summary.evaluations[place]) for place in (0, -1))
        return min(_ratio(q, first.get(q.metric), last.get(q.metric)) for q in self.qualities)

    def possible(self, summary: LogSummary, evaluation: Evaluation) -> bool:
        """Return whether a model can have these qualities; see `reached`."""
        values = self.values(summary, evaluation)
        return all(_is_possible(q, values[q.metric]) for q in self.qualities if q.metric in values)

    def reached(self, summary: LogSummary) -> Evaluation | None:
        """Return the first evaluation in which every metric reaches its target; None if there is none, or no target."""
        return next(self.all_reached(summary), None)

    def all_reached(self, summary: LogSummary) -> Iterator[Evaluation]:
        """Yield the evaluations in which every metric reaches its target, in the order of the log.

        An impossible value (a loss of -1, an accuracy of 1.7) reaches no target, as in MLCommons' checker
        (training_5.1.0/closed_*.yaml: ``v['value'] <= 0.925 and v['value'] > 0.0``, ``v['value'] < 1.0``).
        """
        for evaluation, values in evaluations_by_metric(summary, self.targets, self.lower_is_better):
            if self.qualities and all(_meets(quality, values.get(quality.metric)) for quality in self.qualities):
                yield evaluation

    def converged_after(self, summary: LogSummary) -> float | None:
        """Return the epochs or samples at the last evaluation; with two metrics, at the earliest that reached both.

        Reference convergence points are compared with it. Stable Diffusion's checkpoints are evaluated after the
        training, in any order.
        """
        both = self.all_reached(summary) if len(self.qualities) > 1 else ()
        ends = [*both] or summary.evaluations[-1:]
        counts = [each.samples if counted_in_samples(self.benchmark) else each.epoch for each in ends]
        count = min((each for each in counts if each is not None), default=None)
        if self.benchmark == "bert" and (count is None or count < _BERT_EPOCHS):
            count = summary.train_samples  # its points count samples; some logs have them in epoch_num, others here
        return None if count is None else round(count, 3)


def goal_for(spec: BenchmarkRunSpec, rounds: Mapping[str, Round]) -> Goal:
    """Return the goal of an admitted run; spec.quality changes the target, never the direction."""
    round_ = rounds[spec.round]
    benchmark = round_.benchmarks.get(spec.benchmark)
    usual = benchmark.published if benchmark else None
    qualities = benchmark.quality if benchmark else ()
    if spec.quality:
        asked = qualities or (Quality(metric="quality", target=0, bounded=False),)
        values = map(float, spec.quality.target.split("/"))
        qualities = tuple(q.model_copy(update={"target": v}) for q, v in zip(asked, values, strict=True))
    return Goal(
        qualities=qualities,
        attempts=spec.attempts or _usual_attempts(spec, benchmark),
        max_failures=benchmark.max_failures if benchmark else 1,
        timed_by=benchmark.timed_by if benchmark else "run_stop",
        max_init_seconds=round_.clock.max_init_seconds if is_closed(spec.division) else None,
        benchmark=spec.benchmark,
        other_benchmarks=frozenset(round_.benchmarks) - {spec.benchmark},
        published=usual if is_closed(spec.division) else None,
        evaluated_offline=usual is not None and usual.evaluated_offline,
        ranks=spec.system.ranks,
        window=window_of(spec.measure) if spec.measure else None,
        has_reference=_has_reference(spec, benchmark),
    )


def _has_reference(spec: BenchmarkRunSpec, benchmark: Benchmark | None) -> bool:
    return benchmark is not None and bool(benchmark.reference_points) and is_closed(spec.division) and not spec.measure


def _usual_attempts(spec: BenchmarkRunSpec, benchmark: Benchmark | None) -> int:
    if spec.measure:
        return DEFAULT_MEASUREMENTS
    return benchmark.runs if benchmark else DEFAULT_ATTEMPTS


def window_of(measure: Measure) -> Window:
    """Return the window that spec.measure asks for."""
    seconds = None if measure.duration is None else float(duration_seconds(measure.duration))
    return Window(duration_seconds(measure.warmup), seconds, measure.samples)


def goal_of_log(
    name: str,
    benchmark: Benchmark,
    round_: Round | None,
    division: str,
    *,
    own_target: bool = False,
    window: Window | None = None,
) -> Goal:
    """Return the goal of a stored log of the benchmark `name`.

    `own_target`: its result states a target. `window`: its result says that the rate is measured.
    """
    closed = is_closed(division)
    return Goal(
        qualities=benchmark.quality,
        attempts=benchmark.runs,
        max_failures=benchmark.max_failures,
        timed_by=benchmark.timed_by,
        max_init_seconds=round_.clock.max_init_seconds if round_ and closed else None,
        binding=closed or own_target,
        benchmark=name,
        other_benchmarks=frozenset(round_.benchmarks if round_ else ()) - {name},
        published=benchmark.published if closed else None,
        evaluated_offline=benchmark.published is not None and benchmark.published.evaluated_offline,
        window=window,
    )


def is_closed(division: str) -> bool:
    """Return whether the closed rules apply to a division: they also apply out of the box and to unknown divisions."""
    return division != "open"


def canonical(benchmark: str) -> str:
    """Return the name that rounds use for a benchmark."""
    name = benchmark.strip().lower()
    return _ALIASES.get(name, name)


def _meets(quality: Quality, value: float | None) -> bool:
    if value is None or not _is_possible(quality, value):
        return False
    if math.isclose(value, quality.target, rel_tol=_FLOAT32):
        return True
    return value <= quality.target if quality.lower_is_better else value >= quality.target


def _is_possible(quality: Quality, value: float) -> bool:
    return not quality.bounded or (value > 0 if quality.lower_is_better else value <= 1 or quality.target > 1)


def _ratio(quality: Quality, first: float | None, last: float | None) -> float:
    if _meets(quality, last):
        return 1.0
    start = first if quality.lower_is_better or quality.target <= 0 else 0.0
    if start is None or last is None or _meets(quality, start):
        return 0.0
    if not _is_possible(quality, start) or not _is_possible(quality, last):
        return 0.0
    return max(0.0, (last - start) / (quality.target - start))
