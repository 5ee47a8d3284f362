"""Text from outside (logs, packages, names of files, objects of a cluster) on its way out.

Every sink of text passes one of these: terminals, pages and pictures, JSON, CSV, messages in a status. A name must
not move the cursor, set a title, forge a line of output or a formula, or read as something else than it is.
"""

from __future__ import annotations

import json
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline; \x9b starts escape sequences, too
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2060-\u206f\u3164\ufeff\uffa0"  # of no width
    "\u2028\u2029\u202a-\u202e\ufff9-\ufffb\ufffe\uffff"  # turn lines or directions, annotate, are none
    "\ud800-\udfff\U000e0000-\U000e0fff"  # halves of characters; tags
)
_NOT_PRINTABLE = re.compile(f"[{_HIDDEN}]")
_BREAK = re.compile(r"[^\S ]+")
_FORMULA = "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"


def printable(text: str) -> str:
    """The text with U+FFFD in place of each character that a terminal obeys or that cannot be seen.

    Newlines and tabs stay; the length stays, so that styled spans fit.
    """
    return _NOT_PRINTABLE.sub(REPLACEMENT, text)


def one_line(text: object) -> str:
    """As `printable`, with a space in place of line breaks and tabs."""
    return printable(_BREAK.sub(" ", str(text)))


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: a text that looks like one gets an apostrophe (OWASP)."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.lstrip()[:1] and text.lstrip()[0] in _FORMULA else text


def json_text(document: Any, *, indent: int | None = None) -> str:
    """JSON in which every character is printable: others are escaped. Raises ValueError for a number that is none."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    return _NOT_PRINTABLE.sub(_escaped, text)  # they stand in strings only


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]
