"""Cuts a status down to what its schema allows: a log may contain any number, and texts come from everywhere.

The API server refuses a status that does not fit, and would refuse it for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from annotated_types import MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_INT64 = 2**63 - 1
_CUT = " [...]"


def fitted(model: type[BaseModel], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document`, a dump of `model`, with texts and lists of at most their maximum length, and int64 numbers."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {key: _value(fields[key], value) if key in fields else value for key, value in document.items()}


def _value(field: FieldInfo, value: Any) -> Any:
    most = next((rule.max_length for rule in field.metadata if isinstance(rule, MaxLen)), None)
    inner = next(_models(field.annotation), None)
    match value:
        case bool():
            return value
        case int():
            return max(-_INT64 - 1, min(value, _INT64))
        case str() if most is not None and len(value) > most:
            return value[: max(0, most - len(_CUT))] + _CUT[:most]
        case list():
            return [fitted(inner, item) if inner and isinstance(item, dict) else item for item in value[:most]]
        case dict() if inner:
            return fitted(inner, value)
    return value


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation such as ``tuple[AttemptStatus, ...]`` or ``Score | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
