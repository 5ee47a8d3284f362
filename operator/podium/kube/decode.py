"""Reads what an API server sends, however deeply it is nested.

Anybody who may create an object whose schema keeps unknown fields can nest a value up to 10,000 levels deep, and the
API server passes it on to everybody who lists such objects. Decoders of JSON give up earlier: then one object would
hide all others. So what is nested too deeply is cut out.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MAX_DEPTH = 256  # objects of Kubernetes need about 20, and recursive functions of Python reach to about 500
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]')


def loads(content: bytes) -> Any:
    """Return the JSON value in `content`, with null for what is nested too deeply. Raises ValueError."""
    try:
        return orjson.loads(content)  # it refuses more than 1,024 levels
    except ValueError:
        return orjson.loads(shallow(content))


def shallow(content: bytes) -> bytes:
    """Return JSON with null for every value below `MAX_DEPTH` levels."""
    if content.count(b"{") + content.count(b"[") <= MAX_DEPTH:
        return content
    parts: list[bytes] = []
    copied = depth = 0
    for match in _STRING_OR_BRACKET.finditer(content):
        if match[0] in (b"[", b"{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts += (content[copied : match.start()], b"null")
        elif match[0] in (b"]", b"}"):
            if depth == MAX_DEPTH + 1:
                copied = match.end()
            depth -= 1
    return b"".join((*parts, content[copied:]))
