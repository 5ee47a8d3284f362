"""What every reason says about itself. `podium.api.reasons` has the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

from podium.api.status import AttemptState, ConditionType, FailureClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """See `ExplainedReason`."""

    means: str
    do: str = "Nothing."
    state: AttemptState | None = None
    true: tuple[ConditionType, ...] = ()
    false: tuple[ConditionType, ...] = ()
    event: Literal["Normal", "Warning"] | None = None
    failure: FailureClass | None = None
    again: Literal["free", "counted"] | None = None
    keeps_place: bool = False
    routine: bool = False


class ExplainedReason(StrEnum):
    """A reason in CamelCase, with its explanation and its effects.

    - ``means``, ``do``: what it means and what to do, for the person who reads it.
    - ``state``: the state of an attempt that ended or waits for this reason; None if it does not apply to attempts.
    - ``true``, ``false``: the conditions that are True or False for this reason.
    - ``event``: the type of the Event with this reason; None if there is no such Event.
    - ``failure``: the class of the failure; None if the try ended according to its log, or by a user's wish.
    - ``again``: whether the attempt is tried again: ``free`` of charge, or ``counted`` against spec.maxRetries. None if
      it counts as it ended, or if another try would not help: then the run fails.
    - ``keeps_place``: the attempt's time is correct although it broke a rule; see scoring.olympic.
    - ``routine``: the condition only reports that everything is in order.
    """

    means: str
    do: str
    state: AttemptState | None
    true: tuple[ConditionType, ...]
    false: tuple[ConditionType, ...]
    event: Literal["Normal", "Warning"] | None
    failure: FailureClass | None
    again: Literal["free", "counted"] | None
    keeps_place: bool
    routine: bool

    @classmethod
    def known(cls, word: str | None) -> Self | None:
        """Return the member for a reason in a status; None for one that another version of Podium wrote."""
        found = cls._value2member_map_.get(word)
        return found if isinstance(found, cls) else None

    def __new__(cls, word: str, facts: Facts) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        for name in Facts.__slots__:
            setattr(member, name, getattr(facts, name))
        return member
