"""Decides which tries come next, and their identity."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from podium.api import AttemptState, AttemptStatus, Reason, TryId, rfc3339
from podium.reconcile.model import ObservedJob, Run

# Tries of an attempt that the scheduler, a queue or a suspension may end at no charge; more of them count as retries.
FREE_TRIES = 20
# Tries of a run, from the CRD.
MAX_TRIES = 1200

_NAMED_ATTEMPTS = 3  # at most, in a message about several
_MAX_AGAIN = 256  # characters, from the CRD

_PREFIX = "podium-"
_DIGEST = 7  # hexadecimal digits
# a pod's hostname, "<job>-<node>", must fit into a DNS label
_NAME_ROOM = 63 - len(_PREFIX) - len("-100-9999-4095")


def next_tries(attempts: Sequence[AttemptStatus], max_retries: int, wanted: int) -> list[TryId]:
    """Return the tries that may start now, lowest attempt first: those of attempts that neither run nor have ended."""
    last = last_tries(attempts)
    following = []
    for index in range(1, wanted + 1):
        one = last.get(index)
        if one is None:
            following.append(TryId(attempt=index, number=0))
        elif one.state.finished and not concluded(attempts, one, max_retries):
            following.append(TryId(attempt=index, number=one.try_ + 1))
    return following


def unlisted_tries(run: Run, jobs: Iterable[TryId], wanted: int) -> list[TryId]:
    """Return those of `jobs` that an earlier process has launched although the status does not list them.

    Only tries that may start now are among them: whoever may create Jobs can give one the number of any other.
    """
    listed = {attempt.id for attempt in run.status.attempts}
    if not (found := sorted(id_ for id_ in jobs if id_ not in listed)):
        return []
    known = sorted(run.status.attempts, key=lambda attempt: attempt.id)
    following = next_tries(known, run.spec.max_retries, wanted)
    return [id_ for id_ in found if id_ in following]


def known_tries(run: Run, jobs: Mapping[TryId, ObservedJob], wanted: int) -> list[AttemptStatus]:
    """Return the tries that the status lists, and those that it does not list yet, in order."""
    known = sorted(run.status.attempts, key=lambda attempt: attempt.id)
    new = [new_attempt(run.name, id_, jobs[id_], known) for id_ in unlisted_tries(run, jobs, wanted)]
    return sorted([*known, *new], key=lambda attempt: attempt.id) if new else known


def last_tries(attempts: Sequence[AttemptStatus]) -> dict[int, AttemptStatus]:
    """Return the last try of each attempt; `attempts` are in order."""
    return {attempt.index: attempt for attempt in attempts}


def concluded(attempts: Sequence[AttemptStatus], one: AttemptStatus, max_retries: int) -> bool:
    """Return whether the finished try `one` is the last of its attempt."""
    if _again(one) is None:
        return True
    again = Counter(_again(a) for a in attempts if a.index == one.index and a.try_ <= one.try_)
    return again["counted"] + max(0, again["free"] - FREE_TRIES) > max_retries


def _again(one: AttemptStatus) -> Literal["free", "counted"] | None:
    """Return how another try after the finished try `one` counts; None if it is the last.

    A failure for a reason that another version of Podium has recorded says only that nothing was measured.
    """
    if reason := Reason.known(one.reason):
        return reason.again
    return "counted" if one.state is AttemptState.FAILED else None


def is_exhausted(attempts: Sequence[AttemptStatus], one: AttemptStatus, max_retries: int) -> bool:
    """Return whether the finished try `one` measured nothing and is the last of its attempt, so that the run fails."""
    unmeasured = one.state in (AttemptState.FAILED, AttemptState.ABORTED)
    return unmeasured and concluded(attempts, one, max_retries)


def measurement(attempt: AttemptStatus) -> str:
    """Return what a try has measured, in a sentence."""
    if attempt.state is AttemptState.MEASURED:
        return f"{attempt.id}: {attempt.message}"
    return f"{attempt.id}: quality {attempt.quality} in {attempt.time_to_train_seconds} s, {attempt.epochs} epochs"


def unsuccessful(attempts: Sequence[AttemptStatus]) -> list[str]:
    """Return what went wrong in the last try of each attempt, for the first few."""
    wrong = [a for a in last_tries(attempts).values() if not a.state.succeeded]
    return [f"{a.id}: {a.reason}: {a.message}" for a in wrong[:_NAMED_ATTEMPTS]]


def new_attempt(run_name: str, id_: TryId, job: ObservedJob, earlier: Sequence[AttemptStatus]) -> AttemptStatus:
    """Return the record of a try whose Job has just been created."""
    before = next((a for a in reversed(earlier) if a.index == id_.attempt), None)
    return AttemptStatus.model_construct(
        index=id_.attempt,
        try_=id_.number,
        state=AttemptState.PENDING,
        seed=job.seed or 0,
        job=job.name or job_name(run_name, id_),
        job_uid=job.uid[:64],
        created_time=rfc3339(job.created, milliseconds=True),
        again=f"{before.reason}: {before.message or ''}"[:_MAX_AGAIN] if before else None,
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
