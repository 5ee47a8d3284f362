"""Read JSON, YAML and files that others may have written, within limits.

A document can be larger than memory, nested deeper than the stack, expand a billion times through aliases, or contain
numbers that no program can represent. Each case raises an error that names the document, the problem and the limit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_BYTES = 16 << 20
MAX_YAML_BYTES = 1 << 20  # parsing this much takes seconds; the API server accepts no larger object either
MAX_DEPTH = 64  # levels of nested lists and objects
MAX_NODES = 100_000  # in a YAML document, with aliases expanded
MAX_DIGITS = 64  # in an integer
_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{\]}]')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NUMBER = re.compile(r"[-+]?[0-9][0-9a-fA-F_xob:.]*")


class DocumentError(ValueError):
    """A document cannot be read; the message says which one, and why."""


class LimitError(DocumentError):
    """A document exceeds a limit, or contains NaN or infinity."""


def file_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file. Raises OSError, and LimitError if it is larger than `limit` bytes."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise LimitError(f"{path} is larger than {size(limit)}, the limit for such a file")
    return content


def size(number_of_bytes: int) -> str:
    """A size as text, such as ``16 MiB``."""
    return f"{number_of_bytes >> 20} MiB"


def read_json(content: bytes, where: str) -> Any:
    """The value of a JSON document. Raises DocumentError; NaN and infinite numbers are not JSON."""

    def refused(name: str) -> NoReturn:
        raise LimitError(f"{where} contains {name}, which is not valid JSON; write null")

    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise LimitError(f"{where} contains a number with {len(digits)} digits; the limit is {MAX_DIGITS}")
        return int(digits)

    def fraction(digits: str) -> float:
        number = float(digits)
        return number if math.isfinite(number) else refused(digits[:20])

    try:
        text = content.decode(json.detect_encoding(content))
        if (found := nesting(text)) > MAX_DEPTH:
            raise LimitError(f"{where} is nested {found} levels deep; the limit is {MAX_DEPTH}")
        value = json.loads(text, parse_constant=refused, parse_int=whole, parse_float=fraction)
        if _SURROGATE.search(text):
            _check_characters(json.dumps(value, ensure_ascii=False), where)
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError(f"{where} is not valid JSON: {error}") from error
    return value


def _check_characters(text: str, where: str) -> None:
    """Raises LimitError for half a character, such as \\ud800 without its other half: no file can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LimitError(f"{where} contains {text[error.start]!a}, which is half a character; remove it") from error


def nesting(text: str) -> int:
    """The deepest nesting of brackets outside JSON strings; 0 if there are too few brackets to exceed the limit."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 0
    deepest = depth = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def read_yaml(content: bytes, where: str) -> list[Any]:
    """The values of all documents in a YAML file, built from plain types only. Raises DocumentError."""
    if len(content) > MAX_YAML_BYTES:
        raise LimitError(f"{where} is larger than {size(MAX_YAML_BYTES)}, the limit for YAML")
    try:
        text = content.decode()
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader), where)
        return list(yaml.safe_load_all(text))
    except DocumentError:
        raise
    except UnicodeDecodeError as error:
        raise DocumentError(f"{where} is not valid UTF-8: {error}") from error
    except (ValueError, yaml.YAMLError) as error:  # ValueError: an impossible date or number
        raise DocumentError(f"{where} is not valid YAML: {error}") from error


def _check_events(events: Iterable[yaml.Event], where: str) -> None:
    """Check a YAML file against the limits before building any value. Raises LimitError."""
    nodes = 0  # with aliases expanded
    sizes: dict[str, int] = {}  # nodes below each anchor
    above: list[tuple[str | None, int]] = []  # enclosing collections: anchor, nodes before it
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in above):
                raise LimitError(f"{where} contains &{event.anchor} inside itself; remove the recursive alias")
            nodes += sizes.get(event.anchor or "", 0)
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            _check_characters(event.value, where)
            if event.anchor:
                sizes[event.anchor] = 1
            if event.implicit[0] and len(event.value) > MAX_DIGITS and _NUMBER.fullmatch(event.value):
                raise LimitError(f"{where} contains a number with {len(event.value)} digits; the limit is {MAX_DIGITS}")
        elif isinstance(event, yaml.CollectionStartEvent):
            above.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = above.pop()
            if anchor:
                sizes[anchor] = nodes - before
        if len(above) > MAX_DEPTH:
            raise LimitError(f"{where} is nested more than {MAX_DEPTH} levels deep")
        if nodes > MAX_NODES:
            raise LimitError(f"{where} contains more than {MAX_NODES:,} values with aliases expanded")
