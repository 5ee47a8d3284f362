"""One step of one try: its new state, when to look at it again, and whether its log must be read first."""

from __future__ import annotations

from dataclasses import dataclass

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, Reason
from podium.reconcile.model import ObservedLog
from podium.rules import Goal
from podium.text import printable

# How long to wait for a log to be read before asking for it again.
READ_AGAIN_SECONDS = 5.0

_MAX_MESSAGE = 2048  # characters, from the CRD


@dataclass(frozen=True, slots=True)
class Step:
    """A try in its new state.

    `deadline` is the unix time at which to look at it again even if nothing happens. `read` or `list_pods`: a deadline
    has passed, and only the log or the API server can say whether it was met.
    """

    attempt: AttemptStatus
    deadline: float | None = None
    read: bool = False
    list_pods: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a try: its log and what it is measured against, at `now` (unix seconds)."""

    log: ObservedLog
    spec: BenchmarkRunSpec
    goal: Goal
    now: float
    pods_known_until: float


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


def until(attempt: AttemptStatus, state: AttemptState, deadline: float, look: Look) -> Step | None:
    """Return the step of a try in `state` that waits for a line of its log until `deadline`.

    None if the line did not come: the deadline has passed, everything that was printed until then has been read, and
    all changes of the pods until then are known. A program that ended meanwhile has not exceeded anything.
    """
    log, now = look.log, look.now
    if log.unreadable and not log.complete:
        attempt = move(attempt, state, Reason.LOG_UNREADABLE, log.unreadable)
        return Step(attempt, max(deadline, now + READ_AGAIN_SECONDS))
    if now < deadline:
        return Step(move(attempt, state), deadline)
    if log.known_until < deadline and not log.complete:
        return Step(move(attempt, state), now + READ_AGAIN_SECONDS, read=True)
    if look.pods_known_until < deadline:
        return Step(move(attempt, state), now + READ_AGAIN_SECONDS, list_pods=True)
    return None


def listed(attempt: AttemptStatus, reason: Reason, message: str, deadline: float, look: Look) -> Step | None:
    """Return the step of a try that waits for its pods until `deadline`, for `reason`.

    None if they did not come: the deadline has passed, and all changes until then are known.
    """
    if look.now < deadline:
        return Step(move_to(attempt, reason, message), deadline)
    if look.pods_known_until < deadline:
        return Step(move_to(attempt, reason, message), look.now + READ_AGAIN_SECONDS, list_pods=True)
    return None


def no_log_text(log: ObservedLog, when: str) -> str:
    return (
        f"rank 0 printed no MLPerf lines to stdout {when}; "
        f'the image must print lines such as \':::MLLOG {{"key": "run_start", ...}}\'{tail_text(log)}'
    )


def tail_text(log: ObservedLog) -> str:
    return f"; last output: {log.tail}" if log.tail else ""


def colon(message: str) -> str:
    return f": {message}" if message else ""
