"""Checks a log against its round, line by line, for what MLCommons' checker does not know or does not check.

`judge` alone decides whether the run is valid and converged.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from podium.mllog import Event, Format, Problem
from podium.rounds import Benchmark, LogRules, Round
from podium.rules.catalog import RuleId
from podium.rules.cut_off import CutOff
from podium.rules.findings import Finding
from podium.rules.goal import is_closed
from podium.rules.hyperparameters import closed_breach, plain_value, untuned_breach

# Processes on several machines write to one log; their clocks and buffers differ by up to this much: some seconds, or
# a part of a long run.
_ORDER_TOLERANCE_SECONDS = (5.0, 120.0)
_ORDER_TOLERANCE = 0.12  # of the time from run_start to the last line; v1.0 to v2.1 DLRM logs reach 0.11
_SEED_KEYS = ("seed", "run_set_random_seed")
_TARGET_KEYS = ("eval_target", "quality_target", "target_accuracy")
_OF_TRAINING = ("run_", "epoch_", "block_", "train_", "tracked_stats", "opt_learning_rate")
_ALWAYS_COUNTED = ("run_start", "eval_accuracy")
_JUDGED = ("run_start", "run_stop")  # `judge` says whether they are missing or repeated
_MAX_LIST = 1000
_MAX_VALUES = 32  # of one key; more add nothing
_MAX_TEXT = 200
_WHOLE_LOG = "log the whole attempt, from its first line to its last, without editing it"


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed as logged: two runs must not log the same seed from the same place."""

    file: str
    lineno: str
    value: str
    line: int


