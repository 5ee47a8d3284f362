"""What one log says, folded from its events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from podium.mllog.parser import Event

_HYPERPARAMETER_PREFIXES = ("opt_", "lars_", "sgd_", "adam_")
_HYPERPARAMETERS = frozenset({
    "global_batch_size", "model_bn_span", "max_samples", "num_image_candidates", "max_sequence_length",
    "virtual_losses", "train_batch_size", "gradient_accumulation_steps", "label_smoothing",
})  # fmt: skip
_SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measurement of the quality. A benchmark with a single metric has the key ``eval_accuracy``."""

    time: float  # unix seconds
    epoch: float | None
    quality: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LogSummary:
    """Times are unix seconds. Of repeated keys the first init_start and run_start count, and the last run_stop."""

    lines: int = 0
    benchmark: str | None = None
    init_start: float | None = None
    init_stop: float | None = None
    run_start: float | None = None
    run_stop: float | None = None
    run_stop_status: str | None = None
    run_start_count: int = 0
    run_stop_count: int = 0
    out_of_order: bool = False  # a run_stop before any run_start, or earlier than it
    offline_seconds: float | None = None  # v0.6 MiniGo: eval_result tells the time to train
    seed: int | None = None
    global_batch_size: int | None = None
    train_samples: int | None = None
    eval_samples: int | None = None
    target: object = None
    max_epochs: float | None = None
    evaluations: tuple[Evaluation, ...] = ()
    epoch: float | None = None
    samples: int | None = None
    throughput: float | None = None  # samples per second
    energy_joules: float | None = None
    first_event_time: float | None = None
    last_event_time: float | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class LogFolder:
    """Folds events into a summary; cheap for every line of a long run."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}
        self._hyperparameters: dict[str, Any] = {}
        self._evaluations: list[Evaluation] = []
        self._lines = 0
        self._starts = self._stops = 0
        self._out_of_order = False
        self._snapshot: LogSummary | None = None

    def add(self, event: Event) -> None:
        """Take one event."""
        self._snapshot = None
        self._lines += 1
        facts = self._facts
        facts.setdefault("first_event_time", event.time)
        facts["last_event_time"] = max(facts.get("last_event_time", event.time), event.time)
        if event.benchmark:
            facts.setdefault("benchmark", event.benchmark)
        handler = self._HANDLERS.get(event.key)
        if handler:
            handler(self, event)
        elif event.key in _HYPERPARAMETERS or event.key.startswith(_HYPERPARAMETER_PREFIXES):
            self._hyperparameters[event.key] = event.value

    def snapshot(self) -> LogSummary:
        """The summary of what was added so far; the same object while nothing is added."""
        if self._snapshot is None:
            start, stop = self._facts.get("run_start"), self._facts.get("run_stop")
            backwards = start is not None and stop is not None and stop < start
            self._snapshot = LogSummary(
                lines=self._lines,
                run_start_count=self._starts,
                run_stop_count=self._stops,
                out_of_order=self._out_of_order or backwards,
                evaluations=tuple(self._evaluations),
                hyperparameters=MappingProxyType(dict(self._hyperparameters)),
                **self._facts,
            )
        return self._snapshot

    # ---- one method a key ----

    def _init_start(self, event: Event) -> None:
        self._facts.setdefault("init_start", event.time)

    def _init_stop(self, event: Event) -> None:
        self._facts["init_stop"] = event.time

    def _run_start(self, event: Event) -> None:
        self._starts += 1
        self._facts.setdefault("run_start", event.time)
        epochs = _number(event.metadata.get("max_epochs"))
        if epochs is not None:
            self._facts["max_epochs"] = epochs

    def _run_stop(self, event: Event) -> None:
        self._stops += 1
        self._out_of_order |= self._starts == 0
        self._facts["run_stop"] = event.time
        status = event.metadata.get("status")
        if isinstance(status, str):
            self._facts["run_stop_status"] = status

    def _evaluation(self, event: Event) -> None:
        quality = _quality(event.value)
        if not quality:
            return
        epoch = _number(event.metadata.get("epoch_num"))
        self._evaluations.append(Evaluation(event.time, epoch, quality))
        if epoch is not None:
            self._facts["epoch"] = epoch

    def _eval_result(self, event: Event) -> None:
        seconds = _number(event.metadata.get("timestamp"))
        if seconds is not None:
            self._facts["offline_seconds"] = seconds

    def _tracked_stats(self, event: Event) -> None:
        value = event.value if isinstance(event.value, dict) else {}
        found = {
            "throughput": _number(value.get("throughput")),
            "energy_joules": _number(value.get("energy_joules")),
            "epoch": _number(event.metadata.get("epoch_num")),
            "samples": _integer(event.metadata.get("samples_count")),
        }
        self._facts |= {name: number for name, number in found.items() if number is not None}

    def _epoch(self, event: Event) -> None:
        epoch = _number(event.metadata.get("epoch_num", event.metadata.get("first_epoch_num")))
        if epoch is not None:
            self._facts["epoch"] = epoch

    def _submission_benchmark(self, event: Event) -> None:
        self._facts["benchmark"] = str(event.value)

    def _count(self, event: Event) -> None:
        number = _integer(event.value)
        if number is not None:
            self._facts[event.key] = number
        if event.key == "global_batch_size":
            self._hyperparameters[event.key] = event.value

    def _target(self, event: Event) -> None:
        self._facts["target"] = event.value

    _HANDLERS: ClassVar[Mapping[str, Callable[[LogFolder, Event], None]]] = {
        "init_start": _init_start,
        "init_stop": _init_stop,
        "run_start": _run_start,
        "run_stop": _run_stop,
        "eval_accuracy": _evaluation,
        "eval_result": _eval_result,
        "tracked_stats": _tracked_stats,
        "epoch_start": _epoch,
        "train_epoch": _epoch,
        "block_start": _epoch,
        "submission_benchmark": _submission_benchmark,
        "seed": _count,
        "global_batch_size": _count,
        "train_samples": _count,
        "eval_samples": _count,
        "eval_target": _target,
    }


def summarize(events: Iterable[Event]) -> LogSummary:
    """The summary of a whole log."""
    folder = LogFolder()
    for event in events:
        folder.add(event)
    return folder.snapshot()


def seconds(summary: LogSummary, timed_by: str = "run_stop") -> float | None:
    """Time to train: run_stop - run_start, or what an evaluation after the clock found (``eval_result``)."""
    if timed_by == "eval_result" and summary.offline_seconds is not None:
        return summary.offline_seconds
    if summary.run_start is None or summary.run_stop is None or summary.run_stop < summary.run_start:
        return None
    return summary.run_stop - summary.run_start


def reached(summary: LogSummary, targets: Mapping[str, float]) -> Evaluation | None:
    """The first evaluation in which every metric is at its target.

    With one target the evaluation's single value is that metric, whatever its name. BLEU is logged as 24.1 in v0.6
    and as 0.241 later: a value up to 1 against a target above 1 is taken as a fraction.
    """
    for evaluation in summary.evaluations:
        values = evaluation.quality
        if len(targets) == 1 and len(values) == 1:
            pairs = [(next(iter(values.values())), next(iter(targets.values())))]
        else:
            pairs = [(values.get(metric, -math.inf), target) for metric, target in targets.items()]
        if all((value * 100 if target > 1 >= value else value) >= target for value, target in pairs):
            return evaluation
    return None


def _quality(value: object) -> dict[str, float]:
    if isinstance(value, dict):
        inner = value.get("accuracy", value)  # v0.6 Mask R-CNN: {"accuracy": {"BBOX": .., "SEGM": ..}}
        if isinstance(inner, dict):
            numbers = {str(metric): _number(number) for metric, number in inner.items()}
            return {metric: number for metric, number in numbers.items() if number is not None}
        value = inner
    number = _number(value)
    return {} if number is None else {"eval_accuracy": number}


def _number(value: object) -> float | None:
    """A finite number; v0.6 Transformer logs its BLEU as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
