"""Leader election by a Lease: one replica works, the others stand by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kubernetes.aio import client
from kubernetes.aio.leaderelection import electionconfig, leaderelection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from podium.cluster.api import Api

_LOG = logging.getLogger(__name__)
DURATION_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 15, 10, 2


class _Lock(LeaseLock):
    """The library's, whose `create` sends an option that its own client refuses (kubernetes 37.0.1)."""

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        try:
            await self.api_instance.create_namespaced_lease(namespace, body)
        except client.ApiException:
            return False  # another replica was faster
        return True


class LeaseLostError(Exception):
    """Another replica may be working by now: this process has to end."""


class Lease:
    """The Lease ``namespace/name``, wanted by `identity`."""

    def __init__(self, api: Api, lease: str, identity: str) -> None:
        namespace, _, name = lease.partition("/")
        self._lock = _Lock(name, namespace, identity, api.client)

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then `work` while it is renewed.

        Raises LeaseLostError when it cannot be renewed in time.
        """
        ended = asyncio.Event()

        async def lead() -> None:
            try:
                await work()
            except Exception:  # noqa: BLE001 - told, and then the process ends
                _LOG.exception("the operator has failed")
            finally:
                ended.set()

        election = leaderelection.LeaderElection(
            electionconfig.Config(
                self._lock,
                lease_duration=DURATION_SECONDS,
                renew_deadline=RENEW_SECONDS,
                retry_period=RETRY_SECONDS,
                onstarted_leading=lead,
                onstopped_leading=_nothing,
            )
        )
        campaign, over = asyncio.create_task(election.run()), asyncio.create_task(ended.wait())
        await asyncio.wait({campaign, over}, return_when=asyncio.FIRST_COMPLETED)
        if campaign.done():
            campaign.result()
        campaign.cancel()
        over.cancel()
        if not ended.is_set():
            raise LeaseLostError(f"the Lease {self._lock.namespace}/{self._lock.name} was lost")


async def _nothing() -> None:
    """The election wants to call something when it is over."""
