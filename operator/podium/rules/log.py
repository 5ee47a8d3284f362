"""A log against the rules of its round, line by line: what MLCommons' checker does not know or does not look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from podium.mllog import Event, LogFolder, LogSummary, Problem, reached, seconds
from podium.rules.findings import Finding
from podium.rules.spec import wrong_value
from podium.suites import Benchmark, Suite, targets

# Processes on several machines write into one log; their clocks and buffers differ by so much.
ORDER_TOLERANCE_SECONDS = 120.0
_SEED_KEYS = ("seed", "run_set_random_seed")
_TARGET_KEYS = ("eval_target", "quality_target", "target_accuracy")
_WHOLE_LOG = "log the whole run, from its first line to its last, without editing it"


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed as logged: the same one from the same place in two runs is one too many."""

    file: str
    lineno: str
    value: str
    line: int


class LogCheck:
    """Takes the events of one log in order; cheap in memory for a log of any length."""

    def __init__(self, where: str, suite: Suite, benchmark_name: str, division: str = "closed") -> None:
        self._where = where
        self._suite = suite
        self._name = benchmark_name
        self._benchmark: Benchmark | None = suite.benchmarks.get(benchmark_name)
        self._closed = division == "closed"
        self._folder = LogFolder()
        self._counts: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._latest = -math.inf
        self._found: list[Finding] = []
        self._reported: set[str] = set()
        self.seeds: list[Seed] = []

    def add(self, event: Event) -> None:
        """Take one event."""
        self._folder.add(event)
        key = event.key
        self._counts[key] += 1
        self._first.setdefault(key, event.line_number)
        self._last[key] = event.line_number
        if event.time < self._latest - ORDER_TOLERANCE_SECONDS:
            message = f"{key} is stamped {self._latest - event.time:.0f} s earlier than a line before it"
            self._once("log.time.order", message, event.line_number, "check the clocks of the machines; " + _WHOLE_LOG)
        self._latest = max(self._latest, event.time)
        if key in _SEED_KEYS and len(self.seeds) < 1000:
            metadata = event.metadata
            self.seeds.append(Seed(str(metadata.get("file", "")), str(metadata.get("lineno", "")), str(event.value),
                                   event.line_number))  # fmt: skip
        elif key in _TARGET_KEYS:
            self._target(event)
        elif key == "eval_accuracy":
            self._evaluation(event)
        elif self._closed and self._benchmark and key in self._benchmark.tunable:
            self._hyperparameter(event)

    def findings(self, problems: Iterable[Problem] = (), problem_count: int = 0) -> tuple[Finding, ...]:
        """Everything found once the log is through; `problems` are its unreadable lines."""
        summary = self._folder.snapshot()
        unreadable = [
            Finding("log.unreadable", self._where, problem.cause, problem.line_number,
                    "one process writes a line at a time, and whole lines")
            for problem in problems
        ]  # fmt: skip
        if problem_count > len(unreadable):
            message = f"{problem_count - len(unreadable)} further lines cannot be read"
            unreadable.append(Finding("log.unreadable", self._where, message))
        if summary.lines == 0:
            message = "no line of it can be read as an MLPerf line"
            return (*unreadable, Finding("log.empty", self._where, message, remedy=_WHOLE_LOG))
        return (*unreadable, *self._found, *self._keys(), *self._clock(summary), *self._quality(summary))

    # ---- as lines come ----

    def _once(self, rule: str, message: str, line: int, remedy: str) -> None:
        """The first breach of a rule is reported; a loop that breaks it again says nothing new."""
        if rule not in self._reported:
            self._reported.add(rule)
            self._found.append(Finding(rule, self._where, message, line, remedy))

    def _target(self, event: Event) -> None:
        wanted = targets(self._benchmark) if self._benchmark else {}
        value = event.value
        if not self._closed or len(wanted) != 1 or isinstance(value, bool) or not isinstance(value, int | float):
            return
        (target,) = wanted.values()
        if not any(math.isclose(value, same, rel_tol=1e-6) for same in (target, target / 100, target * 100)):
            message = f"{event.key} is {value:g}, the round's target is {target:g}"
            self._once("log.target", message, event.line_number, "a closed run stops at the round's target")

    def _evaluation(self, event: Event) -> None:
        rules = self._suite.log_rules
        if not rules:
            return
        epoch = event.metadata.get("epoch_num")
        if event.value is None or isinstance(event.value, dict) or epoch is None:
            message = "eval_accuracy lacks its epoch or its value"
            remedy = 'log eval_accuracy: {"epoch": 3, "value": 0.74}'
            self._once(f"{self._suite.name}.eval_accuracy.form", message, event.line_number, remedy)
        elif self._counts["eval_accuracy"] == 1 and self._from_first() and epoch != self._suite.first_epoch:
            message = f"the first eval_accuracy is of epoch {epoch}, not {self._suite.first_epoch}"
            remedy = f"evaluate after every epoch; {self._suite.name} counts epochs from {self._suite.first_epoch}"
            self._once(f"{self._suite.name}.eval_accuracy.first", message, event.line_number, remedy)

    def _from_first(self) -> bool:
        return self._benchmark is not None and self._benchmark.evaluates_first_epoch

    def _hyperparameter(self, event: Event) -> None:
        assert self._benchmark is not None
        values = event.value if isinstance(event.value, list) else [event.value]
        rule = self._benchmark.tunable[event.key]
        parts = [event.value] if rule.type == "numbers" else values  # v0.6 MiniGo logs a list of learning rates
        wrong = next((text for part in parts if (text := wrong_value(rule, _plain(part, rule.type)))), "")
        if wrong:
            remedy = f"{rule.source}; another value is for the open division"
            self._once(f"log.{event.key}", f"{event.key}: {wrong}", event.line_number, remedy)

    # ---- at the end ----

    def _keys(self) -> Iterator[Finding]:
        rules = self._suite.log_rules
        if not rules:
            return
        name = self._suite.name
        for key in rules.exactly_once:
            if (count := self._counts[key]) != 1:
                said = f"{key} is logged {count} times" if count else f"{key} is missing"
                remedy = "log it exactly once" + ("; keep each run in a file of its own" if count else "")
                yield Finding(f"{name}.{key}.once", self._where, said, self._last.get(key), remedy)
        present = [key for key in rules.exactly_once if self._counts[key]]
        for before, after in pairwise(present):
            if self._last[after] < self._first[before]:
                said = f"{after} comes before {before}"
                yield Finding(f"{name}.{after}.order", self._where, said, self._last[after],
                              f"the order is {', '.join(rules.exactly_once)}")  # fmt: skip
        for key in rules.closed_at_least_once if self._closed else ():
            if not self._counts[key]:
                remedy = "log it at least once; the closed division asks for it"
                yield Finding(f"{name}.{key}.required", self._where, f"{key} is missing", remedy=remedy)

    def _clock(self, summary: LogSummary) -> Iterator[Finding]:
        timed_by = self._benchmark.timed_by if self._benchmark else "run_stop"
        if seconds(summary, timed_by) is None:
            if timed_by == "eval_result":
                yield Finding("log.clock", self._where, "no eval_result with a timestamp above 0: nothing is timed",
                              self._last.get("eval_result"), "log eval_result with metadata.timestamp, in seconds "
                              "since run_start")  # fmt: skip
            elif summary.run_start is None or summary.run_stop is None:
                missing = "run_start" if summary.run_start is None else "run_stop"
                said = f"no {missing}: nothing is timed"
                yield Finding("log.clock", self._where, said, remedy=_WHOLE_LOG)
            else:
                yield Finding("log.clock", self._where, "run_stop is stamped before run_start",
                              self._last["run_stop"], "log both with one clock")  # fmt: skip
        cap = self._suite.clock.max_init_seconds
        if cap and self._closed and summary.init_start is not None and summary.init_stop is not None:
            init = summary.init_stop - summary.init_start
            if init >= cap:
                said = f"{init:.0f} s from the first init_start to init_stop; less than {cap} s are untimed"
                yield Finding("log.init.cap", self._where, said, self._last["init_stop"],
                              "start the clock earlier, or initialize faster")  # fmt: skip

    def _quality(self, summary: LogSummary) -> Iterator[Finding]:
        benchmark = self._benchmark
        if not benchmark or not benchmark.quality or not self._closed:
            return
        lower = [quality.metric for quality in benchmark.quality if quality.lower_is_better]
        line = self._last.get("eval_accuracy")
        if not summary.evaluations:
            if benchmark.timed_by == "run_stop":
                yield Finding("log.quality", self._where, "no eval_accuracy: nothing shows that the target was reached",
                              remedy="log eval_accuracy after each evaluation")  # fmt: skip
        elif reached(summary, targets(benchmark), lower) is None:
            goal = "/".join(f"{quality.target:g}" for quality in benchmark.quality)
            last = "/".join(f"{value:.4g}" for value in summary.evaluations[-1].quality.values())
            yield Finding("log.quality", self._where, f"the target {goal} was not reached, the last quality is {last}",
                          line, "the run did not converge; score counts it as failed")  # fmt: skip


