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
import contextlib
import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

MAX_LINE = 1 << 20  # characters, counted from the token on
_START = ":::ML"  # of the three tokens
_MAX_PROBLEMS = 100
_MAX_LITERAL = 1 << 16  # of a Python dict in place of JSON: ast is slow, and such lines are short
_MAX_DEPTH = 64  # of nested lists and objects; official lines need 4
_MAX_KEY = 200
_LAST_SECOND = 253_402_300_799.0  # of the year 9999: later times have no date
_MLP = re.compile(r"v[\d.]+ (\w+) ([\d.]+) \(([^:)]*):?(\d{0,9})\) (\w+)\s*(?::\s*(.+))?$", re.DOTALL)
_MLL = re.compile(r"(\w+) ?:\s+(.+)$", re.DOTALL)  # from the key on
# As every known writer prints it: what follows the time is the same in thousands of lines.
_MLLOG = re.compile(r' ?\{"namespace": "[^"\\]*", "time_ms": (\d{1,15}), (?=")')
_CACHED_LINES = 1024
_CACHED_CHARACTERS = 400  # of a line, at most: 1 MB in all
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_REPLACED = "\ufffd"  # in place of bytes that are no UTF-8
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_EXPECTED_MLL = 'expected ":::MLL <seconds> <key>: {...}"'
_NAMES = {"null": None, "true": True, "false": False, "NaN": math.nan, "nan": math.nan, "inf": math.inf}


class Format(StrEnum):
    """The formats, named by their tokens."""

    MLP = "mlp-v0.5"
    MLL = "mll"
    MLLOG = "mllog"


class Event(NamedTuple):
    """One MLPerf line. `time` is in unix seconds whatever the format; epochs are as logged, from 0 in v0.5.

    A tuple, because one is made in a third of the time of a frozen dataclass. Events of lines that differ in their
    time only share `value` and `metadata`: never change these.
    """

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


_new = tuple.__new__  # half the time of calling the class


class _UnreadableError(ValueError):
    """Carries the cause, a sentence."""


def is_mlperf_line(line: str) -> bool:
    """Whether the line claims to be one; cheap enough for every line of output."""
    return _START in line


def parse_line(line: str, line_number: int = 0) -> Event | Problem | None:
    """An Event, a Problem, or None for any other output.

    Anything before the token is passed over, so are colour codes and what follows a carriage return. Where processes
    wrote into one line, the last token counts if the first does not make sense (MLCommons' checker takes the last).
    """
    at = line.find(_START)
    return None if at < 0 else _parse_record(line[at : _end(line, at)], line_number)


def parse(text: str | Iterable[str]) -> tuple[list[Event], list[Problem]]:
    """All events and problems of a whole log."""
    records = _records(text, 1) if isinstance(text, str) else _records_of_lines(text)
    events, problems = [], []
    for number, record in records:
        parsed = _parse_record(record, number)
        if isinstance(parsed, Event):
            events.append(parsed)
        elif parsed is not None:
            problems.append(parsed)
    return events, problems


class Parser:
    """Takes a log in chunks of any size, keeps an incomplete last line (of which at most MAX_LINE is held).

    `problems` are the first hundred, `problem_count` counts all. How the log was cut makes no difference.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.mlperf_characters = 0  # of all lines that start as MLPerf lines
        self.line_count = 0  # complete lines; after close() the last one, too
        self._open = False  # whether the last line lacks its newline
        self._rest: list[str] = []  # pieces of the incomplete line: from its token on, else a possible start of one
        self._rest_length = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, chunk: str | bytes) -> list[Event]:
        """The events of the lines that `chunk` completes. Broken UTF-8 is replaced, and a problem in MLPerf lines."""
        return self._feed(chunk if isinstance(chunk, str) else self._decoder.decode(chunk))

    def close(self) -> list[Event]:
        """The event of a last line without a newline."""
        events = self._feed(self._decoder.decode(b"", final=True)) + self._complete("\r")
        self.line_count += self._open
        self._open = False
        return events

    def _feed(self, text: str) -> list[Event]:
        end = max(text.rfind("\n"), text.rfind("\r")) + 1  # progress bars end their lines with carriage returns
        events = self._complete(text[:end]) if end else []
        self._keep(text[end:])
        self._open = not text.endswith("\n") if text else self._open
        return events

    def _complete(self, text: str) -> list[Event]:
        whole = "".join([*self._rest, text]) if self._rest else text
        self._rest, self._rest_length = [], 0
        events = []
        number, counted = self.line_count + 1, 0
        is_broken = _REPLACED in whole
        for at, end in _spans(whole):
            number += whole.count("\n", counted, at)
            counted = at
            self.mlperf_characters += end - at
            parsed = _parse_record(whole[at:end], number)
            if isinstance(parsed, Event):
                events.append(parsed)
                if is_broken and _REPLACED in whole[at:end]:
                    self._problem(Problem(number, whole[at:end][:200], "it holds bytes that are no UTF-8"))
            elif parsed is not None:
                self._problem(parsed)
        self.line_count = number - 1 + whole.count("\n", counted)
        return events

    def _problem(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)

    def _keep(self, text: str) -> None:
        if not text:
            return
        if not self._rest_length:  # no token yet; the piece kept may hold the start of one
            whole = "".join(self._rest) + text
            at = whole.find(_START)
            if at < 0:
                self._rest = [whole[1 - len(_START) :]]
                return
            self._rest, text = [], whole[at:]
        if self._rest_length <= MAX_LINE:  # one piece beyond the limit shows that the line is too long
            self._rest.append(text[: MAX_LINE + 1])
            self._rest_length += len(text)


def _records(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """(line number, text from the token to the end of the line) of every MLPerf line."""
    counted, number = 0, first_line
    for at, end in _spans(text):
        number += text.count("\n", counted, at)
        counted = at
        yield number, text[at:end]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each MLPerf line starts, at its token, and ends. Other lines cost one search."""
    at = text.find(_START)
    returns = "\r" in text
    while at >= 0:
        end = text.find("\n", at)
        if end < 0 or returns:
            end = _end(text, at)
        yield at, end
        at = text.find(_START, end)


