"""Make text from outside (logs, packages, file names, objects of a cluster) safe to show.

All output passes through these functions: terminals, pages and pictures, JSON, CSV, messages in a status. A name must
not move the cursor, set a title, forge a line of output or a formula, or look like something that it is not.
"""

from __future__ import annotations

import json
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline; \x9b also starts escape sequences
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2060-\u206f\u3164\ufeff\uffa0"  # zero width
    "\u2028\u2029\u202a-\u202e\ufff9-\ufffb\ufffe\uffff"  # line breaks, direction, annotations, noncharacters
    "\ud800-\udfff\U000e0000-\U000e0fff"  # surrogates; tags
)
_NOT_PRINTABLE = re.compile(f"[{_HIDDEN}]")
# Escape sequences of terminals (ECMA-48): a control sequence (colors), a control string (titles, links), or one letter
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[P\]X^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ\\`-~])")
_BREAK = re.compile(r"[^\S ]+")
_FORMULA = "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"


def printable(text: str) -> str:
    """Replace each control or invisible character with U+FFFD.

    Newlines and tabs stay. The length does not change, so styled spans still fit.
    """
    return _NOT_PRINTABLE.sub(REPLACEMENT, text)


def without_escapes(text: str) -> str:
    """Remove the escape sequences of terminals, such as those of colored logs."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def one_line(text: object) -> str:
    """Like `printable`, and line breaks and tabs become spaces."""
    return printable(_BREAK.sub(" ", str(text)))


def csv_cell(value: object) -> object:
    """A CSV cell that no spreadsheet takes for a formula: text that looks like one gets an apostrophe (OWASP)."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.lstrip()[:1] and text.lstrip()[0] in _FORMULA else text


def json_text(document: Any, *, indent: int | None = None) -> str:
    """JSON with unprintable characters escaped. Raises ValueError for NaN and infinity."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    return _NOT_PRINTABLE.sub(_escaped, text)  # these occur only in strings


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]
