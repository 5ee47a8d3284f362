"""What a model says of a document that it rejects, in kubectl's words, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from podium.api import BenchmarkRunSpec
from podium.api.schema import structural
from podium.api.spec import DECIMAL, DNS_LABEL, DURATION, QUANTITY
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

_WORDS = {
    "extra_forbidden": "unknown field",
    "missing": "is missing",
    "model_type": "expected fields",
    "string_type": "must be text",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
}
_OF_A_RUN = frozenset(field.alias or name for name, field in BenchmarkRunSpec.model_fields.items())
_FORMS: Mapping[str, tuple[str, str]] = {  # pattern: what a text is not, and what to write
    DURATION: ("is not a duration", "write hours, minutes and seconds, such as 90s, 10m or 1h30m"),
    DECIMAL: ("is not a decimal number", 'write digits in quotes, such as "0.759"'),
    QUANTITY: ("is not a quantity", "write it as Kubernetes does, such as 8, 500m, 64Gi or 65536Ki"),
    DNS_LABEL: ("is not a name", 'use lowercase letters and digits, and "-" between them'),
}
_PERIOD = re.compile(r"\s*([0-9]{1,6})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\s*")
_BRANCHES = frozenset({"constrained-str", "str", "int"})  # of a union, as pydantic adds them to the place


def check_form(
    error: ValidationError, place: str = "spec", model: type[BaseModel] = BenchmarkRunSpec
) -> tuple[Finding, ...]:
    """Return a finding for each mistake in the document at `place`, which `model` rejects."""
    found: dict[str, Finding] = {}  # a text that is neither branch of a union has an error for each
    for one in error.errors():
        finding = _mistake(one, place, model)
        found.setdefault(finding.field, finding)
    return tuple(found.values())


def _mistake(error: ErrorDetails, place: str, model: type[BaseModel]) -> Finding:
    parts = [str(part) for part in error["loc"] if part not in _BRANCHES]
    kind, given = error["type"], error["input"]
    message = _WORDS.get(kind, error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1))
    remedy = ""
    if kind == "extra_forbidden":
        remedy = _place_for(parts, place, model)
    elif kind in ("string_pattern_mismatch", "string_type"):
        pattern = str(_schema_at(model, error["loc"]).get("pattern"))
        message, remedy = _text_instead(given, pattern, message)
    return Finding(RuleId.SPEC_FORM, ".".join([place, *parts]), message, remedy=remedy)


def _text_instead(given: object, pattern: str, message: str) -> tuple[str, str]:
    """Return what is wrong with a value that should be a text of this form, and what to write."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        remedy = f"give it a unit, such as {given}s" if pattern == DURATION else f'quote it: "{given}"'
        return f"{given} is a number, and must be text", remedy
    what, remedy = _FORMS.get(pattern, (message, ""))
    if pattern == DURATION and (period := _PERIOD.fullmatch(str(given).lower())):
        remedy = f"write {period[1]}{period[2][0]}"
    return (f"{str(given)[:100]!r} {what}" if pattern in _FORMS else message), remedy


def _place_for(parts: Sequence[str], place: str, model: type[BaseModel]) -> str:
    """Return what to write in place of an unknown field: one of the same object, or of the run."""
    if len(parts) > 1 and parts[-1] in _OF_A_RUN:  # a field of the run that was put into one of its parts
        return f"set {place}.{parts[-1]}"
    known = _schema_at(model, parts[:-1]).get("properties", {})
    close = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _schema_at(model: type[BaseModel], parts: Iterable[str | int]) -> Mapping[str, Any]:
    """Return the schema of the value at `parts` of a document; {} if none is known."""
    node: Mapping[str, Any] = _schema(model)
    for part in parts:
        if part in _BRANCHES:
            continue
        inside = node.get("items") or node.get("additionalProperties") or {}
        node = node.get("properties", {}).get(part, inside)
    return node


@cache
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    return structural(model)
