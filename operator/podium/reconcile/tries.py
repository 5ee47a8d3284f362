"""Decides which try comes next, and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from podium.api import AttemptState, AttemptStatus, Reason, TryId, rfc3339


def next_try(attempts: Sequence[AttemptStatus], max_retries: int, wanted: int) -> TryId | None:
    """Return the next try, given that all listed ones have finished; None if all attempts have concluded."""
    if not attempts:
        return TryId(attempt=1, number=0)
    last = attempts[-1]
    if not concluded(attempts, last, max_retries):
        return TryId(attempt=last.index, number=last.try_ + 1)
    return TryId(attempt=last.index + 1, number=0) if last.index < wanted else None


def concluded(attempts: Sequence[AttemptStatus], one: AttemptStatus, max_retries: int) -> bool:
    """Return whether the finished try `one` is the last of its attempt."""
    reason = Reason.known(one.reason)
    if reason is None or not reason.retriable:
        return True
    if one.state is AttemptState.ABORTED:  # a pause uses up no retry
        return False
    failures = sum(a.index == one.index and a.state is AttemptState.FAILED and a.try_ <= one.try_ for a in attempts)
    return failures > max_retries


def new_attempt(run_name: str, uid: str, id_: TryId, created: float) -> AttemptStatus:
    """Return the record of a try at launch."""
    return AttemptStatus(
        index=id_.attempt,
        try_=id_.number,
        state=AttemptState.PENDING,
        seed=seed_for(uid, id_),
        job=job_name(run_name, id_),
        created_time=rfc3339(created, milliseconds=True),
    )


def job_name(run_name: str, id_: TryId) -> str:
    """Return a name that is deterministic, so that creating it twice fails, and unique among a namespace's runs."""
    return f"{run_name}-{id_.attempt}-{id_.number}"


def seed_for(uid: str, id_: TryId) -> int:
    """Return a 31-bit seed derived from the run's random uid: new for every try, the same after a restart."""
    digest = hashlib.sha256(f"{uid}/{id_.attempt}/{id_.number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
