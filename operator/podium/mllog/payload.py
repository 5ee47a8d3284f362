"""Reads the payload after a line's time and key: JSON, or the Python dict that v0.6 MiniGo prints instead.

Nothing is evaluated: a Python dict is parsed into a syntax tree, and only literals are accepted.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from typing import Any

import orjson

_MAX_LITERAL = 1 << 16  # characters of a Python dict: ast is slow, and such lines are short
_MAX_DEPTH = 64  # of nested lists and objects; official lines need 4
_NAMES = {"null": None, "true": True, "false": False, "NaN": math.nan, "nan": math.nan, "inf": math.inf}
# orjson turns them into floats, which would corrupt seeds. The pattern lets the search skip other characters quickly.
_BEYOND_64_BITS = re.compile(r"[0-9][0-9]{18}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{\]}]')


class UnreadableError(ValueError):
    """The payload cannot be read; the message is the cause."""


def read_payload(text: str) -> Any:
    """Return the value in `text`. Raises UnreadableError."""
    if text.count("{") + text.count("[") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise UnreadableError(f"nested deeper than {_MAX_DEPTH} levels")
    if _BEYOND_64_BITS.search(text) is None:
        try:
            return orjson.loads(text)
        except ValueError:
            pass  # NaN and lone surrogates are not valid JSON, but Python reads and writes them
    return _read_leniently(text)


def _read_leniently(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        value = _python_literal(text, error)
    return _without_surrogates(value) if _SURROGATE.search(text) else value


def _depth(text: str) -> int:
    """Return the deepest nesting of brackets outside strings."""
    deepest = depth = 0
    for bracket in _BRACKET_OR_STRING.findall(text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _python_literal(text: str, error: ValueError) -> Any:
    """Read a Python dict of literals and JSON's names. Raises UnreadableError with `error` for anything else."""
    unreadable = UnreadableError(f"broken JSON: {error}")
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
    raise ValueError(f"{type(value).__name__} cannot be written as JSON")


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, such as \\ud800, which cannot be written to a file."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
