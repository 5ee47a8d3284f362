"""Reads one MLPerf line in any of the three formats: an Event, or a Problem.

v0.5, in seconds:     ``:::MLPv0.5.0 resnet 1541720383.838 (file.py:49) eval_accuracy: {"epoch": 62, "value": 0.7522}``
v0.6, in seconds:     ``:::MLL 1560888652.055 eval_accuracy: {"value": 0.762, "metadata": {...}}``
v0.7, milliseconds:   ``:::MLLOG {"time_ms": 1594790000000, "key": "eval_accuracy", "value": 0.762, "metadata": {...}}``

Lines as all known writers print them take a fast path: one regular expression finds the line and cuts out its time, and
the text around the time is parsed once for all lines that repeat it, as processes and epochs do. Any other line takes
the slow path, which knows everything that may be wrong; both paths produce the same event.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from podium.mllog.payload import UnreadableError, read_payload
from podium.text import without_escapes

MAX_LINE = 1 << 20  # characters, counted from the token on
START = ":::ML"  # common to the three tokens
_MAX_KEY = 200
_LAST_SECOND = 253_402_300_799.0  # end of the year 9999: later times have no date
_MLP = re.compile(r"v[\d.]+ (\w+) ([\d.]+) (\(.*)$", re.DOTALL)
_MLP_BODY = re.compile(r"\(([^:)]*):?(\d{0,9})\) (\w+)\s*(?::\s*(.+))?$", re.DOTALL)
_MLL_BODY = re.compile(r"(\w+) ?:\s+(.+)$", re.DOTALL)
_CACHED_BODIES = 2048  # a ResNet log of 130 nodes has 1,500, shared with the logs of its other runs
_CACHED_CHARACTERS = 400  # of a body, at most
_MILLISECONDS = ("milliseconds", "time_ms", 1000)
_SECONDS = ("seconds", "time_s", 1)  # used by Alibaba in v0.7
_EXPECTED_MLL = 'expected ":::MLL <seconds> <key>: {...}"'
_EXPECTED_MLP = 'expected ":::MLPv0.5.0 <benchmark> <seconds> (<file>:<line>) <key>: ..."'

_Body = tuple[str, Any, Mapping[str, Any]]  # key, value, metadata


class Format(StrEnum):
    """The log formats, named after their tokens."""

    MLP = "mlp-v0.5"
    MLL = "mll"
    MLLOG = "mllog"


class Event(NamedTuple):
    """One MLPerf line. `time` is in unix seconds in every format; epochs are as logged, starting at 0 in v0.5.

    A tuple, because creating one takes a third of the time of a frozen dataclass. Events of lines that differ only in
    their time share `value` and `metadata`: never change these.
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
    """A line that starts like an MLPerf line but cannot be read."""

    line_number: int
    text: str
    cause: str


_new = tuple.__new__  # half the time of calling the class


def records(text: str) -> list[Any]:
    """Split `text` at its MLPerf lines: the text before the first, its four parts, the text up to the next, and so on.

    The parts, for `read_record`, are head, time and body of a line of the usual form, or else None, None, None and
    everything after its token. Lines of other output cost one search.
    """
    return (_LINE_WITH_RETURNS if "\r" in text else _LINE).split(text)


def read_record(head: str | None, time: str, body: str, other: str, number: int) -> Event | Problem | None:
    """Return the event of a line that `records` split; None if it only resembles an MLPerf line."""
    if head is None:
        return _read_unusual(START + other, number)
    try:
        format_, per_second, key, value, metadata, benchmark = _read_usual(head, body)
    except UnreadableError:
        return _read_unusual(START + head + time + body, number)
    at = float(time) / per_second
    if at > _LAST_SECOND:
        return _read_unusual(START + head + time + body, number)
    return _new(Event, (format_, at, key, value, metadata, number, benchmark))


def _read_unusual(text: str, number: int) -> Event | Problem | None:
    """Read a line on the slow path, which also reports what is wrong. `text` starts with the token.

    If several processes wrote into one line, the last token counts if the first makes no sense (MLCommons' checker
    takes the last).
    """
    if len(text) > MAX_LINE:
        return Problem(number, text[:200], f"longer than {MAX_LINE} characters")
    text = without_escapes(text).rstrip()
    try:
        return _by_token(text, number)
    except UnreadableError as problem:
        last = text.rfind(START)
        if last > 0:
            with contextlib.suppress(UnreadableError):
                return _by_token(text[last:], number)
        return Problem(number, text[:200], str(problem))