class LogCheck:
    """Checks the events of one log in order, with bounded memory for a log of any length."""

    def __init__(
        self, where: str, round_: Round, benchmark_name: str, division: str = "closed", *, is_own: bool = False
    ) -> None:
        """`is_own`: the log is of a result of Podium's, whose trainers print the format of v0.7 in every round."""
        self._where = where
        self._round = round_
        self._name = benchmark_name
        self._benchmark: Benchmark | None = round_.benchmarks.get(benchmark_name)
        self._closed = is_closed(division)
        self._untuned = division == "outOfTheBox"
        self._is_own = is_own
        self._keys_of_round = round_.log_rules.keys if round_.log_rules else {}
        self._settings: dict[str, dict[str, tuple[Any, int]]] = defaultdict(dict)  # values and lines, by key and text
        self._counted = self._keys_to_count()
        self._counts: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._latest = -math.inf
        self._started = math.inf
        self._latest_line = (
            0.0,
            "",
            0,
        )  # seconds behind, key and line of the training line that is the furthest behind
        self._format: Format | None = None
        self._once_lines: set[tuple[float, str, str]] = set()
        self._epochs_from_first = False
        self._still_rising: dict[str, bool] = {}  # schedules in which every value so far exceeded those before
        self._found: list[Finding] = []
        self._reported: set[str] = set()
        self.seeds: list[Seed] = []
        self.end = CutOff(self._benchmark.published if self._benchmark else None)

    @property
    def is_open(self) -> bool:
        """Whether the log is held to the rules of the open division."""
        return not self._closed

    def add(self, event: Event) -> None:
        """Check one event."""
        self.end.add(event)
        self._format = self._format or event.format
        key = event.key
        if key in self._counted:
            self._count(event)
            self._first.setdefault(key, event.line_number)
            self._last[key] = event.line_number
        late = self._lateness(event)
        if late > self._latest_line[0]:
            self._latest_line = (late, key, event.line_number)
        if self._counts["run_start"]:
            self._started = min(self._started, event.time)
            self._latest = max(self._latest, event.time)
        if key in _SEED_KEYS and str(event.value).lower() != "none" and len(self.seeds) < 1000:
            metadata = event.metadata
            file, lineno = metadata.get("file", ""), metadata.get("lineno", "")
            self.seeds.append(Seed(_text(file), _text(lineno), _text(event.value), event.line_number))
        elif key in _TARGET_KEYS:
            self._target(event)
        elif key == "eval_accuracy":
            self._evaluation(event)
        elif self._closed and self._benchmark:
            self._hyperparameter(event)

    def findings(self, problems: Iterable[Problem] = (), problem_count: int = 0) -> tuple[Finding, ...]:
        """Return all findings, after the last event; `problems` are the log's unreadable lines."""
        unreadable = [
            Finding(RuleId.LOG_UNREADABLE, self._where, problem.cause, problem.line_number,
                    "let only one process write at a time, and only complete lines")
            for problem in problems
        ]  # fmt: skip
        if problem_count > len(unreadable):
            message = f"{problem_count - len(unreadable)} further lines cannot be read"
            unreadable.append(Finding(RuleId.LOG_UNREADABLE, self._where, message))
        if self._format is None:
            return tuple(unreadable)
        return (*unreadable, *self._found, *self._order(), *self._keys(), *self._hyperparameters())

    def _keys_to_count(self) -> frozenset[str]:
        """Return the keys to count; not all keys, since a hostile log may contain a million."""
        rules, own = self._round.log_rules, self._benchmark.closed_log_keys if self._benchmark else ()
        of_round = (*rules.exactly_once, *rules.closed_at_least_once) if rules else ()
        return frozenset({*of_round, *own, *(rules.later.values() if rules else ()), *_ALWAYS_COUNTED})

    # ---- while lines arrive ----

    def _lateness(self, event: Event) -> float:
        """Return how much earlier a training line is stamped than a line before it, in the timed part; 0 if it is not.

        Evaluations may come from another process, later and in any order, and the run then stops at the time of the
        checkpoint that passed (v0.7 rules); `judge` compares run_stop with that. A timestamp of 0 means that no clock
        was read.
        """
        of_training = event.key.startswith(_OF_TRAINING)
        offline = event.key == "run_stop" and self._round.log_format == "mllog"
        return max(0.0, self._latest - event.time) if of_training and not offline and event.time > 0 else 0.0

    def _order(self) -> Iterator[Finding]:
        """Report the line whose timestamp is the furthest behind, if that is too much for a run of this length."""
        late, key, line = self._latest_line
        low, high = _ORDER_TOLERANCE_SECONDS
        if late > min(high, max(low, _ORDER_TOLERANCE * (self._latest - self._started))):
            message = f"{key} has a timestamp {late:.0f} s earlier than a line before it"
            yield Finding(
                RuleId.LOG_TIME_ORDER, self._where, message, line, "check the machines' clocks; " + _WHOLE_LOG
            )

    def _count(self, event: Event) -> None:
        """Count a line. Like the v0.5 tools, ignore identical lines: some logs contain every line twice."""
        key = event.key
        if self._round.log_rules and key in self._round.log_rules.exactly_once:
            line = (event.time, repr(event.metadata)[:_MAX_TEXT], repr(event.value)[:_MAX_TEXT])
            if line in self._once_lines:
                return
            if len(self._once_lines) < _MAX_VALUES:
                self._once_lines.add(line)
        self._counts[key] += 1

    def _once(self, rule: str, message: str, line: int, remedy: str) -> None:
        """Report only the first breach of a rule: repeating it for every line of a loop adds nothing."""
        if rule not in self._reported:
            self._reported.add(rule)
            self._found.append(Finding(rule, self._where, message, line, remedy))

    def _target(self, event: Event) -> None:
        wanted = self._benchmark.targets if self._benchmark else {}
        value = event.value
        if not self._closed or len(wanted) != 1 or isinstance(value, bool) or not isinstance(value, int | float):
            return
        (target,) = wanted.values()
        if not any(math.isclose(value, same, rel_tol=1e-6) for same in (target, target / 100, target * 100)):
            message = f"{event.key} is {value:g}, but the round's target is {target:g}"
            self._once(RuleId.LOG_TARGET, message, event.line_number, "a closed run stops at the round's target")

    def _evaluation(self, event: Event) -> None:
        rules = self._round.log_rules
        if not rules or not (self._format == self._round.log_format or self._is_later()):
            return
        epoch = event.metadata.get("epoch_num")
        if event.value is None or isinstance(event.value, dict) or epoch is None:
            message = "eval_accuracy has no epoch or no value"
            remedy = 'log eval_accuracy: {"epoch": 3, "value": 0.74}'
            self._once(RuleId.ROUND_EVAL_ACCURACY_FORM.of(self._round.name), message, event.line_number, remedy)
        elif epoch == self._first_epoch():
            self._epochs_from_first = True

    def _is_later(self) -> bool:
        """Whether the log is one of Podium's own in the format of v0.7, in a round that has another."""
        return self._is_own and self._format is Format.MLLOG and self._round.log_format != Format.MLLOG.value

    def _first_epoch(self) -> int:
        return 1 if self._is_later() else self._round.first_epoch

    def _hyperparameter(self, event: Event) -> None:
        """Keep the values of a hyperparameter: some rules depend on others that may be logged later."""
        assert self._benchmark is not None
        ruled = self._benchmark.ruled
        key = event.key if event.key in ruled else self._keys_of_round.get(event.key, "")
        if key not in ruled:
            return
        value = event.value[:_MAX_LIST] if isinstance(event.value, list | str) else event.value
        value = plain_value({} if isinstance(value, dict) else value, ruled[key].type)
        rules = self._round.log_rules
        if rules and isinstance(value, str):
            if rules.placeholder and value.lower().startswith(rules.placeholder.lower()):
                return
            value = rules.spellings.get(value, value)
        seen = self._settings[key]
        if rules and event.key in rules.schedules:
            self._schedule(key, value, event.line_number)
        elif len(seen) < _MAX_VALUES:
            seen.setdefault(repr(value)[:_MAX_TEXT], (value, event.line_number))

    def _schedule(self, key: str, value: Any, line: int) -> None:
        """Keep the largest value of a rate that is logged as it changes; it counts unless the log ends in warm-up."""
        seen, size = self._settings[key], _size(value)
        before = max((_size(value) for value, _ in seen.values()), default=None)
        if before is None or size > before:
            self._settings[key] = {"": (value, line)}
            if before is not None:
                self._still_rising.setdefault(key, True)
        else:
            self._still_rising[key] = False

    # ---- at the end ----

    def _keys(self) -> Iterator[Finding]:
        rules = self._round.log_rules
        if not rules:
            return
        name = self._round.name
        if self._format != self._round.log_format and not self._is_later():
            message = f"the log is in format {self._format}, but the tools of {name} read {self._round.log_format}"
            remedy = f"log in the format of {name}: the keys of this log are not checked"
            yield Finding(RuleId.ROUND_FORMAT.of(name), self._where, message, remedy=remedy)
            return
        for key in rules.exactly_once:
            if (count := self._counts[key]) != 1 and key not in _JUDGED:
                message = f"{key} is logged {count} times" if count else f"{key} is missing"
                remedy = "log it exactly once" + ("; keep each attempt in its own file" if count else "")
                yield Finding(RuleId.ROUND_KEY_ONCE.of(name, key), self._where, message, self._last.get(key), remedy)
        present = [key for key in rules.exactly_once if self._counts[key]]
        for before, after in pairwise(present):
            if self._last[after] < self._first[before]:
                message = f"{after} comes before {before}"
                yield Finding(RuleId.ROUND_KEY_ORDER.of(name, after), self._where, message, self._last[after],
                              f"the order is {', '.join(rules.exactly_once)}")  # fmt: skip
        from_first = self._benchmark is None or not self._benchmark.evaluates_first_epoch or self._epochs_from_first
        if self._counts["eval_accuracy"] and not from_first and f"{name}.eval_accuracy.form" not in self._reported:
            first = self._first_epoch()
            message = f"there is no eval_accuracy for epoch {first}"
            yield Finding(RuleId.ROUND_EVAL_ACCURACY_FIRST.of(name), self._where, message, self._first["eval_accuracy"],
                          f"evaluate after every epoch; they count from {first}")  # fmt: skip
        yield from self._closed_keys(rules)

    def _closed_keys(self, rules: LogRules) -> Iterator[Finding]:
        """Yield findings on the level 2 tags that are missing: those of all benchmarks, and of this one."""
        if not self._closed:
            return
        own = (
            [(key, self._benchmark.closed_log_source) for key in self._benchmark.closed_log_keys]
            if self._benchmark
            else []
        )
        later = rules.later if self._is_later() else {}
        for named, source in (*((key, rules.source) for key in rules.closed_at_least_once), *own):
            if later and named not in later:
                continue  # the later format has no such line
            key = later.get(named, named)
            if not self._counts[key]:
                remedy = f"log it at least once; the closed division requires it ({source})"
                yield Finding(
                    RuleId.ROUND_KEY_REQUIRED.of(self._round.name, key), self._where, f"{key} is missing", remedy=remedy
                )

    def _hyperparameters(self) -> Iterator[Finding]:
        """Check each logged value against the closed rules, and out of the box against the reference."""
        if self._benchmark is None:
            return
        settings = {key: value for key, seen in self._settings.items() for value, _ in list(seen.values())[:1]}
        for key, seen in self._settings.items():
            parameter = self._benchmark.ruled[key]
            for value, line in () if self._still_rising.get(key) else seen.values():
                breach = closed_breach(parameter, value, settings, self._round)
                if breach is None and self._untuned:
                    breach = untuned_breach(key, parameter, value, settings, self._round)
                if breach:
                    yield Finding(breach.rule, self._where, f"{key}: {breach.message}", line, breach.remedy)
                    break


