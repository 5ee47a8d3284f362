"""Reads the whole logs of a try's pods into bounded files on disk, before they are stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import aiohttp

from podium.kube import Api, ApiError, read_line
from podium.launch import CONTAINER, STAGE_CONTAINER
from podium.mllog import BoundedSpool
from podium.reconcile import Container

_LOG = logging.getLogger(__name__)
MAX_BYTES = 16 << 20  # of one log; the beginning and the end of a longer one are kept
MAX_BYTES_OF_TRY = 128 << 20  # of all logs of a try
_SECONDS = 120.0  # for all logs of a try: nodes that do not answer must not hold it up
_LOGS_AT_ONCE = 8  # of a try
_TRIES_AT_ONCE = 16
_MAX_CAUSE = 300  # characters

RANK0 = "pod-0.log"
PodLogs = dict[str, BoundedSpool]  # by file name


class PodLogReader:
    """Reads from the API server, a few tries at once."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._tries = asyncio.Semaphore(_TRIES_AT_ONCE)

    @staticmethod
    def place(containers: Sequence[Container]) -> BoundedSpool:
        """Return a place for the log of one of the containers of a try."""
        return BoundedSpool(min(MAX_BYTES, MAX_BYTES_OF_TRY // max(1, len(_wanted(containers)))))

    async def read(self, namespace: str, containers: Sequence[Container], rank0: BoundedSpool | None = None) -> PodLogs:
        """Return the logs of all containers that have run; why one could not be read is in its `unread`.

        `rank0` is a copy of rank 0's log, if it has been read.
        """
        wanted = _wanted(containers)
        logs: PodLogs = {RANK0: rank0} if rank0 and wanted.pop(RANK0, None) else {}
        logs |= {name: self.place(containers) for name in wanted}
        gate = asyncio.Semaphore(_LOGS_AT_ONCE)

        async def one(name: str, pod: Container, container: str) -> None:
            async with gate:
                await self._read(logs[name], namespace, pod, container)

        async with self._tries:
            reading = [asyncio.create_task(one(name, *place)) for name, place in wanted.items()]
            try:
                if reading:
                    await asyncio.wait(reading, timeout=_SECONDS)
            finally:
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
        return logs

    async def _read(self, log: BoundedSpool, namespace: str, pod: Container, container: str) -> None:
        log.unread = f"not read within {_SECONDS:.0f} s"
        if pod.stopped == "Deleted":
            log.unread = "the pod was deleted"
            return
        try:
            async with self._api.log(namespace, pod.name, container) as chunks:
                async for chunk in chunks:
                    if not log.size and (complaint := _complaint(chunk)):
                        log.unread = complaint
                        return
                    log.append(chunk)
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.unread = " ".join(str(error).split())[:_MAX_CAUSE] or "no answer in time"
            _LOG.debug("log of %s/%s: %s", namespace, pod.name, log.unread)
        else:
            log.unread = ""


def _wanted(containers: Sequence[Container]) -> dict[str, tuple[Container, str]]:
    """Return pod and container of each log, by file name."""
    wanted = {f"pod-{c.node_index}.log": (c, CONTAINER) for c in containers if c.started is not None}
    copied = [c for c in containers if c.staging and c.staging.started is not None]
    return wanted | {f"pod-{c.node_index}.stage.log": (c, STAGE_CONTAINER) for c in copied}


def _complaint(chunk: bytes) -> str:
    """Return what the kubelet says in place of a log; empty if this is the beginning of one."""
    row = chunk.partition(b"\n")[0]
    return "" if read_line(row) else row[:_MAX_CAUSE].decode(errors="replace")
