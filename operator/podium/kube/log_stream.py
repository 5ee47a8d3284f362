"""Reads a container's log: to the present first, then as it grows, until its end.

A log that cannot be read is never taken for one without lines. `LogStream.known_until` says how far it is known, and
only a read that has reached the end of what was there moves it: a stream that follows a log and is silent proves
nothing, since its connection may be dead. So a log that has been silent is read once more beside the stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from podium.kube.backoff import backoff
from podium.kube.client import Api, ApiError
from podium.kube.line_intake import LineIntake
from podium.kube.log_lines import KnownLines, LineCutter, LogLine, is_torn, read_line
from podium.kube.log_sink import LogCopy, LogSink
from podium.kube.receipts import Receipts

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_RETRY_LIMIT_SECONDS = 15.0
_AGAIN_SECONDS = 0.2
_CLOSED_SECONDS = 5.0  # a stream that its node has closed is opened again so late: most often its container has ended
_LINGER_SECONDS = 1.0  # the kubelet closes the stream long before it reports the end of the container
# The log of a container that has ended counts as lost if its node has not answered for so long. A node that is gone for
# five minutes loses its pods by default, and so their logs at once; this is for one that is merely in trouble.
LOST_AFTER_SECONDS = 1800.0
_MAX_CAUSE = 300  # characters
_FULL_CHUNK_BYTES = 16 << 10  # more may have arrived already
_NEVER = 400, 404  # there is no such pod or container: final once it has ended
_ERRORS = (ApiError, aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class _Read:
    """A connection that was read to its end: how many lines were new, the line that had not ended, and the copy."""

    new: int
    rest: bytes
    copy: LogCopy | None = None


class _InsideLineError(Exception):
    """A connection begins with the rest of a line, or with what is not a log at all."""


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
        changed: Callable[[bool], None],
        started: Callable[[], bool] = lambda: True,
        exited: Callable[[], bool] = lambda: True,
        restore: Callable[[], AsyncIterator[tuple[str, bytes]]] | None = None,
        known_until: float = 0.0,
        nothing_before: float | None = None,
        silence: Callable[[], float] = lambda: 60.0,
        pace: Callable[[], float] = lambda: 0.0,
        streams: asyncio.Semaphore | None = None,
        poll: Callable[[], float] = lambda: 0.0,
        keep: Callable[[], LogCopy] | None = None,
    ) -> None:
        """`pod` returns the pod's name while it exists, `started` whether its container has ever run, `over` whether it
        has printed everything, `exited` whether it is known to have ended (a pod may vanish with its node). `restore`
        yields what earlier processes have kept: rows of timestamp and line, and which process it was. `changed` is
        called when something has changed: with True if urgent. `known_until` is the container's start if all of the log
        is still to be had, 0.0 if this process continues another one's work. Nothing was printed before
        `nothing_before`; None: unknown. A log that is silent for `silence` seconds is read again; one that grows is
        looked at every `pace`. One that gets none of `streams` (None: always) is read again every `poll` seconds. At
        the end, all of a log is read into what `keep` makes.
        """
        self.known_until = known_until  # unix time up to which everything printed was read; 0.0: nothing was read yet
        self.unreadable = ""  # why the log cannot be read at present
        self.lost = ""  # why its end will never be read
        self.bytes_read = 0  # whatever they were
        self.copy: LogCopy | None = None  # of all of the log, once it is complete
        self._api = api
        self._sink = sink
        self._namespace = namespace
        self._container = container
        self._pod = pod
        self._over = over
        self._started = started
        self._exited = exited
        self._restore = restore
        self._changed = changed
        self._silence = silence
        self._pace = pace
        self._streams = streams or asyncio.Semaphore()
        self._poll = poll
        self._keep = keep
        self._resting: asyncio.Future[None] | None = None
        self._known = KnownLines()
        self._receipts = Receipts(nothing_before)
        self._was_interrupted = restore is not None  # a clock may have stepped back meanwhile: see `_read`
        self._news, self.present = asyncio.Event(), asyncio.Event()  # `present` is set by a read to the present
        self._was_over = self._asked = False
        self._drained = False  # the node has closed the stream, as it does after a container's last line
        self._failures = 0
        self._failing_since = self._retry_at = self._heard_at = 0.0  # time.monotonic()
        self._rest = b""

    def wake(self) -> None:
        """React to the end of the container."""
        if self._over() and not self._was_over:
            self._was_over = True
            self._stop_resting()
            self._news.set()

    def read_now(self) -> None:
        """Read the log to the present, if possible: `present` is set when that is done."""
        self._asked = True
        self.present.clear()
        self._stop_resting()
        self._news.set()

    async def run(self) -> None:
        """Read until the log is complete or its end is lost, then call the sink's `end`."""
        await self._restore_lines()
        if self.known_until and self._streams.locked():
            await self._pause(self._poll() / 2)  # of a program that has just begun, there is little to read yet
        fruitless = 0  # streams in a row without a new line
        while True:
            if self._over():
                if await self._read_last():
                    break
                await self._pause(max(_AGAIN_SECONDS, self._retry_at - time.monotonic()))
            elif self.unreadable or not self.known_until or self._streams.locked():
                if not (read := await self._read_to_present()):
                    await self._pause(self._retry_at - time.monotonic())
                elif self._streams.locked():
                    self._drained = self._drained and not read.new
                    self._was_interrupted = True
                    await self._pause(self._poll())
            else:
                before = self._known.count
                async with self._streams:
                    await self._follow()
                self._was_interrupted |= not (self._drained and self._over())
                fruitless = 1 if self._known.count > before else fruitless + 1
                first = _CLOSED_SECONDS if self._drained else _RETRY_SECONDS
                await self._pause(backoff(fruitless, first=first, limit=_RETRY_LIMIT_SECONDS))
        self._sink.end()
        self._changed(True)

    async def _restore_lines(self) -> None:
        if self._restore is None:
            return
        intakes: dict[str, LineIntake] = {}
        async for writer, rows in self._restore():
            intake = intakes.setdefault(writer, self._intake())
            intake.is_first = False
            for line in filter(None, map(read_line, rows.split(b"\n")[:-1])):
                await self._add_restored(intake, line)
        self.unreadable = ""

    def _intake(self, *, complete: bool = False) -> LineIntake:
        return LineIntake(self._known, self._sink, self._changed, complete=complete)

    async def _add_restored(self, intake: LineIntake, line: LogLine) -> None:
        while True:
            try:
                intake.add(line, line.text, line.timestamp)
            except OSError as error:  # the disk is full
                self._fail(error)
                await asyncio.sleep(self._retry_at - time.monotonic())
            else:
                return

    async def _pause(self, seconds: float) -> None:
        """Wait for news, for at most `seconds`."""
        if seconds > 0 and not (self._over() and not self._was_over):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        self._was_over = self._over()
        self._news.clear()

    # ---- reading to the present ----

    async def _read_to_present(self) -> _Read | None:
        """Read what is there now over a connection that does not follow. Returns None if that failed."""
        began, receipt = time.time(), self._receipts.now()
        try:
            read = await self._read(follow=False, whole=self._asked)
        except _ERRORS as error:
            self._fail(error)
            return None
        awaited = self._asked or self.unreadable or not self.known_until
        self._succeed(began, receipt)
        if awaited:
            self._changed(True)
        return read

    def _succeed(self, began: float, receipt: float) -> None:
        self.known_until, self.unreadable = began, ""
        self._receipts.complete_until(receipt)
        self._failures, self._retry_at, self._asked = 0, 0.0, False
        self._heard_at = time.monotonic()
        self.present.set()

    def _fail(self, error: Exception) -> None:
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        self._retry_at = now + backoff(self._failures, first=_RETRY_SECONDS, limit=_RETRY_LIMIT_SECONDS)
        cause = " ".join(str(error).split())[:_MAX_CAUSE] or "no answer in time"
        if cause != self.unreadable:
            _LOG.debug("log of %s/%s: %s", self._namespace, self._pod(), cause)
            self.unreadable = cause
            self._changed(True)

    async def _read_last(self) -> bool:
        """Read what is left of the log of a container that has ended. Returns whether that was all there will be."""
        self._was_over = True
        began, receipt = time.time(), self._receipts.now()
        if not self._started():  # it has printed nothing
            self.known_until = began
            return True
        try:
            read = await self._read(follow=False, whole=True, copy=self._keep() if self._keep else None)
        except _ERRORS as error:
            self._fail(error)
            final = isinstance(error, ApiError) and error.code in _NEVER
            if final or time.monotonic() - self._failing_since > LOST_AFTER_SECONDS:
                self._lose(self.unreadable)
                return True
            return False
        self._succeed(began, receipt)
        if read.new or read.rest != self._rest:  # a connection that broke may look like the end: read once more
            self._rest, self._drained = read.rest, not read.rest
            if read.copy is not None:
                read.copy.close()
            return False
        self.copy = read.copy
        if line := read_line(read.rest):
            last = self._intake()
            last.is_first = False
            last.take(line, self._receipts.receipt())
        return True

    def _lose(self, cause: str) -> None:
        """Nothing more can be read. That is a loss unless the log was read to its end before."""
        self.unreadable = ""
        if not (self._drained and self._exited()):
            self.lost = cause
            _LOG.warning("the end of the log of %s/%s is lost: %s", self._namespace, self._container, cause)

    # ---- following ----

    async def _follow(self) -> None:
        """Take lines as they are printed, until the stream ends, its container ends, or it turns out to be dead."""
        self._drained = False
        self._heard_at = time.monotonic()
        reading = asyncio.create_task(self._read(follow=True))
        try:
            while not reading.done() and not self._over():
                await self._wait_for_news(reading)
                if reading.done() or self._over() or time.monotonic() < self._due_at():
                    continue
                read = await self._read_to_present()
                if read and read.new:
                    return  # the stream has not delivered them
            await asyncio.wait({reading}, timeout=_LINGER_SECONDS)
            if reading.done():
                try:
                    self._rest = reading.result().rest
                    self._drained = not self._rest
                except _ERRORS as error:
                    _LOG.debug("log of %s/%s: %s", self._namespace, self._pod(), error)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _due_at(self) -> float:
        """When to read to the present beside the stream (time.monotonic())."""
        return self._retry_at if self._asked or self.unreadable else self._heard_at + self._silence()

    async def _wait_for_news(self, reading: asyncio.Task[_Read]) -> None:
        news = asyncio.create_task(self._news.wait())
        try:
            seconds = max(0.0, self._due_at() - time.monotonic())
            await asyncio.wait({reading, news}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        self._news.clear()

    async def _read(self, *, follow: bool, whole: bool = False, copy: LogCopy | None = None) -> _Read:
        """Read one connection to its end. Raises ApiError for what is not a log, and the errors of the connection.

        The kubelet stores long lines in parts and writes a timestamp only before the first of them. If the log is read
        from a second within such a line, it begins without one, and is read from its beginning instead. So is a log
        whose stream was interrupted if it is to be `whole`: the node's clock may have stepped back in the meantime, and
        a connection that begins at a second leaves out all lines with earlier timestamps.
        """
        if (since := self._known.since) and not (whole and self._was_interrupted):
            with suppress(_InsideLineError):
                return await self._read_from(since, follow=follow, copy=copy)
        return await self._read_from("", follow=follow, copy=copy)

    async def _read_from(self, since: str, *, follow: bool, copy: LogCopy | None) -> _Read:
        """Take lines from the time `since` on. For a copy, all is read."""
        pod = self._pod()
        if pod is None:
            raise ApiError(404, "NotFound", "the pod was deleted")
        query = {"follow": "true"} if follow else {}
        if since and copy is None:
            query["sinceTime"] = since
        start = self._known.start if since and copy is not None else 0
        shown = self._known.start  # earlier reads, which began no later, had all lines from then on
        interrupted = self._was_interrupted and not since
        intake, cutter = self._intake(complete=interrupted and not follow), LineCutter()
        async with self._api.log(self._namespace, pod, self._container, **query) as chunks:
            async for chunk in chunks:
                self.bytes_read += len(chunk)
                copy = _copied(copy, chunk)
                receipt = self._receipts.receipt()
                hidden = self._receipts.receipt(hidden=True) if interrupted else receipt
                if follow:
                    self._heard_at = time.monotonic()
                for row in cutter.feed(chunk):
                    line = read_line(row)
                    if line is None:
                        raise _InsideLineError if "sinceTime" in query and intake.is_first else _not_a_line(row)
                    if line.at >= start:
                        intake.take(line, receipt if line.at >= shown else hidden)
                if follow and len(chunk) < _FULL_CHUNK_BYTES:
                    await self._rest_a_while()
        rest = bytes(cutter.rest)
        if not is_torn(rest):
            raise _not_a_line(rest)
        intake.end()
        return _Read(intake.new, rest, copy)

    async def _rest_a_while(self) -> None:
        """Let lines pile up, if many logs are read at once: waking up for a line costs more than reading ten."""
        if (seconds := self._pace()) <= 0 or self._over():
            return
        loop = asyncio.get_running_loop()
        self._resting = loop.create_future()
        timer = loop.call_later(seconds, self._stop_resting)
        try:
            await self._resting
        finally:
            timer.cancel()
            self._resting = None

    def _stop_resting(self) -> None:
        if self._resting and not self._resting.done():
            self._resting.set_result(None)


def _copied(copy: LogCopy | None, chunk: bytes) -> LogCopy | None:
    """Add a chunk to a copy. Returns the copy, or None if there is no room for it."""
    try:
        if copy is not None:
            copy.append(chunk)
    except OSError as error:
        _LOG.warning("no room for the copy of a log: %s", error)
        return None
    return copy


def _not_a_line(row: bytes) -> ApiError:
    """Return the error for output without a timestamp: with status 200, it is a complaint of the kubelet."""
    return ApiError(0, "NotALog", row[:_MAX_CAUSE].decode(errors="replace"))
