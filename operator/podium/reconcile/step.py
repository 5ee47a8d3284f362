"""One step of one try: its new state, and when to look at it again."""

from __future__ import annotations

from dataclasses import dataclass

from podium.api import AttemptState, AttemptStatus, Reason
from podium.reconcile.model import ObservedLog
from podium.text import printable

_MAX_MESSAGE = 2048  # characters, from the CRD


@dataclass(frozen=True, slots=True)
class Step:
    """A try in its new state; `deadline` is the unix time at which to look at it again even if nothing happens."""

    attempt: AttemptStatus
    deadline: float | None = None


def move(attempt: AttemptStatus, state: AttemptState, reason: Reason | None = None, message: str = "") -> AttemptStatus:
    """Return the try in `state`; the same object if nothing changes."""
    word, text = (reason.value if reason else None), printable(message)[:_MAX_MESSAGE] or None
    if (attempt.state, attempt.reason, attempt.message) == (state, word, text):
        return attempt
    return attempt.model_copy(update={"state": state, "reason": word, "message": text})


def move_to(attempt: AttemptStatus, reason: Reason, message: str) -> AttemptStatus:
    """Return the try in the state that belongs to `reason`: waiting, or ended."""
    assert reason.state is not None, f"{reason} does not apply to attempts"
    return move(attempt, reason.state, reason, message)


def no_log_text(log: ObservedLog, when: str) -> str:
    return (
        f"rank 0 printed no MLPerf lines to stdout {when}; "
        f'the image must print lines such as \':::MLLOG {{"key": "run_start", ...}}\'{tail_text(log)}'
    )


def tail_text(log: ObservedLog) -> str:
    return f"; last output: {log.tail}" if log.tail else ""


def colon(message: str) -> str:
    return f": {message}" if message else ""
