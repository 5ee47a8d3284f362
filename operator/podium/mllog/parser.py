"""Incremental parser for MLPerf logs.

Logs are untrusted: on no input does the parser fail or evaluate anything. A line that looks like an MLPerf line but
cannot be read becomes a `Problem`.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable

from podium.mllog.record import MAX_LINE, START, Event, Problem, read_record, records

_MAX_PROBLEMS = 100
_REPLACED = "\ufffd"  # replaces bytes that are not valid UTF-8


def is_mlperf_line(line: str) -> bool:
    """Return whether the line claims to be an MLPerf line; cheap enough for every line of output."""
    return START in line


def parse_line(line: str, line_number: int = 0) -> Event | Problem | None:
    """Parse one line into an Event, a Problem, or None for any other output.

    Anything before the token is ignored, as are color codes and anything after a carriage return.
    """
    parts = records(line)
    if len(parts) == 1:
        return None
    head, time, body, other = parts[1:5]
    return read_record(head, time, body, other, line_number)


def parse(text: str | Iterable[str]) -> tuple[list[Event], list[Problem]]:
    """Return all events and problems of a complete log."""
    parser = Parser(max_problems=sys.maxsize)
    events = parser.feed(text if isinstance(text, str) else "\n".join(line.rstrip("\r\n") for line in text))
    return events + parser.close(), parser.problems


class Parser:
    """Parses a log in chunks of any size, and keeps up to MAX_LINE characters of an incomplete last line.

    `problems` are the first `max_problems`; `problem_count` counts all. The chunk boundaries make no difference.
    """

    def __init__(self, max_problems: int = _MAX_PROBLEMS) -> None:
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.mlperf_characters = 0  # of all lines that start as MLPerf lines
        self.line_count = 0  # complete lines; after close(), the last one as well
        self.is_torn = False  # after close(): whether the last line has no end
        self._max_problems = max_problems
        self._open = False  # whether the last line lacks its newline
        self._rest: list[str] = []  # pieces of the incomplete line: from its token on, else a possible start of one
        self._rest_length = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, chunk: str | bytes) -> list[Event]:
        """Return the events of the lines that `chunk` completes. Invalid UTF-8 is replaced; in MLPerf lines it is a
        problem as well."""
        return self._feed(chunk if isinstance(chunk, str) else self._decoder.decode(chunk))

    def close(self) -> list[Event]:
        """Return the event of a last line without a newline."""
        events = self._feed(self._decoder.decode(b"", final=True)) + self._complete("\r")
        self.line_count += self._open
        self.is_torn, self._open = self._open, False
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
        number, characters = self.line_count + 1, len(whole)
        is_broken = _REPLACED in whole
        *parts, after = records(whole)
        each = iter(parts)
        for before, head, time, body, other in zip(each, each, each, each, each, strict=True):
            number += before.count("\n")
            characters -= len(before)
            parsed = read_record(head, time, body, other, number)
            if type(parsed) is Event:
                events.append(parsed)
                if is_broken and _REPLACED in (line := f"{START}{head}{time}{body}" if head else START + other):
                    self._problem(Problem(number, line[:200], "it contains bytes that are not valid UTF-8"))
            elif isinstance(parsed, Problem):
                self._problem(parsed)
        self.mlperf_characters += characters - len(after)
        self.line_count = number - 1 + after.count("\n")
        return events

    def _problem(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < self._max_problems:
            self.problems.append(problem)

    def _keep(self, text: str) -> None:
        if not text:
            return
        if not self._rest_length:  # no token yet; the piece kept may be the start of one
            whole = "".join(self._rest) + text
            at = whole.find(START)
            if at < 0:
                self._rest = [whole[1 - len(START) :]]
                return
            self._rest, text = [], whole[at:]
        if self._rest_length <= MAX_LINE:  # one piece beyond the limit shows that the line is too long
            self._rest.append(text[: MAX_LINE + 1])
            self._rest_length += len(text)
