"""Follows the log of rank 0: reconnects, never reads a line twice, survives restarts and rotated logs."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp

from podium.kube.client import Api, ApiError
from podium.launch import CONTAINER

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_RETRY_LIMIT_SECONDS = 15.0
_LINGER_SECONDS = 1.0  # a kubelet closes the stream long before it reports the end
_GIVE_UP_SECONDS = 120.0  # for a log whose container has ended and whose node does not answer
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MAX_LINE = 1 << 20


class LogSink(Protocol):
    """Takes the lines of a log, as `LogBook` does."""

    @property
    def last_timestamp(self) -> str: ...

    def reconnect(self) -> None: ...

    def add(self, line: str, timestamp: str = "") -> bool | None: ...

    def restore(self, checkpoint: bytes) -> None: ...

    def end(self) -> None: ...


class LogStream:
    """Feeds a `Book` from the API server until the container has ended and every line is read."""

    def __init__(
        self,
        api: Api,
        book: LogSink,
        *,
        namespace: str,
        pod: Callable[[], str | None],
        over: Callable[[], bool],
        restore: Callable[[], Awaitable[bytes]],
        changed: Callable[[bool], None],
    ) -> None:
        """`pod` names rank 0's pod while it exists, `over` says that its container will print no more, `restore`
        gives the checkpoint of an earlier life, `changed` is told of news: True for those that cannot wait."""
        self._api = api
        self._book = book
        self._namespace = namespace
        self._pod = pod
        self._over = over
        self._restore = restore
        self._changed = changed
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """The pod has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Until the log is whole; ``book.ended`` is set then."""
        self._book.restore(await self._restore())
        delay = _RETRY_SECONDS
        silent_since: float | None = None
        while True:
            over = self._over()  # asked before reading: what is printed later would not be missed
            known = self._book.last_timestamp
            try:
                read = await self._read_while_open(follow=not over)
                delay = _RETRY_SECONDS if self._book.last_timestamp != known else min(_RETRY_LIMIT_SECONDS, delay * 2)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _LOG.debug("log of %s/%s: %s", self._namespace, self._pod(), error)
                gone = isinstance(error, ApiError) and (error.not_found or error.code == 400)
                read = gone and over
                delay = min(_RETRY_LIMIT_SECONDS, delay * 2)
            if over and silent_since is None:
                silent_since = time.monotonic()
            if silent_since is not None and time.monotonic() - silent_since > _GIVE_UP_SECONDS:
                _LOG.error("log of %s/%s cannot be read to its end", self._namespace, self._pod())
                read = True
            if over and read:
                self._book.end()
                self._changed(True)
                return
            await self._pause(delay)

    async def _read_while_open(self, *, follow: bool) -> bool:
        """A stream that outlives its container (its node is gone, say) is left, and read again from what is stored."""
        reading = asyncio.ensure_future(self._read(follow=follow))
        try:
            while follow and not reading.done() and not self._over():
                self._wake.clear()
                news = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({reading, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            done, _ = await asyncio.wait({reading}, timeout=_LINGER_SECONDS if follow else None)
            return reading.result() if done else False
        finally:
            reading.cancel()

    async def _pause(self, seconds: float) -> None:
        """Wait for news of the pod, but not longer than `seconds`."""
        self._wake.clear()
        if self._over():
            return
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _read(self, *, follow: bool) -> bool:
        """One connection's worth of log; False when there is no pod to read from and there may be one later."""
        pod = self._pod()
        if pod is None:
            return True
        query = {"follow": "true"} if follow else {}
        if self._book.last_timestamp:
            # whole seconds, in the zone of the node: the book drops what it has
            query["sinceTime"] = re.sub(r"\.\d+", "", self._book.last_timestamp)
        self._book.reconnect()
        async with self._api.log(self._namespace, pod, CONTAINER, **query) as chunks:
            async for line in _lines(chunks):
                timestamp, _, text = line.partition(" ")
                stamped = _TIMESTAMP.fullmatch(timestamp) is not None  # the kubelet's own complaints are not
                news = self._book.add(text, timestamp) if stamped else self._book.add(line)
                if news is not None:
                    self._changed(news)
        return True


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Whole lines; a line beyond 1 MiB is cut."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line[:_MAX_LINE].decode(errors="replace").rstrip("\r")
        rest = rest[: _MAX_LINE + 1]
    if rest:
        yield rest[:_MAX_LINE].decode(errors="replace")
