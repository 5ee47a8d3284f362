"""Decides which try comes next, and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from podium.api import AttemptState, AttemptStatus, Reason, TryId, rfc3339

_PREFIX = "podium-"
_DIGEST = 7  # hexadecimal digits
# a pod's hostname, "<job>-<node>", must fit into a DNS label
_NAME_ROOM = 63 - len(_PREFIX) - len("-100-9999-4095")


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
    return f"{object_name(run_name)}-{id_.attempt}-{id_.number}"


def job_names(run_name: str, id_: TryId) -> tuple[str, str]:
    """Return the names that the Job of a try can have: today's, and the one before names had a prefix."""
    return job_name(run_name, id_), f"{run_name}-{id_.attempt}-{id_.number}"


def object_name(run_name: str) -> str:
    """Return the name of a run's objects: ``podium-<run>``, where the tail of a long name becomes a digest.

    The prefix keeps a run called ``redis`` from creating a Service ``redis``, which other programs would resolve.
    """
    if len(run_name) > _NAME_ROOM:
        digest = hashlib.sha256(run_name.encode()).hexdigest()[:_DIGEST]
        run_name = f"{run_name[: _NAME_ROOM - _DIGEST - 1]}-{digest}"
    return f"{_PREFIX}{run_name}"


def seed_for(uid: str, id_: TryId) -> int:
    """Return a 31-bit seed derived from the run's random uid: new for every try, the same after a restart."""
    digest = hashlib.sha256(f"{uid}/{id_.attempt}/{id_.number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
