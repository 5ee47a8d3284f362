"""One try moved one step: where it stands now, and when it has to be looked at again."""

from __future__ import annotations

from dataclasses import dataclass

from podium.api import AttemptState, AttemptStatus, Reason
from podium.reconcile.model import ObservedLog
from podium.text import printable

_MAX_MESSAGE = 2048  # characters, of the CRD


@dataclass(frozen=True, slots=True)
class Step:
    """A try as it is now; `deadline` is the unix time at which it has to be looked at again, if nothing happens."""

    attempt: AttemptStatus
    deadline: float | None = None


def move(attempt: AttemptStatus, state: AttemptState, reason: Reason | None = None, message: str = "") -> AttemptStatus:
    """The try in `state`; the very same object when nothing changes."""
    word, text = (reason.value if reason else None), printable(message)[:_MAX_MESSAGE] or None
    if (attempt.state, attempt.reason, attempt.message) == (state, word, text):
        return attempt
    return attempt.model_copy(update={"state": state, "reason": word, "message": text})


def move_to(attempt: AttemptStatus, reason: Reason, message: str) -> AttemptStatus:
    """The try in the state that `reason` is of: it waits, or it has ended."""
    assert reason.state is not None, f"{reason} is not a reason of attempts"
    return move(attempt, reason.state, reason, message)


def no_log_text(log: ObservedLog, when: str) -> str:
    return (
        f"rank 0 printed no MLPerf line on stdout {when}; "
        f'the image has to print lines such as \':::MLLOG {{"key": "run_start", ...}}\'{tail_text(log)}'
    )


def tail_text(log: ObservedLog) -> str:
    return f"; last output: {log.tail}" if log.tail else ""


def colon(message: str) -> str:
    return f": {message}" if message else ""
