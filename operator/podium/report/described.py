"""Describe a system in rows for a person, from Podium's system.json, a submission's own file, or the log."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from podium.submissions import Folder, ScoredResult
from podium.text import one_line

_MAX_ROWS = 60
_MAX_TEXT = 400
_MAX_DEPTH = 4
_EMPTY = ("", "n/a", "none", "null", "-")

_NODE = re.compile(r"^nodes seen( \d+)?( info| capacity)?(?= )")  # in Podium's system.json


def plain_text(value: object) -> str:
    """One line of bounded length, without characters that could make a page look different from its content."""
    text = re.sub(r" +", " ", one_line(value)).strip()
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


def described_system(folder: Folder, entry: ScoredResult, seen: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Rows of name and value, the most common first. `seen` is Podium's system.json."""
    first = next(iter(entry.logs.values()), None)
    submission = dict(first.submission) if first else {}
    text = submission.pop("entry", "")
    rows = [
        ("system", entry.system),
        ("submitter", entry.org),
        ("platform", submission.get("platform", "")),
        ("chips", str(entry.chips or "")),
    ]
    rows += ((_NODE.sub(r"node\1", name), value) for name, value in flattened(folder.system or seen or _object(text)))
    if seen.get("acceleratorsPerNode") == 0:
        rows = [row for row in rows if row[0] != "accelerator resource"]
    named: dict[str, str] = {}
    for name, value in rows:
        if value.strip().lower() not in _EMPTY and value != named.get("system"):
            named.setdefault(plain_text(name), plain_text(value))
    return tuple(named.items())[:_MAX_ROWS]


def flattened(value: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """The leaves of a document as (name, value). In v0.6, nested dictionaries are Python literals."""
    if isinstance(value, str) and value.startswith("{"):
        value = _object(value) or value
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from flattened(inner, f"{name} {_words(key)}".strip(), depth + 1)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value) and depth < _MAX_DEPTH:
        for number, item in enumerate(value[:8], start=1):
            yield from flattened(item, f"{name} {number}" if len(value) > 1 else name, depth + 1)
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    elif value is not None:
        yield name, str(value)


def _words(key: object) -> str:
    """A key in plain words: ``acceleratorsPerNode`` is "accelerators per node"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(key)).replace("_", " ").lower()


def _object(text: str) -> Mapping[str, Any]:
    """Read a dictionary written in JSON or Python; {} for anything else."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    return {}
