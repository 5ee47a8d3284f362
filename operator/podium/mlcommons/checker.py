"""Run MLCommons' own compliance checker (``mlperf_logging``) for the rounds it knows: v0.6 and later.

Its rule files contain Python that it runs with eval, and values in the log select them: a log could name any file on
the disk, or make it load ``common`` forever. So it runs in a separate process, gets parsed events instead of files, and
only from logs whose values name one of its own rule files. This module also works around other defects: it reads a log
line by line with a pattern that takes minutes on a long line, counts MLPerf lines instead of lines, writes a log file,
and stops at the first value whose type its rule does not expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from podium.mlcommons.process import Ruleset, ToolError, worker
from podium.mlcommons.remedies import remedy_for_line, remedy_for_log, remedy_for_result, remedy_for_type
from podium.mllog import Event, Format
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

MAX_EVENTS = 100_000  # in one log; published ones have at most 13,000, and more would fill the memory
MAX_CHARACTERS = 64 << 20  # in its MLPerf lines
_SECONDS = 300  # for one log
_CHOOSING = ("submission_benchmark", "submission_division", "opt_name")  # their values name rule files
UNSAFE = frozenset({*map(RuleId.MLPERF_KEY.of, _CHOOSING), RuleId.MLPERF_RULES})  # such a log must not reach the tools
_DIVISIONS = frozenset({"closed", "open"})
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,40}")  # cannot lead out of the rules' folder
_REQUIRED = re.compile(
    r"Required (?P<how>\w+)(?:\((?P<n>\d+)\))? occurrence of (?P<keys>.+?)(?: but found (?P<found>\d+.*))?$", re.DOTALL
)
_FAILED = re.compile(r"CHECK for '(?P<key>\w+)' failed in line (?P<line>\d+):.*?\nfailed test: (?P<test>.*?)\ncurrent ",
                     re.DOTALL)  # fmt: skip
_CRASHED = re.compile(r"Failed executing .*?code.*?triggered by line ?:\n(?P<line>\d+)", re.DOTALL)
_NEVER = re.compile(r"Failed checks for (?P<key>\w+) : (?P<test>.*)", re.DOTALL)
_TIMES = {"EXACTLY_ONE": "exactly once", "AT_LEAST_ONE": "at least once"}


@dataclass(frozen=True, slots=True)
class Official:
    """The checker with the rules of one round."""

    rules: Ruleset

    def check(self, events: Sequence[Event], where: str, benchmark: str) -> tuple[Finding, ...]:
        """All of its findings against one log. Raises MissingCheckerError."""
        unsafe = tuple(self.unsafe(events, where))
        if unsafe:
            return unsafe
        # common.yaml rejects v0.6 MiniGo
        config = benchmark if self.rules.name == "0.6.0" and benchmark == "minigo" else "common"
        lines = [self._line(event) for event in events]
        try:
            found = worker().ask("check", seconds=_SECONDS, ruleset=self.rules.name, config=config, events=lines)
        except ToolError as error:
            message = f"MLCommons' checker gave up: {error}"
            remedy = "look for a value of an unexpected type, such as a string instead of a number"
            return (Finding(RuleId.MLPERF_CRASH, where, message, remedy=remedy),)
        findings = (
            *(_refused(str(name), where) for name in found["refused"]),
            *(_finding(str(message), where, self.rules.name) for message in found["messages"]),
        )
        return tuple(dict.fromkeys(findings))  # one requirement may come twice, with its alternatives in another order

    def unsafe(self, events: Sequence[Event], where: str) -> Iterator[Finding]:
        """Findings for values that would select an unknown rule file; a log with such values is not checked."""
        known = {"submission_benchmark": self.rules.benchmarks, "submission_division": _DIVISIONS}
        for event in events:
            if event.key not in _CHOOSING:
                continue
            names = known.get(event.key)
            if isinstance(event.value, str) and (event.value in names if names else _WORD.fullmatch(event.value)):
                continue
            choice = (
                f"log one of {', '.join(sorted(names))}" if names else "log the optimizer's name in letters and digits"
            )
            message = f"{event.key} is {str(event.value)[:80]!r}; no rule file of {self.rules.name} has that name"
            yield Finding(RuleId.MLPERF_KEY.of(event.key), where, message, event.line_number, choice)

    def _line(self, event: Event) -> tuple[int, float, str, Any, Any]:
        in_seconds = self.rules.name == "0.6.0"  # its rules expect the round's own format; our trainers log :::MLLOG
        time = event.time * 1000 if event.format is Format.MLLOG and not in_seconds else event.time
        return event.line_number, time, event.key, event.value, event.metadata


def official(round_: str) -> Official | None:
    """The checker for a round such as "v0.7", or None if it does not know that round. Raises MissingCheckerError."""
    rules = worker().rulesets.get(f"{round_.removeprefix('v')}.0")
    return None if rules is None else Official(rules)


def _refused(name: str, where: str) -> Finding:
    message = f"its values select the rules in {name[:200]}, but MLCommons has no such file"
    return Finding(RuleId.MLPERF_RULES, where, message, remedy="log a division, benchmark and optimizer of the round")


def _finding(message: str, where: str, ruleset: str) -> Finding:
    """Turn one of the checker's messages into a finding."""
    if match := _FAILED.match(message):
        said = f"{match['key']} breaks {' '.join(match['test'].split())!r}"
        remedy = remedy_for_line(match["key"], match["test"], ruleset)
        return Finding(RuleId.MLPERF_KEY_CHECK.of(match["key"]), where, said, int(match["line"]), remedy)
    if match := _REQUIRED.match(message):
        # Alternatives come in any order; block_start and block_stop, which stand in for others, are named last
        names = sorted(match["keys"].replace("'", "").split(" or "), reverse=True)
        times = f"at least {match['n']} times" if match["n"] else _TIMES.get(match["how"], match["how"])
        found = (match["found"] or "0").split(" ", 1)
        count = f"found {found[0]} times" if found[0] != "0" else "missing"
        remedy = f"log it {times}" + (f"; it was logged {found[1]}" if len(found) > 1 else "")
        return Finding(
            RuleId.MLPERF_KEY_REQUIRED.of(names[0]), where, f"{' or '.join(names)} is {count}", remedy=remedy
        )
    if match := _NEVER.match(message):
        said = f"no {match['key']} fulfills {' '.join(match['test'].split())!r}"
        return Finding(RuleId.MLPERF_KEY_NEVER.of(match["key"]), where, said, remedy=remedy_for_result(ruleset))
    if match := _CRASHED.match(message):
        return Finding(RuleId.MLPERF_VALUE, where, "a value or its metadata is missing, or of a type that the "
                       "rules do not expect", int(match["line"]), remedy_for_type(ruleset))  # fmt: skip
    said = " ".join(message.partition("\ncurrent context")[0].split())
    return Finding(RuleId.MLPERF, where, said, remedy=remedy_for_log(ruleset))
