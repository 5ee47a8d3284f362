"""Incremental parser of the three MLPerf log formats.

v0.5, in seconds:     ``:::MLPv0.5.0 resnet 1541720383.838 (file.py:49) eval_accuracy: {"epoch": 62, "value": 0.7522}``
v0.6, in seconds:     ``:::MLL 1560888652.055 eval_accuracy: {"value": 0.762, "metadata": {...}}``
v0.7, milliseconds:   ``:::MLLOG {"time_ms": 1594790000000, "key": "eval_accuracy", "value": 0.762, "metadata": {...}}``

A log is somebody else's: whatever it holds, the parser neither fails nor evaluates anything. What looks like an
MLPerf line and cannot be read is a `Problem`.
"""

from __future__ import annotations

import ast
import codecs
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_LINE = 1 << 20
_MAX_PROBLEMS = 100
_MAX_LITERAL = 1 << 16  # of a Python dict in place of JSON: ast is slow, and such lines are short
_MLP = re.compile(r"^v[\d.]+ (\w+) ([\d.]+) \(([^:)]*):?(\d*)\) (\w+)\s*(?::\s*(.+))?$", re.DOTALL)
_MLL = re.compile(r"^ ([\d.]+) (\w+)\s*:\s+(.+)$", re.DOTALL)


class Format(StrEnum):
    """The formats, named by their tokens."""

    MLP = "mlp-v0.5"
    MLL = "mll"
    MLLOG = "mllog"


@dataclass(frozen=True, slots=True)
class Event:
    """One MLPerf line. `time` is in unix seconds whatever the format; epochs are as logged, from 0 in v0.5."""

    format: Format
    time: float
    key: str
    value: Any
    metadata: Mapping[str, Any]
    line_number: int
    benchmark: str = ""  # v0.5 names it in every line


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that starts as an MLPerf line and cannot be read."""

    line_number: int
    text: str
    cause: str


class _UnreadableError(ValueError):
    """Carries the cause, a sentence."""


def is_mlperf_line(line: str) -> bool:
    """Whether the line claims to be one; cheap enough for every line of output."""
    return ":::ML" in line


def parse_line(line: str, line_number: int = 0) -> Event | Problem | None:
    """An Event, a Problem, or None for any other output. Anything before ``:::`` is passed over."""
    at = line.find(":::ML")
    if at < 0:
        return None
    text = line[at + 5 :].rstrip()
    if len(line) > MAX_LINE:
        return Problem(line_number, line[at : at + 200], f"longer than {MAX_LINE} characters")
    try:
        if text.startswith("LOG"):
            return _mllog(text[3:], line_number)
        if text.startswith("L "):
            return _mll(text[1:], line_number)
        if text.startswith("Pv"):
            return _mlp(text[1:], line_number)
    except _UnreadableError as problem:
        return Problem(line_number, line[at : at + 200], str(problem))
    return None


def parse(text: str | Iterable[str]) -> tuple[list[Event], list[Problem]]:
    """All events and problems of a whole log."""
    lines = text.splitlines() if isinstance(text, str) else text
    events, problems = [], []
    for number, line in enumerate(lines, start=1):
        parsed = parse_line(line, number)
        if isinstance(parsed, Event):
            events.append(parsed)
        elif parsed is not None:
            problems.append(parsed)
    return events, problems


@dataclass(slots=True)
class Parser:
    """Takes a log in chunks of any size, keeps an incomplete last line."""

    problems: list[Problem] = field(default_factory=list)  # the first hundred
    problem_count: int = 0
    line_count: int = 0
    _rest: str = ""
    _skipping: bool = False  # within a line that is too long
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )

    def feed(self, chunk: str | bytes) -> list[Event]:
        """The events of the lines that `chunk` completes. Broken UTF-8 is replaced."""
        text = chunk if isinstance(chunk, str) else self._decoder.decode(chunk)
        *lines, rest = (self._rest + text).split("\n")
        events = [event for line in lines if (event := self._line(line)) is not None]
        if len(rest) > MAX_LINE:
            if not self._skipping:
                self._note(Problem(self.line_count + 1, rest[:200], f"longer than {MAX_LINE} characters"))
            self._skipping, rest = True, ""
        self._rest = rest
        return events

    def close(self) -> list[Event]:
        """The event of a last line without a newline."""
        rest, self._rest = self._rest, ""
        event = self._line(rest) if rest else None
        return [event] if event is not None else []

    def _line(self, line: str) -> Event | None:
        self.line_count += 1
        if self._skipping:
            self._skipping = False
            return None
        parsed = parse_line(line, self.line_count)
        if isinstance(parsed, Problem):
            self._note(parsed)
            return None
        return parsed

    def _note(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)


def _mllog(text: str, number: int) -> Event:
    body = _payload(text)
    if not isinstance(body, dict) or not isinstance(body.get("key"), str):
        raise _UnreadableError('not a JSON object with a "key"')
    time = body.get("time_ms")
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise _UnreadableError('"time_ms" is no number')
    return Event(Format.MLLOG, time / 1000, body["key"], body.get("value"), _metadata(body), number)


def _mll(text: str, number: int) -> Event:
    match = _MLL.match(text)
    if match is None:
        raise _UnreadableError('expected ":::MLL <seconds> <key>: {...}"')
    seconds, key, payload = match.groups()
    body = _payload(payload)
    if not isinstance(body, dict):
        raise _UnreadableError("what follows the key is not a JSON object")
    return Event(Format.MLL, _seconds(seconds), key, body.get("value"), _metadata(body), number)


def _mlp(text: str, number: int) -> Event:
    match = _MLP.match(text)
    if match is None:
        raise _UnreadableError('expected ":::MLPv0.5.0 <benchmark> <seconds> (<file>:<line>) <key>: ..."')
    benchmark, seconds, file, lineno, key, payload = match.groups()
    value = _payload(payload) if payload else None
    metadata: dict[str, Any] = {"file": file, "lineno": int(lineno) if lineno else None}
    if isinstance(value, dict):
        if "epoch" in value:
            metadata["epoch_num"] = value["epoch"]
        if "success" in value:  # of run_stop
            metadata["status"] = "success" if value["success"] else "aborted"
        value = value.get("value", value)
    return Event(Format.MLP, _seconds(seconds), key, value, metadata, number, benchmark)


def _payload(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _UnreadableError("nested too deeply") from None
    except ValueError as error:
        literal = _python_literal(text)
        if literal is None:
            raise _UnreadableError(f"broken JSON: {error}") from None
        return literal


def _python_literal(text: str) -> Any:
    """v0.6 MiniGo prints Python dicts. Only literals are understood; nothing is evaluated."""
    if len(text) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _UnreadableError(f"{text!r} is no time in seconds") from None
