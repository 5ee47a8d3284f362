"""The page about states and reasons in a run's status, from podium.api.Reason."""

from __future__ import annotations

from collections.abc import Iterable

from podium.api import AttemptState, ConditionType, FailureClass, Reason
from tools.docs.markdown import code, plain, table

_HEAD = """# States and reasons

This page explains the states and reasons in `status.attempts[]`, `status.conditions[]` and the Events of a
BenchmarkRun. [Debug a failed run](../how-to/debug.md) says where to look first.
"""

_CLASSES = """A failure has a class, which stands in `status.attempts[].failure`. `tried again`: *counted* against
`spec.maxRetries`, or *free*. Without either, the attempt counts as it ended; if it measured nothing, the run fails.
[Decision 0005](../decisions/0005-what-follows-from-a-failure.md) says why.
"""


def page(reasons: Iterable[Reason] = tuple(Reason)) -> str:
    """The page. Every reason is listed under each kind of object that can have it."""
    reasons = tuple(reasons)
    attempts = [
        (code(reason), code(reason.state), reason.failure or "", reason.again or "", *_text(reason))
        for reason in reasons
        if reason.state
    ]
    conditions = [
        (code(f"{kind}={value}"), code(reason), *_text(reason))
        for kind in ConditionType
        for value in (True, False)
        for reason in reasons
        if kind in (reason.true if value else reason.false)
    ]
    events = [(code(reason), reason.event, *_text(reason)) for reason in reasons if reason.event]
    return "\n".join(
        [
            _HEAD,
            "## States of an attempt\n",
            table(["state", "meaning"], [(code(state), plain(state.means)) for state in AttemptState]),
            "## Reasons of an attempt\n",
            _CLASSES,
            table(["class", "meaning"], [(code(kind), plain(kind.means)) for kind in FailureClass]),
            table(["reason", "state", "class", "tried again", "meaning", "what to do"], attempts),
            "## Reasons of conditions\n",
            table(["condition", "reason", "meaning", "what to do"], conditions),
            "## Events\n",
            table(["reason", "type", "meaning", "what to do"], events),
        ]
    )


def _text(reason: Reason) -> tuple[str, str]:
    return plain(reason.means), plain(reason.do)