def _by_token(text: str, number: int) -> Event | None:
    if text.startswith(":::MLLOG"):
        return _mllog(text[8:], number)
    if text.startswith(":::MLL "):
        return _mll(text[7:], number)
    if text.startswith(":::MLPv"):
        return _mlp(text[6:], number)
    return None


def _mllog(text: str, number: int) -> Event:
    body = read_payload(text)
    key, value, metadata = _key_value_metadata(body)
    unit, name, per_second = _MILLISECONDS if "time_ms" in body or "time_s" not in body else _SECONDS
    time = body.get(name)
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time <= _LAST_SECOND * per_second:
        raise UnreadableError(f'"{name}" is not a number of {unit}')
    return Event(Format.MLLOG, time / per_second, key, value, metadata, number)


def _mll(text: str, number: int) -> Event:
    seconds, _, rest = text.partition(" ")
    if not seconds.replace(".", "").isdecimal():
        raise UnreadableError(_EXPECTED_MLL)
    return Event(Format.MLL, _seconds(seconds), *_mll_body(rest), number)


def _mlp(text: str, number: int) -> Event:
    match = _MLP.match(text)
    if match is None:
        raise UnreadableError(_EXPECTED_MLP)
    benchmark, seconds, rest = match.groups()
    return Event(Format.MLP, _seconds(seconds), *_mlp_body(rest), number, benchmark[:_MAX_KEY])


def _key_value_metadata(body: Any) -> _Body:
    if not isinstance(body, dict) or not isinstance(body.get("key"), str):
        raise UnreadableError('not a JSON object with a "key"')
    if len(body["key"]) > _MAX_KEY:
        raise UnreadableError(f'"key" is longer than {_MAX_KEY} characters')
    return body["key"], body.get("value"), _metadata(body)


def _mll_body(rest: str) -> _Body:
    match = _MLL_BODY.match(rest)
    if match is None:
        raise UnreadableError(_EXPECTED_MLL)
    key, payload = match.groups()
    body = read_payload(payload)
    if not isinstance(body, dict):
        raise UnreadableError("the text after the key is not a JSON object")
    return key[:_MAX_KEY], body.get("value"), _metadata(body)


def _mlp_body(rest: str) -> _Body:
    match = _MLP_BODY.match(rest)
    if match is None:
        raise UnreadableError(_EXPECTED_MLP)
    file, lineno, key, payload = match.groups()
    value = read_payload(payload) if payload else None
    metadata: dict[str, Any] = {"file": file, "lineno": int(lineno) if lineno else None}
    if isinstance(value, dict):
        if "epoch" in value:
            metadata["epoch_num"] = value["epoch"]
        if "success" in value:  # of run_stop
            metadata["status"] = "success" if value["success"] else "aborted"
        value = value.get("value", value)
    return key[:_MAX_KEY], value, metadata


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise UnreadableError(f"{text[:50]!r} is not a time in seconds") from None
    if seconds > _LAST_SECOND:
        raise UnreadableError(f"{text[:50]!r} is not a time in seconds")
    return seconds


# ---- the fast path ----


def _line(any_: str) -> re.Pattern[str]:
    """Return the pattern of an MLPerf line; `any_` matches the characters that it may contain."""
    head = r'L |LOG ?{"namespace": "[^"\\\r\n]*", "time_ms": |Pv[0-9.]+ \w+ '
    time = r"[1-9][0-9]{0,13}(?:\.[0-9]+)?"
    body = rf"{any_}{{0,{_CACHED_CHARACTERS}}}"
    return re.compile(rf"{START}(?:({head})({time})({body})(?!{any_})|({any_}*))")


_LINE = _line(".")
_LINE_WITH_RETURNS = _line(r"[^\r\n]")  # a progress bar ends its line with a carriage return; three times slower


@lru_cache(maxsize=_CACHED_BODIES)
def _read_usual(head: str, body: str) -> tuple[Format, int, str, Any, Mapping[str, Any], str]:
    """Parse the text around a line's time: format, units per second, key, value, metadata, benchmark."""
    if "\x1b" in body:
        raise UnreadableError("colored")
    body = body.rstrip()
    if head == "L ":
        return Format.MLL, 1, *_mll_body(body[1:]), ""
    if head.startswith("LOG"):
        document = read_payload('{"time": null' + body)
        if "time_ms" in document:
            raise UnreadableError("two times; the second would count")
        return Format.MLLOG, 1000, *_key_value_metadata(document), ""
    return Format.MLP, 1, *_mlp_body(body[1:]), head.split(" ")[1][:_MAX_KEY]
