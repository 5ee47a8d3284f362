"""Checks a hyperparameter's value against the rules of its division, for specs and logs alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from podium.rounds import BATCH, Hyperparameter, Round, Settings, Unconstrained, same, shown
from podium.rules.catalog import RuleId

_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,), "number": (int, float), "boolean": (bool,), "string": (str,),
    "numbers": (list, tuple), "number or numbers": (int, float, list, tuple),
}  # fmt: skip
_NAMES = {
    "integer": "an integer", "number": "a number", "boolean": "a boolean", "string": "a string",
    "numbers": "a list of numbers", "number or numbers": "a number or a list of numbers",
}  # fmt: skip
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Breach:
    """What is wrong with a value: the rule's id, a message, and the remedy."""

    rule: str
    message: str
    remedy: str


def closed_breach(parameter: Hyperparameter, value: Any, settings: Settings, round_: Round) -> Breach | None:
    """Return why the closed division does not allow `value`; None if it does. `settings` are all of the run's."""
    remedy = f"{source(parameter, round_)}; other values need the open division"
    if wrong := wrong_type(parameter, value):
        return Breach(parameter.id, wrong, f"allowed: {parameter.allowed(settings)}; {remedy}")
    optimizer = settings.get("opt_name")
    if parameter.optimizers and isinstance(optimizer, str) and optimizer.lower() not in parameter.optimizers:
        of = " or ".join(parameter.optimizers)
        message = f"is only for {of}, but opt_name is {optimizer[:_LONGEST]}"
        return Breach(parameter.id, message, f"leave it out; {remedy}")
    if (value != [] or isinstance(parameter.rule, Unconstrained)) and parameter.allows(value, settings):
        return None
    nearest = parameter.nearest(value, settings)
    closest = "" if nearest is None else f"; the nearest allowed value is {shown(nearest)}"
    message = f"{_short(value)} is not allowed; allowed: {parameter.allowed(settings)}{closest}"
    return Breach(parameter.id, message, remedy)


def untuned_breach(key: str, parameter: Hyperparameter, value: Any, settings: Settings, round_: Round) -> Breach | None:
    """Return why an out-of-the-box run does not allow `value`: it is not the reference's, nor the batch size."""
    reference = parameter.reference_for(settings)
    if key == BATCH or reference is None or same(value, reference):
        return None
    message = f"{_short(value)} is not the reference's {shown(reference)}"
    remedy = f"out of the box, tune only {BATCH}; use division: closed for what {source(parameter, round_)} allows"
    return Breach(RuleId.ID_UNTUNED.of(parameter.id), message, remedy)


def open_breach(parameter: Hyperparameter, value: Any) -> str:
    """Return why `value` makes no sense; empty if it does."""
    if wrong := wrong_type(parameter, value):
        return wrong
    if parameter.allows(value, {}):
        return ""
    return f"{_short(value)} is not a valid value; use {parameter.allowed({})}"


def wrong_type(parameter: Hyperparameter, value: Any) -> str:
    """Return a message if `value` does not have the hyperparameter's type; empty if it does."""
    type_ = parameter.type
    if not isinstance(value, _TYPES[type_]) or (isinstance(value, bool) and type_ != "boolean"):
        return f"{_short(value)} is not {_NAMES[type_]}"
    items = value if isinstance(value, list | tuple) else [value]
    if type_ not in ("boolean", "string"):
        for item in items:
            if not _is_finite(item):
                return f"{_short(item)} is not a number"
    return ""


def plain_value(value: Any, type_: str) -> Any:
    """Convert a logged value to the form of its type.

    Logs of v0.5 and v0.6 contain numbers as text, integers as floats, lists of one, and optimizers in any case.
    """
    if isinstance(value, list) and len(value) == 1 and type_ not in ("numbers", "number or numbers"):
        value = value[0]
    if isinstance(value, str) and type_ in ("integer", "number"):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, float) and type_ == "integer" and value.is_integer():
        return int(value)
    return value.lower() if isinstance(value, str) else value


def source(parameter: Hyperparameter, round_: Round) -> str:
    """Return the source of the rule, with the location of the document."""
    name = parameter.source.partition(":")[0]
    where = round_.document(name)
    return f"{parameter.source} ({where.removesuffix(name).strip()})" if where else parameter.source


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else shown(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