def repeated_seeds(logs: Mapping[str, Sequence[Seed]], *, required: bool) -> Iterator[Finding]:
    """Yield findings on seeds that two runs share. `required`: since v1.0, each run must log one.

    Runs repeat seeds if they share half of them: when hundreds of processes draw 15 bits each, a few are equal by
    chance (NVIDIA's v0.5 ResNet).
    """
    earlier: dict[str, set[tuple[str, str, str]]] = {}
    for where, seeds in logs.items():
        own = {(seed.file, seed.lineno, seed.value) for seed in seeds}
        if required and not own:
            yield Finding(RuleId.LOG_SEED_MISSING, where, "no seed is logged", remedy="log the key seed once")
        twin = next((name for name, others in earlier.items() if own and 2 * len(own & others) >= len(own)), None)
        if twin:
            message = f"its seed {seeds[0].value}, from {seeds[0].file}:{seeds[0].lineno}, is also in {twin}"
            remedy = "draw a new seed for every attempt; two logs of one attempt are not two attempts"
            yield Finding(RuleId.LOG_SEED_REPEATED, where, message, seeds[0].line, remedy)
        earlier[where] = own


def _text(value: object) -> str:
    return str(value)[:_MAX_TEXT]


def _size(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return float(value) if is_number else -math.inf  # type: ignore[arg-type]
