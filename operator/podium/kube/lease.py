"""Leader election with a Lease: one replica works, the others stand by.

What is guaranteed, as long as clocks run at the same speed: a replica starts to work `_DURATION_SECONDS` after it saw
the leader's last renewal, and the leader sends no write from `_RENEW_SECONDS` after the start of that renewal on
(`Lease.held`, which `Api` asks before each write), even if it was frozen in between and knows nothing of it. What is
not: a write that was sent before may be carried out later. Writes are therefore made so that doing them twice, or late,
harms nobody: Jobs are created under one name, and deleted by uid.

Time is measured with a clock that cannot be set and that goes on while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import aiohttp

from podium.kube.client import LEASES, Api, ApiError, Object

_LOG = logging.getLogger(__name__)
# A standby replica checks every _RETRY_SECONDS, so it starts work at most 2 * _RETRY_SECONDS + _DURATION_SECONDS after
# the previous leader's last renewal. That leader gives up _RENEW_SECONDS after it.
_DURATION_SECONDS, _RENEW_SECONDS, _RETRY_SECONDS = 12, 8, 2
_REQUEST_SECONDS, _SOON_SECONDS = 4, 0.5  # one request may be lost: the next is in time
_END_SECONDS = 10
_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)


class LeaseLostError(Exception):
    """Another replica may be working by now: this process must end at once."""


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The Lease ``namespace/name``, to be held by `identity`."""

    def __init__(self, api: Api, lease: str, identity: str) -> None:
        self._namespace, _, self._name = lease.partition("/")
        self._identity = identity
        # renewals wait for no other request, and must not be refused by their own fence
        self._api = Api(api.client, rate=10, burst=20, observer=lambda *_: None)
        self._found: Object | None = None  # the Lease as last read or written
        self._found_at = 0.0  # when it was first seen like this
        self._renewed = -float(_RENEW_SECONDS)  # the start of the last successful write
        self.problem = "the Lease was not read yet"  # why this replica could not take over; "" if it could

    def held(self) -> bool:
        """Return whether no other replica can have taken the Lease: this one has renewed it lately."""
        return _clock() - self._renewed < _RENEW_SECONDS

    async def hold(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the Lease, then run `work` while renewing it; give it up when the work ends or is canceled.

        Raises LeaseLostError at once if the Lease cannot be renewed in time or somebody else has it, and any error that
        `work` raises.
        """
        while True:
            if await self._attempt(self._take):
                break
            await asyncio.sleep(_RETRY_SECONDS)
        working, renewing = asyncio.create_task(work()), asyncio.create_task(self._keep())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost = renewing.done()
            working.cancel()
            renewing.cancel()
            if not lost:
                _, at_work = await asyncio.wait({working, renewing}, timeout=_END_SECONDS)
                if not at_work:  # otherwise the Lease expires on its own after this process ends
                    await self._attempt(self._release)
        if lost:
            renewing.result()
        working.result()

    async def _keep(self) -> None:
        """Renew the Lease. Raises LeaseLostError well before another replica takes over."""
        renewed = True
        while True:
            await asyncio.sleep(_RETRY_SECONDS if renewed else _SOON_SECONDS)
            renewed = await self._attempt(self._renew, within=self._renewed + _RENEW_SECONDS - _clock())
            if not self.held():
                raise LeaseLostError(f"the Lease {self._namespace}/{self._name} could not be renewed in time")

    async def _attempt(self, step: Callable[[], Coroutine[Any, Any, bool]], *, within: float | None = None) -> bool:
        """Return whether `step` succeeded; it has failed if the API server refuses or does not answer in time."""
        try:
            async with asyncio.timeout(within):
                done = await step()
        except (ApiError, *_UNREACHABLE) as error:
            self._note(self._cause(error))
            return False
        self._note("")
        return done

    async def _take(self) -> bool:
        """Take the Lease if nobody holds it. Returns whether this replica has it."""
        found = await self._read()
        if found is None:
            known = self._found is not None  # its leader will create it again, unless it has ended
            if known and _clock() - self._found_at < _DURATION_SECONDS:
                return False
            return await self._create()
        holder, duration = _spec(found, "holderIdentity"), _spec(found, "leaseDurationSeconds")
        seconds = duration if isinstance(duration, int) else _DURATION_SECONDS
        if holder and holder != self._identity and _clock() - self._found_at < seconds:
            return False
        return await self._replace(found, self._identity)

    async def _renew(self) -> bool:
        assert self._found is not None
        try:
            return await self._replace(self._found, self._identity)
        except ApiError as error:
            if not (error.conflict or error.not_found):
                raise
        found = await self._read()  # somebody has written or deleted it
        if found is None:
            return await self._create()
        if _spec(found, "holderIdentity") not in (self._identity, "", None):
            raise LeaseLostError(f"{_spec(found, 'holderIdentity')} has taken the Lease {self._namespace}/{self._name}")
        return await self._replace(found, self._identity)

    async def _release(self) -> bool:
        """Give up the Lease if it is still ours, so that a standby replica takes it at its next check."""
        while (found := await self._read()) is not None and _spec(found, "holderIdentity") == self._identity:
            try:
                await self._replace(found, "")
            except ApiError as error:
                if not error.conflict:
                    raise
                continue  # the last renewal was on its way, and came in between
            _LOG.info("gave up the Lease %s/%s", self._namespace, self._name)
            return True
        return False

    async def _read(self) -> Object | None:
        """Return the Lease as it is now; None if there is none."""
        try:
            found = await _in_time(self._api.get(LEASES, self._namespace, self._name))
        except ApiError as error:
            if error.not_found:
                return None
            raise
        if self._found is None or _version(found) != _version(self._found):
            self._found, self._found_at = found, _clock()
        return found

    async def _create(self) -> bool:
        started = _clock()
        body = {"metadata": {"name": self._name}, "spec": self._record({}, self._identity)}
        try:
            created = await _in_time(self._api.create(LEASES, self._namespace, body))
        except ApiError as error:
            if error.conflict:  # another replica was faster
                return False
            missing = f"the Lease {self._namespace}/{self._name} does not exist, and this operator cannot create it"
            remedy = "create it, or allow the operator's ServiceAccount to create Leases in that namespace"
            raise ApiError(error.code, error.reason, f"{missing}: {error}; {remedy}") from error
        return self._written(created, started)

    async def _replace(self, found: Object, holder: str) -> bool:
        """Write the Lease, unless somebody has written it since `found` was read. Raises ApiError."""
        started = _clock()
        body = {**found, "spec": self._record(found.get("spec") or {}, holder)}
        written = await _in_time(self._api.replace(LEASES, self._namespace, self._name, body))
        return self._written(written, started)

    def _written(self, lease: Object, started: float) -> bool:
        self._found, self._found_at = lease, _clock()
        self._renewed = started if _spec(lease, "holderIdentity") == self._identity else -float(_RENEW_SECONDS)
        return True

    def _record(self, before: Object, holder: str) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if not holder:
            return {**before, "holderIdentity": "", "renewTime": now}
        taken = before.get("holderIdentity") != holder
        transitions = before.get("leaseTransitions")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": _DURATION_SECONDS,
            "acquireTime": now if taken else before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": (transitions if isinstance(transitions, int) else 0) + taken,
        }

    def _cause(self, error: BaseException) -> str:
        cause = str(error) or "the API server does not answer"
        return cause if self._name in cause else f"the Lease {self._namespace}/{self._name}: {cause}"

    def _note(self, problem: str) -> None:
        """Log a problem when it is new."""
        if problem and problem != self.problem:
            _LOG.warning("%s", problem)
        self.problem = problem


async def _in_time(request: Awaitable[Object]) -> Object:
    """Return the answer to a request. Raises TimeoutError early enough for another try."""
    async with asyncio.timeout(_REQUEST_SECONDS):
        return await request


def _spec(lease: Object, field: str) -> object:
    spec = lease.get("spec")
    return spec.get(field) if isinstance(spec, dict) else None


def _version(lease: Object) -> object:
    metadata = lease.get("metadata")
    return metadata.get("resourceVersion") if isinstance(metadata, dict) else None
