"""MLCommons' own compliance checker (``mlperf_logging``), for the rounds it knows: 0.6 on.

Its rule files are Python run by eval, chosen by values of the log. So it gets events that are parsed already, and
only from logs whose values name one of its own files: a log could name any file on the disk, or make it load
``common`` for ever. Further defects that are mended here: it reads a log line by line with a pattern that takes
minutes on a long line, counts MLPerf lines instead of lines, writes a log file, and stops at the first value of
another type than its rule expects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.mllog import Event, Format
from podium.rules.findings import Finding

MAX_EVENTS = 100_000  # of one log; published ones hold 13,000 at most, and more would fill the memory
MAX_CHARACTERS = 64 << 20  # of its MLPerf lines
_CHOOSING = ("submission_benchmark", "submission_division", "opt_name")  # they name rule files
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,40}")  # nothing that leads out of the rules' folder
_REQUIRED = re.compile(
    r"Required (?P<how>\w+)(?:\((?P<n>\d+)\))? occurrence of (?P<keys>.+?)(?: but found (?P<found>\d+.*))?$", re.DOTALL
)
_FAILED = re.compile(r"CHECK for '(?P<key>\w+)' failed in line (?P<line>\d+):.*?\nfailed test: (?P<test>.*?)\ncurrent ",
                     re.DOTALL)  # fmt: skip
_CRASHED = re.compile(r"Failed executing .*?code.*?triggered by line ?:\n(?P<line>\d+)", re.DOTALL)
_NEVER = re.compile(r"Failed checks for (?P<key>\w+) : (?P<test>.*)", re.DOTALL)
_TIMES = {"EXACTLY_ONE": "exactly once", "AT_LEAST_ONE": "at least once"}


class MissingCheckerError(Exception):
    """mlperf_logging is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "the compliance checker of MLCommons is missing: pip install 'podium-operator[cli]' "
            "(v0.5 logs can be checked without)"
        )


@dataclass
class _Line:
    """What the checker's rules look at (its LogLine); those of Stable Diffusion copy it as a dataclass."""

    full_string: str
    timestamp: float
    key: str
    value: dict[str, Any]
    lineno: int


@dataclass(frozen=True, slots=True)
class Official:
    """The checker with the rules of one round."""

    ruleset: str  # such as 0.6.0
    folder: Path

    def check(self, events: Sequence[Event], where: str, benchmark: str) -> tuple[Finding, ...]:
        """Everything it finds against one log."""
        from mlperf_logging.benchmark_meta import get_allowed_benchmarks  # noqa: PLC0415
        from mlperf_logging.compliance_checker import mlp_compliance  # noqa: PLC0415

        unsafe = tuple(self._unsafe(events, where, get_allowed_benchmarks("training", self.ruleset)))
        if unsafe:
            return unsafe
        own = f"training_{self.ruleset}/{benchmark}.yaml"  # v0.6 MiniGo: common.yaml refuses it
        config = own if self.ruleset == "0.6.0" and benchmark == "minigo" else f"training_{self.ruleset}/common.yaml"
        checker = mlp_compliance.make_checker("training", self.ruleset, True, False)
        try:
            checker.check_loglines([self._line(event) for event in events], config)
        except Exception as error:  # noqa: BLE001 - it fails in many ways on values of another type
            message = f"the checker of MLCommons gave up: {type(error).__name__}: {error}"
            remedy = "look for a value of another type than usual, such as a text in place of a number"
            return (Finding("mlperf.crash", where, message, remedy=remedy),)
        finally:
            mlp_compliance.enqueued_configs.clear()  # a module's global, left over after a failure
        messages = [*checker.overwritable.values(), *checker.not_overwritable]
        return tuple(_finding(message, where, self.ruleset) for message in messages)

    def _unsafe(self, events: Sequence[Event], where: str, benchmarks: Sequence[str]) -> Iterator[Finding]:
        allowed = {"submission_benchmark": benchmarks, "submission_division": ["closed", "open"]}
        for event in events:
            if event.key not in _CHOOSING:
                continue
            names = allowed.get(event.key)
            known = event.value in names if names else isinstance(event.value, str) and _WORD.fullmatch(event.value)
            if not known:
                remedy = (
                    f"log one of {', '.join(names)}" if names else "log the optimizer's name, in letters and digits"
                )
                message = f"{event.key} is {str(event.value)[:80]!r}, no rule file of {self.ruleset} has that name"
                yield Finding(f"mlperf.{event.key}", where, message, event.line_number, remedy)

    def _line(self, event: Event) -> _Line:
        in_seconds = self.ruleset == "0.6.0"  # its rules are for the round's own format; our trainers log :::MLLOG
        time = event.time * 1000 if event.format is Format.MLLOG and not in_seconds else event.time
        value = {"value": event.value, "metadata": dict(event.metadata)}
        return _Line(f"{event.line_number}", time, event.key, value, event.line_number)


def official(round_: str) -> Official | None:
    """The checker for a round such as "v0.7", None where it knows no such round. Raises MissingCheckerError."""
    try:
        from mlperf_logging.compliance_checker import mlp_compliance  # noqa: PLC0415
    except ImportError as error:
        raise MissingCheckerError from error
    folder, ruleset = Path(mlp_compliance.__file__).parent, f"{round_.removeprefix('v')}.0"
    return Official(ruleset, folder) if (folder / f"training_{ruleset}").is_dir() else None


def _finding(message: str, where: str, ruleset: str) -> Finding:
    """One of the checker's messages in our form."""
    source = f"rules of MLCommons for {ruleset}"
    if match := _FAILED.match(message):
        said = f"{match['key']} breaks {' '.join(match['test'].split())!r}"
        return Finding(f"mlperf.{match['key']}.check", where, said, int(match["line"]), source)
    if match := _REQUIRED.match(message):
        keys = match["keys"].replace("'", "")
        times = f"at least {match['n']} times" if match["n"] else _TIMES.get(match["how"], match["how"])
        found = (match["found"] or "0").split(" ", 1)
        count = f"found {found[0]} times" if found[0] != "0" else "missing"
        remedy = f"log it {times}" + (f"; it was logged {found[1]}" if len(found) > 1 else "")
        return Finding(f"mlperf.{keys.split()[0]}.required", where, f"{keys} is {count}", remedy=remedy)
    if match := _NEVER.match(message):
        said = f"no {match['key']} fulfils {' '.join(match['test'].split())!r}"
        return Finding(f"mlperf.{match['key']}.never", where, said, remedy=source)
    if match := _CRASHED.match(message):
        return Finding("mlperf.value", where, "a value or metadata of it is missing or of another type than the "
                       "rules expect", int(match["line"]), source)  # fmt: skip
    return Finding("mlperf", where, " ".join(message.partition("\ncurrent context")[0].split()), remedy=source)
