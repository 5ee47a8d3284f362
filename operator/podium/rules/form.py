"""What a model says of a document that it rejects, in kubectl's words."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from podium.api import BenchmarkRunSpec
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

_WORDS = {"extra_forbidden": "unknown field", "missing": "is missing", "model_type": "expected fields"}
_OF_A_RUN = frozenset(field.alias or name for name, field in BenchmarkRunSpec.model_fields.items())


def check_form(error: ValidationError, place: str = "spec") -> tuple[Finding, ...]:
    """Return a finding for each mistake in the document at `place`."""
    return tuple(_mistake(one, place) for one in error.errors())


def _mistake(error: ErrorDetails, place: str) -> Finding:
    parts = list(map(str, error["loc"]))
    kind, message = error["type"], _WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    # such as a field of the run that was put into one of its parts
    moved = kind == "extra_forbidden" and len(parts) > 1 and parts[-1] in _OF_A_RUN
    remedy = f"set {place}.{parts[-1]}" if moved else ""
    return Finding(RuleId.SPEC_FORM, ".".join([place, *parts]), message, remedy=remedy)
