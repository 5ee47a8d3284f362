"""Follows a container's log: reconnects, never reads a line twice, survives restarts and log rotation."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp

from podium.kube.backoff import backoff
from podium.kube.client import Api, ApiError

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_RETRY_LIMIT_SECONDS = 15.0
_LINGER_SECONDS = 1.0  # the kubelet closes the stream long before it reports the end of the container
_GIVE_UP_SECONDS = 120.0  # for the log of a container that has ended on a node that does not answer
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MAX_LINE = 1 << 20


class LogSink(Protocol):
    """Receives the lines of a log, and knows which ones it has."""

    @property
    def last_timestamp(self) -> str: ...

    def reconnect(self) -> None: ...

    def add(self, line: str, timestamp: str = "") -> bool | None: ...

    def restore(self, checkpoint: bytes) -> None: ...

    def end(self) -> None: ...


class LogStream:
    """Feeds a `LogSink` from the API server until the container has ended and every line is read."""

    def __init__(
        self,
        api: Api,
        sink: LogSink,
        *,
        namespace: str,
        container: str,
        pod: Callable[[], str | None],
        over: Callable[[], bool],
        restore: Callable[[], Awaitable[bytes]],
        changed: Callable[[bool], None],
    ) -> None:
        """`pod` returns the pod's name while it exists, `over` whether its container has printed everything, `restore`
        the checkpoint of an earlier process. `changed` is called when the sink has changed: with True if urgent."""
        self._api = api
        self._sink = sink
        self._namespace = namespace
        self._container = container
        self._pod = pod
        self._over = over
        self._restore = restore
        self._changed = changed
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """React to a change of the pod."""
        self._wake.set()

    async def run(self) -> None:
        """Read until the log is complete, then call the sink's `end`."""
        self._sink.restore(await self._restore())
        fruitless = 0  # consecutive connections without a new line
        silent_since: float | None = None
        while True:
            over = self._over()  # checked before reading, so that no later line is missed
            known = self._sink.last_timestamp
            try:
                read = await self._read_while_open(follow=not over)
                fruitless = 0 if self._sink.last_timestamp != known else fruitless + 1
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _LOG.debug("log of %s/%s: %s", self._namespace, self._pod(), error)
                gone = isinstance(error, ApiError) and (error.not_found or error.code == 400)
                read = gone and over
                fruitless += 1
            if over and silent_since is None:
                silent_since = time.monotonic()
            if silent_since is not None and time.monotonic() - silent_since > _GIVE_UP_SECONDS:
                _LOG.error("cannot read the log of %s/%s to its end", self._namespace, self._pod())
                read = True
            if over and read:
                self._sink.end()
                self._changed(True)
                return
            await self._pause(backoff(fruitless + 1, first=_RETRY_SECONDS, limit=_RETRY_LIMIT_SECONDS))

    async def _read_while_open(self, *, follow: bool) -> bool:
        """Read one stream. One that outlives its container (such as when the node is gone) is dropped and reopened."""
        reading = asyncio.ensure_future(self._read(follow=follow))
        try:
            while follow and not reading.done() and not self._over():
                self._wake.clear()
                woken = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({reading, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
            done, _ = await asyncio.wait({reading}, timeout=_LINGER_SECONDS if follow else None)
            return reading.result() if done else False
        finally:
            reading.cancel()

    async def _pause(self, seconds: float) -> None:
        """Wait until the pod changes, for at most `seconds`."""
        self._wake.clear()
        if self._over():
            return
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _read(self, *, follow: bool) -> bool:
        """Read the log over one connection. Returns True, also when there is no pod to read from."""
        pod = self._pod()
        if pod is None:
            return True
        query = {"follow": "true"} if follow else {}
        if self._sink.last_timestamp:
            # whole seconds, in the node's time zone: the sink drops lines it already has
            query["sinceTime"] = re.sub(r"\.\d+", "", self._sink.last_timestamp)
        self._sink.reconnect()
        async with self._api.log(self._namespace, pod, self._container, **query) as chunks:
            async for line in _lines(chunks):
                timestamp, _, text = line.partition(" ")
                stamped = _TIMESTAMP.fullmatch(timestamp) is not None  # the kubelet's own error lines are not
                urgent = self._sink.add(text, timestamp) if stamped else self._sink.add(line)
                if urgent is not None:
                    self._changed(urgent)
        return True


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield complete lines, each truncated to 1 MiB."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line[:_MAX_LINE].decode(errors="replace").rstrip("\r")
        rest = rest[: _MAX_LINE + 1]
    if rest:
        yield rest[:_MAX_LINE].decode(errors="replace")
