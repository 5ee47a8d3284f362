"""Summarizes a log from its events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from podium.mllog.rate import NO_POINTS, POINT_KEYS, PointRecorder, Points
from podium.mllog.record import Event, Format
from podium.mllog.segments import Segment, SegmentRecorder
from podium.mllog.values import MAX_LIST, MAX_TEXT, finite_number, integer, plain, quality_of, storable

_HYPERPARAMETER_PREFIXES = ("opt_", "lars_", "sgd_", "adam_")
_HYPERPARAMETERS = frozenset({
    "global_batch_size", "model_bn_span", "max_samples", "num_image_candidates", "max_sequence_length",
    "virtual_losses", "train_batch_size", "gradient_accumulation_steps", "label_smoothing",
})  # fmt: skip
# Logs are untrusted, so what a summary keeps is bounded.
_MAX_HYPERPARAMETERS = 256
_MAX_EVALUATIONS = 10_000
_MAX_ENTRY = 10_000  # characters of submission_entry, which describes the system


_OF_ONE_RUN = (
    "init_start", "init_stop", "run_start", "run_stop", "run_stop_status", "offline_seconds", "epoch", "samples",
    "throughput", "energy_joules", "eval_seconds", "early_result_seconds", "training_start",
)  # fmt: skip
_NAMES = {"input_size": "train_samples", "eval_size": "eval_samples", "number_of_ranks": "ranks"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One quality measurement. A benchmark with a single metric uses the key ``eval_accuracy``."""

    time: float  # unix seconds
    epoch: float | None
    quality: Mapping[str, float]
    samples: float | None = None  # trained on so far; v3.1 logs count steps


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What a log says. Times are unix seconds.

    If keys are repeated, the earliest init_start and run_start and the latest run_stop count: lines of several
    processes come in any order. If a second run was appended to the log of one that died, the last one counts, and
    `run_start_count` is above 1.
    """

    lines: int = 0
    benchmark: str | None = None
    init_start: float | None = None
    init_stop: float | None = None
    run_start: float | None = None
    run_stop: float | None = None
    run_stop_status: str | None = None
    run_start_count: int = 0  # v0.5: distinct times, since its tools drop lines that are identical to the last digit
    run_stop_count: int = 0
    line_numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # of the clock's last lines
    out_of_order: bool = False  # a run_stop before any run_start, or earlier than it
    offline_seconds: float | None = None  # v0.6 MiniGo: the time to train, from eval_result
    seed: int | None = None
    global_batch_size: int | None = None
    train_samples: int | None = None
    eval_samples: int | None = None
    target: object = None  # as logged, in the log's unit
    format: Format | None = None  # of the first event
    max_epochs: float | None = None
    evaluations: tuple[Evaluation, ...] = ()
    not_numbers: int = 0  # evaluations without a number, such as NaN
    epoch: float | None = None
    samples: int | None = None
    throughput: float | None = None  # samples per second
    energy_joules: float | None = None
    eval_seconds: float | None = None  # total from each eval_start to the next eval_stop; None without such lines
    early_result_seconds: float = 0.0  # by which a result is stamped before the start of its evaluation, at most
    training_start: float | None = None  # earliest block or epoch, whatever the order of the lines
    epochs_missing: int = 0  # between the first and the last epoch that the log starts
    segments: tuple[Segment, ...] = ()
    points: Points = NO_POINTS
    ranks: int | None = None  # number_of_ranks, as Podium's trainers log it
    first_event_time: float | None = None
    last_event_time: float | None = None
    submission: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # submission_org is "org"
    hyperparameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def quality(self, metric: str = "eval_accuracy") -> float | None:
        """Return the latest value of a metric, as logged; if there is only one metric, any name finds it."""
        values = self.evaluations[-1].quality if self.evaluations else {}
        return next(iter(values.values())) if len(values) == 1 else values.get(metric)


class LogAccumulator:
    """Folds events into a summary; cheap for every line of a long run."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}
        self._hyperparameters: dict[str, Any] = {}
        self._submission: dict[str, str] = {}
        self._evaluations: list[Evaluation] = []
        self._not_numbers = 0
        self._lines = 0
        self._starts: set[tuple[float, int]] = set()
        self._stops: set[tuple[float, int]] = set()
        self._out_of_order = False
        self._eval_since: float | None = None
        self._eval_point: tuple[float | None, float | None] = (None, None)  # of the evaluation that runs
        self._segments = SegmentRecorder()
        self._points = PointRecorder()
        self._epochs: set[int] = set()
        self._next: dict[str, float] = {}  # init_start and init_stop of a second run in the same log
        self._line_numbers: dict[str, int] = {}
        self._snapshot: LogSummary | None = None

    def add(self, event: Event) -> None:
        """Add one event."""
        self._snapshot = None
        self._lines += 1
        facts = self._facts
        facts.setdefault("format", event.format)
        facts["first_event_time"] = min(facts.get("first_event_time", event.time), event.time)
        facts["last_event_time"] = max(facts.get("last_event_time", event.time), event.time)
        if event.benchmark:
            facts.setdefault("benchmark", event.benchmark)
        if event.key in POINT_KEYS:
            self._points.add(event)
        handler = self._HANDLERS.get(event.key)
        if handler:
            handler(self, event)
        elif event.key in _HYPERPARAMETERS or event.key.startswith(_HYPERPARAMETER_PREFIXES):
            self._hyperparameter(event)

    def snapshot(self) -> LogSummary:
        """Return the summary of the events so far; the same object until another one is added."""
        if self._snapshot is None:
            start, stop = self._facts.get("run_start"), self._facts.get("run_stop")
            backwards = start is not None and stop is not None and stop < start
            self._snapshot = LogSummary(
                lines=self._lines,
                run_start_count=len(self._starts),
                run_stop_count=len(self._stops),
                out_of_order=self._out_of_order or backwards,
                line_numbers=MappingProxyType(dict(self._line_numbers)),
                evaluations=tuple(self._evaluations),
                not_numbers=self._not_numbers,
                epochs_missing=max(self._epochs) - min(self._epochs) + 1 - len(self._epochs) if self._epochs else 0,
                segments=self._segments.segments(),
                points=self._points.snapshot(),
                submission=MappingProxyType(dict(self._submission)),
                hyperparameters=MappingProxyType(dict(self._hyperparameters)),
                **self._facts,
            )
        return self._snapshot

    # ---- one method per key ----

    def _init_start(self, event: Event) -> None:
        if self._is_later_than_the_run(event):  # the program was restarted
            self._next.setdefault("init_start", event.time)
            self._facts.pop("seed", None)
        else:
            self._facts["init_start"] = min(self._facts.get("init_start", event.time), event.time)

    def _init_stop(self, event: Event) -> None:
        self._line_numbers["init_stop"] = event.line_number
        (self._next or self._facts)["init_stop"] = event.time

    def _run_start(self, event: Event) -> None:
        # A run that continues also prints run_start again: only after an init_start or a run_stop is it another run.
        if self._is_later_than_the_run(event) and (self._next or "run_stop" in self._facts):
            self._start_over()
        _remember(self._starts, event)
        self._line_numbers["run_start"] = event.line_number
        self._facts["run_start"] = min(self._facts.get("run_start", event.time), event.time)
        self._segments.run_start(event.time)
        self._points.run_start(event.time)
        epochs = finite_number(event.metadata.get("max_epochs"))
        if epochs is not None:
            self._facts["max_epochs"] = epochs

    def _is_later_than_the_run(self, event: Event) -> bool:
        """Return whether a start is later than everything logged so far, including a run_start.

        The starts that several processes log for one run are not: their times are before the first results, wherever
        they appear in the log.
        """
        start = self._facts.get("run_start")
        return start is not None and event.time > start and event.time >= self._facts["last_event_time"]

    def _start_over(self) -> None:
        """Forget the measurements of an earlier run in the same log."""
        for name in _OF_ONE_RUN:
            self._facts.pop(name, None)
        self._facts |= self._next
        self._next = {}
        self._evaluations = []
        self._not_numbers = 0
        self._eval_since = None
        self._segments = SegmentRecorder()
        self._points = PointRecorder()
        self._epochs = set()
        self._out_of_order = False

    def _run_stop(self, event: Event) -> None:
        _remember(self._stops, event)
        self._line_numbers["run_stop"] = event.line_number
        self._out_of_order |= "run_start" not in self._facts
        self._facts["run_stop"] = max(self._facts.get("run_stop", event.time), event.time)
        status = event.metadata.get("status")
        if isinstance(status, str):
            self._facts["run_stop_status"] = status[:MAX_TEXT]

    def _evaluation(self, event: Event) -> None:
        self._line_numbers["eval_accuracy"] = event.line_number
        quality = quality_of(event.value)
        if not quality:
            self._not_numbers += 1
            return
        epoch, samples = _position(event)
        metric = event.metadata.get("metric")
        if isinstance(metric, str) and len(quality) == 1:
            quality = {metric[:MAX_TEXT]: next(iter(quality.values()))}
        self._segments.eval_accuracy(event.time, epoch, samples)
        if self._eval_since is not None and self._eval_point == (epoch, samples):
            early = self._eval_since - event.time
            self._facts["early_result_seconds"] = max(self._facts.get("early_result_seconds", 0.0), early)
        evaluation = Evaluation(event.time, epoch, quality, samples)
        if not (isinstance(metric, str) and self._completes(evaluation)):
            if len(self._evaluations) == _MAX_EVALUATIONS:
                self._evaluations.pop()  # keep the first ones and the latest
            self._evaluations.append(evaluation)
        if epoch is not None:
            self._facts["epoch"] = epoch

    def _completes(self, part: Evaluation) -> bool:
        """Merge `part` into the evaluation it belongs to, if any, and return whether there is one.

        Stable Diffusion logs the two metrics of an evaluation in two lines, in any order.
        """
        for index in range(len(self._evaluations) - 1, max(-1, len(self._evaluations) - 1 - MAX_LIST), -1):
            other = self._evaluations[index]
            if (other.samples, other.epoch) == (part.samples, part.epoch) and not set(part.quality) & set(
                other.quality
            ):
                both = {**other.quality, **part.quality}
                time = max(other.time, part.time)
                self._evaluations[index] = Evaluation(time, other.epoch, both, other.samples)
                return True
        return False

    def _eval_start(self, event: Event) -> None:
        if self._eval_since is None:  # several processes may log it; the first one counts
            self._eval_since, self._eval_point = event.time, _position(event)
        self._segments.eval_start(event.time, *_position(event))

    def _eval_stop(self, event: Event) -> None:
        if self._eval_since is not None:
            took = max(0.0, event.time - self._eval_since)
            self._facts["eval_seconds"] = self._facts.get("eval_seconds", 0.0) + took
            self._eval_since = None
        self._segments.eval_stop(event.time)

    def _eval_result(self, event: Event) -> None:
        self._line_numbers["eval_result"] = event.line_number
        seconds = finite_number(event.metadata.get("timestamp"))
        if seconds is not None and seconds > 0:  # 0 means that no model passed (checker 0.6.0)
            self._facts["offline_seconds"] = max(self._facts.get("offline_seconds", seconds), seconds)

    def _tracked_stats(self, event: Event) -> None:
        value = event.value if isinstance(event.value, dict) else {}
        found = {
            "throughput": finite_number(value.get("throughput")),
            "energy_joules": finite_number(value.get("energy_joules")),
            "epoch": finite_number(event.metadata.get("epoch_num")),
            "samples": storable(integer(event.metadata.get("samples_count"))),
        }
        self._facts |= {name: number for name, number in found.items() if number is not None}
        if found["throughput"] is not None:
            self._segments.throughput(found["throughput"])

    def _epoch(self, event: Event) -> None:
        """Note the start of a block or an epoch."""
        self._segments.train_start(event.time)
        if 0 < event.time < self._facts.get("training_start", math.inf):
            self._facts["training_start"] = event.time
            self._line_numbers["training_start"] = event.line_number
        epoch = finite_number(event.metadata.get("epoch_num", event.metadata.get("first_epoch_num")))
        if epoch is None and event.key == "train_epoch":  # v0.5
            epoch = finite_number(event.value)
        if epoch is None:
            return
        self._facts["epoch"] = epoch
        if event.key != "block_start" and epoch.is_integer() and len(self._epochs) < _MAX_EVALUATIONS:
            self._epochs.add(int(epoch))

    def _submission_benchmark(self, event: Event) -> None:
        if isinstance(event.value, str):
            self._facts["benchmark"] = event.value[:MAX_TEXT]

    def _of_submission(self, event: Event) -> None:
        if isinstance(event.value, str):
            self._submission[event.key.removeprefix("submission_")] = event.value[:_MAX_ENTRY]

    def _count(self, event: Event) -> None:
        number = integer(event.value)
        if number is not None:
            self._facts[_NAMES.get(event.key, event.key)] = number
        if event.key == "global_batch_size":
            self._hyperparameter(event)

    def _seed(self, event: Event) -> None:
        seed = integer(event.value)
        if seed is not None:
            self._facts.setdefault("seed", seed)  # the first one: each process may log its own

    def _target(self, event: Event) -> None:
        if plain(event.value) is not None:
            self._facts["target"] = event.value

    def _hyperparameter(self, event: Event) -> None:
        value = plain(event.value)
        room = len(self._hyperparameters) < _MAX_HYPERPARAMETERS or event.key in self._hyperparameters
        if value is not None and room:
            self._hyperparameters[event.key] = value

    _HANDLERS: ClassVar[Mapping[str, Callable[[LogAccumulator, Event], None]]] = {
        "init_start": _init_start,
        "init_stop": _init_stop,
        "run_start": _run_start,
        "run_stop": _run_stop,
        "eval_accuracy": _evaluation,
        "eval_start": _eval_start,
        "eval_stop": _eval_stop,
        "eval_result": _eval_result,
        "tracked_stats": _tracked_stats,
        "epoch_start": _epoch,
        "train_epoch": _epoch,
        "block_start": _epoch,
        "submission_benchmark": _submission_benchmark,
        "submission_division": _of_submission,
        "submission_entry": _of_submission,
        "submission_org": _of_submission,
        "submission_platform": _of_submission,
        "submission_status": _of_submission,
        "seed": _seed,
        "run_set_random_seed": _seed,
        "global_batch_size": _count,
        "train_samples": _count,
        "eval_samples": _count,
        "input_size": _count,
        "eval_size": _count,
        "number_of_ranks": _count,
        "eval_target": _target,
    }


def summarize(events: Iterable[Event]) -> LogSummary:
    """Return the summary of a complete log."""
    accumulator = LogAccumulator()
    for event in events:
        accumulator.add(event)
    return accumulator.snapshot()


def _remember(lines: set[tuple[float, int]], event: Event) -> None:
    if len(lines) < MAX_LIST:
        lines.add((event.time, 0 if event.format is Format.MLP else event.line_number))


def _position(event: Event) -> tuple[float | None, float | None]:
    """Return where an evaluation was made: epochs, and samples (v3.1 logs count steps)."""
    metadata = event.metadata
    samples = metadata.get("samples_count", metadata.get("step_num"))
    return finite_number(metadata.get("epoch_num")), finite_number(samples)