def repeated_seeds(logs: Mapping[str, Sequence[Seed]], *, required: bool) -> Iterator[Finding]:
    """Every run draws its own seeds. `required`: since v1.0 each run has to log one.

    Half of them in common is the mark of a repetition: where hundreds of processes draw 15 bits each, a few of them
    are the same by chance (NVIDIA's v0.5 ResNet).
    """
    earlier: dict[str, set[tuple[str, str, str]]] = {}
    for where, seeds in logs.items():
        own = {(seed.file, seed.lineno, seed.value) for seed in seeds}
        if required and not own:
            yield Finding("log.seed.missing", where, "no seed is logged", remedy="log the key seed once")
        twin = next((name for name, others in earlier.items() if own and 2 * len(own & others) >= len(own)), None)
        if twin:
            said = f"its seed {seeds[0].value}, of {seeds[0].file}:{seeds[0].lineno}, is that of {twin}, too"
            remedy = "draw a new seed for every run; two logs of one run are no two runs"
            yield Finding("log.seed.repeated", where, said, seeds[0].line, remedy)
        earlier[where] = own


def _plain(value: object, type_: str) -> object:
    """A number that a log of v0.6 wrote as a text or with a superfluous fraction."""
    if isinstance(value, str) and type_ in ("integer", "number"):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, float) and type_ == "integer" and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return value.lower()
    return value