def _end(text: str, start: int) -> int:
    """Where the line that holds `start` ends; a progress bar ends its line with a carriage return."""
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    earlier = text.find("\r", start, end)
    return end if earlier < 0 else earlier


def _records_of_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        at = line.find(_START)
        if at >= 0:
            yield number, line[at : _end(line, at)]


def _parse_record(text: str, number: int) -> Event | Problem | None:
    """One record that starts with the token."""
    if len(text) > MAX_LINE:
        return Problem(number, text[:200], f"longer than {MAX_LINE} characters")
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    text = text.rstrip()
    try:
        return _mll(text[7:], number) if text.startswith(":::MLL ") else _parse_token(text, number)
    except _UnreadableError as problem:
        last = text.rfind(_START)
        if last > 0:
            with contextlib.suppress(_UnreadableError):
                return _parse_token(text[last:], number)
        return Problem(number, text[:200], str(problem))


def _parse_token(text: str, number: int) -> Event | None:
    if text.startswith(":::MLLOG"):
        return _mllog(text[8:], number)
    if text.startswith(":::MLL "):
        return _mll(text[7:], number)
    if text.startswith(":::MLPv"):
        return _mlp(text[6:], number)
    return None


def _mllog(text: str, number: int) -> Event:
    start = _MLLOG.match(text)
    if start is None or len(text) > _CACHED_CHARACTERS or '"time_ms"' in text[start.end() :]:
        body = _payload(text)
        key, value, metadata = _key_value_metadata(body)
        time = body.get("time_ms")
    else:
        key, value, metadata = _cached_mllog(text[start.end() :])
        time = int(start[1])
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time <= _LAST_SECOND * 1000:
        raise _UnreadableError('"time_ms" is no number of milliseconds')
    return _new(Event, (Format.MLLOG, time / 1000, key, value, metadata, number, ""))


@lru_cache(maxsize=_CACHED_LINES)
def _cached_mllog(rest: str) -> tuple[str, Any, Mapping[str, Any]]:
    """Key, value and metadata of what follows the time: processes and epochs repeat it."""
    return _key_value_metadata(_payload("{" + rest))


def _key_value_metadata(body: Any) -> tuple[str, Any, Mapping[str, Any]]:
    if not isinstance(body, dict) or not isinstance(body.get("key"), str):
        raise _UnreadableError('not a JSON object with a "key"')
    if len(body["key"]) > _MAX_KEY:
        raise _UnreadableError(f'"key" is longer than {_MAX_KEY} characters')
    return body["key"], body.get("value"), _metadata(body)


def _mll(text: str, number: int) -> Event:
    seconds, _, rest = text.partition(" ")
    if not seconds.replace(".", "").isdecimal():
        raise _UnreadableError(_EXPECTED_MLL)
    key, value, metadata = _cached_mll(rest) if len(rest) <= _CACHED_CHARACTERS else _parse_mll(rest)
    return _new(Event, (Format.MLL, _seconds(seconds), key, value, metadata, number, ""))


def _parse_mll(rest: str) -> tuple[str, Any, Mapping[str, Any]]:
    match = _MLL.match(rest)
    if match is None:
        raise _UnreadableError(_EXPECTED_MLL)
    key, payload = match.groups()
    body = _payload(payload)
    if not isinstance(body, dict):
        raise _UnreadableError("what follows the key is not a JSON object")
    return key[:_MAX_KEY], body.get("value"), _metadata(body)


_cached_mll = lru_cache(maxsize=_CACHED_LINES)(_parse_mll)


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
    return Event(Format.MLP, _seconds(seconds), key[:_MAX_KEY], value, metadata, number, benchmark[:_MAX_KEY])


def _payload(text: str) -> Any:
    """JSON, or the Python dict that v0.6 MiniGo prints in its place."""
    if text.count("{") + text.count("[") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise _UnreadableError(f"nested deeper than {_MAX_DEPTH} levels")
    try:
        value = json.loads(text)
    except ValueError as error:
        value = _python_literal(text, error)
    return _without_surrogates(value) if _SURROGATE.search(text) else value


def _depth(text: str) -> int:
    """Deepest nesting of brackets outside strings."""
    deepest = depth = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _python_literal(text: str, error: ValueError) -> Any:
    """Only literals and the names of JSON are understood; nothing is evaluated. Raises what `error` says otherwise."""
    unreadable = _UnreadableError(f"broken JSON: {error}")
    if len(text) > _MAX_LITERAL or "'" not in text:
        raise unreadable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in the text
            return _literal(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise unreadable from None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    value = ast.literal_eval(node)  # of a constant or a signed number
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{type(value).__name__} is no JSON")


def _without_surrogates(value: Any) -> Any:
    """Half a character, as \\ud800 without its other half, cannot be written to a file."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise _UnreadableError(f"{text[:50]!r} is no time in seconds") from None
    if seconds > _LAST_SECOND:
        raise _UnreadableError(f"{text[:50]!r} is no time in seconds")
    return seconds
