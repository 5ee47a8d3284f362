"""Leader election with a Lease: one replica works, the others stand by."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from podium.kube.client import Api

_LOG = logging.getLogger(__name__)
# A standby replica checks every _RETRY_SECONDS, so it starts work at most 2 * _RETRY_SECONDS + _DURATION_SECONDS after
# the previous leader's last renewal. That leader gives up _RENEW_SECONDS after it, and has the rest of the time to end.
_DURATION_SECONDS, _RENEW_SECONDS, _RETRY_SECONDS = 12, 8, 2
_REQUEST_SECONDS = 4
_END_SECONDS = 10
_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)


class _Lock(LeaseLock):
    """The library's lock, except that no response counts as a failed try; the library's waits five minutes, or crashes.

    The library's `create` also sends an option that its own client rejects (kubernetes 37.0.1).
    """

    renewed = 0.0  # time.monotonic() at the start of the last successful write

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                return await super().get(name, namespace)
        except _UNREACHABLE as error:
            return False, client.ApiException(status=0, reason=str(error) or type(error).__name__)

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._written(self.api_instance.create_namespaced_lease(namespace, body))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:  # noqa: ARG002
        return await self._replace(lambda lease: self.update_lease(updated_record, lease.spec))

    async def release(self) -> None:
        """Give up the Lease if it is still ours, so that a standby replica takes it at its next check."""
        there, record = await self.get(self.name, self.namespace)
        if not (there and isinstance(record, LeaderElectionRecord) and record.holder_identity == self.identity):
            return
        vacant = client.V1LeaseSpec(lease_duration_seconds=_DURATION_SECONDS)
        if await self._replace(lambda _: vacant):
            _LOG.info("gave up the Lease %s/%s", self.namespace, self.name)

    async def _replace(self, spec: Callable[[client.V1Lease], client.V1LeaseSpec]) -> bool:
        """Write the Lease that was last read, unless somebody has written it since."""
        assert self.lease_reference is not None
        self.lease_reference.spec = spec(self.lease_reference)
        return await self._written(
            self.api_instance.replace_namespaced_lease(self.name, self.namespace, self.lease_reference)
        )

    async def _written(self, request: Awaitable[Any]) -> bool:
        started = time.monotonic()
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await request
        except (client.ApiException, *_UNREACHABLE) as error:  # another replica was faster, or no response
            _LOG.info("Lease %s/%s: %s", self.namespace, self.name, getattr(error, "reason", error) or error)
            return False
        self.renewed = started
        return True


class LeaseLostError(Exception):
    """Another replica may be working by now: this process must end."""


class Lease:
    """The Lease ``namespace/name``, to be held by `identity`."""

    def __init__(self, api: Api, lease: str, identity: str) -> None:
        namespace, _, name = lease.partition("/")
        self._lock = _Lock(name, namespace, identity, api.client)

    async def hold(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the Lease, then run `work` while renewing it; give it up when the work ends or is canceled.

        Raises LeaseLostError if the Lease cannot be renewed in time, and any error that `work` raises.
        """
        election = LeaderElection(
            Config(
                self._lock,
                lease_duration=_DURATION_SECONDS,
                renew_deadline=_RENEW_SECONDS,
                retry_period=_RETRY_SECONDS,
                onstarted_leading=_nothing,
                onstopped_leading=_nothing,
            )
        )
        await election.acquire()
        tasks = {asyncio.create_task(work()), asyncio.create_task(self._keep(election))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            _, at_work = await asyncio.wait(tasks, timeout=_END_SECONDS)
            if not at_work:  # otherwise the Lease expires on its own after this process ends
                await self._lock.release()
        for task in done:
            task.result()

    async def _keep(self, election: LeaderElection) -> None:
        """Renew the Lease. Raises LeaseLostError well before another replica takes over."""
        renewal = asyncio.create_task(election.renew_loop())
        try:
            while not renewal.done() and (left := self._lock.renewed + _RENEW_SECONDS - time.monotonic()) > 0:
                await asyncio.wait({renewal}, timeout=left)
        finally:
            renewal.cancel()
        raise LeaseLostError(f"the Lease {self._lock.namespace}/{self._lock.name} was lost")


async def _nothing() -> None:
    """Do nothing: the library requires callbacks, but the work runs as a separate task."""
