"""Credentials that people write into runs, found by their form or by the name of what holds them."""

from __future__ import annotations

import re
from typing import Any

REDACTED = "<redacted>"
# Values that are credentials whatever they are called
CREDENTIAL = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,}|glpat-[\w-]{20}|hf_[A-Za-z0-9]{30,}"
    r"|xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{32,}|AIza[\w-]{35}"
    r"|(?<=://)[^/\s:@]{1,256}:[^/\s:@$]{4,256}(?=@)"  # in a URL
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?"
)
_WORDS = frozenset(
    {"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "KEY", "APIKEY", "CREDENTIAL", "CREDENTIALS"}
)
_SHORT = 8  # shorter values, numbers and switches are no credentials: SORT_KEY=2
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ASSIGNMENT = re.compile(r"([A-Za-z][\w-]*)=([^\s;&|'\"]+)")  # in a shell's command
_FLAG = re.compile(r"--?([A-Za-z][\w-]*)(=?)(.*)", re.DOTALL)


def without_credentials(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a run, or a patch of one, as JSON, with its credentials replaced: many can read where it is
    stored."""
    cleaned: dict[str, Any] = _scrubbed(spec)
    template = cleaned.get("template") or {}
    for variable in template.get("env") or ():
        if _names_one(variable["name"]):
            variable["value"] = _hidden(variable.get("value", ""))
    for name, text in (template.get("annotations") or {}).items():
        if text and _names_one(name):
            template["annotations"][name] = _hidden(text)
    for field in ("command", "args"):
        if template.get(field):
            template[field] = _without_flags(template[field])
    return cleaned


def _scrubbed(value: Any) -> Any:
    """Return a copy with every credential that its form gives away replaced."""
    if isinstance(value, str):
        return CREDENTIAL.sub(REDACTED, value)
    if isinstance(value, dict):
        return {key: _scrubbed(item) for key, item in value.items()}
    return [_scrubbed(item) for item in value] if isinstance(value, list | tuple) else value


def _without_flags(words: list[str]) -> list[str]:
    """Replace the values of flags such as ``--api-key=...`` and ``--token ...``."""
    result: list[str] = []
    follows = False
    for word in words:
        flag = _FLAG.fullmatch(word)
        if follows and not flag:
            result.append(_hidden(word))
        elif flag and flag[2] and _names_one(flag[1]):
            result.append(word[: flag.start(3)] + _hidden(flag[3]))
        else:
            result.append(_ASSIGNMENT.sub(_without_value, word))
        follows = bool(flag) and not flag[2] and _names_one(flag[1]) if flag else False
    return result


def _without_value(assignment: re.Match[str]) -> str:
    return f"{assignment[1]}={_hidden(assignment[2])}" if _names_one(assignment[1]) else assignment[0]


def _names_one(name: str) -> bool:
    return not _WORDS.isdisjoint(part.upper() for part in _NAME_PARTS.findall(name))


def _hidden(value: str) -> str:
    return value if len(value) < _SHORT or value.isdecimal() else REDACTED
