"""The page about states and reasons in a run's status, from podium.api.Reason."""

from __future__ import annotations

from collections.abc import Iterable

from podium.api import AttemptState, ConditionType, Reason
from tools.docs.markdown import code, plain, table

_HEAD = """# States and reasons

This page explains the states and reasons in `status.attempts[]`, `status.conditions[]` and the Events of a
BenchmarkRun. [Debug a failed run](../how-to/debug.md) says where to look first.
"""


def page(reasons: Iterable[Reason] = tuple(Reason)) -> str:
    """The page. Every reason is listed under each kind of object that can have it."""
    reasons = tuple(reasons)
    attempts = [
        (code(reason), code(reason.state), *_text(reason), "yes" if reason.retriable else "")
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
            table(["reason", "state", "meaning", "what to do", "retried"], attempts),
            "## Reasons of conditions\n",
            table(["condition", "reason", "meaning", "what to do"], conditions),
            "## Events\n",
            table(["reason", "type", "meaning", "what to do"], events),
        ]
    )


def _text(reason: Reason) -> tuple[str, str]:
    return plain(reason.means), plain(reason.do)
