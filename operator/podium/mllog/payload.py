"""What a line says beyond its time and key: JSON, or the Python dict that v0.6 MiniGo prints in its place.

Nothing is evaluated: a Python dict is read as a syntax tree of which only literals are taken.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from typing import Any

import orjson

_MAX_LITERAL = 1 << 16  # characters of a Python dict in place of JSON: ast is slow, and such lines are short
_MAX_DEPTH = 64  # of nested lists and objects; official lines need 4
_NAMES = {"null": None, "true": True, "false": False, "NaN": math.nan, "nan": math.nan, "inf": math.inf}
# orjson makes a float of them, and seeds must not pass through one. Written so that the search skips other characters.
_BEYOND_64_BITS = re.compile(r"[0-9][0-9]{18}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{\]}]')


class UnreadableError(ValueError):
    """Carries the cause, a sentence."""


def read_payload(text: str) -> Any:
    """The value that `text` writes. Raises UnreadableError."""
    if text.count("{") + text.count("[") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise UnreadableError(f"nested deeper than {_MAX_DEPTH} levels")
    if _BEYOND_64_BITS.search(text) is None:
        try:
            return orjson.loads(text)
        except ValueError:
            pass  # NaN and half characters are no JSON, but Python's reader takes them and its writer prints them
    return _read_leniently(text)


def _read_leniently(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        value = _python_literal(text, error)
    return _without_surrogates(value) if _SURROGATE.search(text) else value


def _depth(text: str) -> int:
    """Deepest nesting of brackets outside strings."""
    deepest = depth = 0
    for bracket in _BRACKET_OR_STRING.findall(text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _python_literal(text: str, error: ValueError) -> Any:
    """Only literals and the names of JSON are understood. Raises what `error` says otherwise."""
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
    """Half a character, as \\ud800 without its other half, cannot be written to a file."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
