"""A keyed work queue: one worker per key at a time, merged duplicate requests, delays and backoff."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import aiohttp

from podium.kube.backoff import backoff
from podium.kube.client import ApiError

Key = TypeVar("Key", bound=Hashable)
_LOG = logging.getLogger(__name__)


class WorkQueue(Generic[Key]):
    """Calls ``work(key)`` for every added key; a key whose work raises is retried after a growing delay."""

    def __init__(
        self,
        work: Callable[[Key], Awaitable[None]],
        *,
        workers: int = 64,
        first_retry_seconds: float = 1.0,
        retry_limit_seconds: float = 60.0,
    ) -> None:
        self._work = work
        self._workers = workers
        self._first_retry, self._retry_limit = first_retry_seconds, retry_limit_seconds
        self._ready: asyncio.PriorityQueue[tuple[int, int, Key]] = asyncio.PriorityQueue()
        self._queued: set[Key] = set()  # in _ready
        self._busy: set[Key] = set()  # being worked on
        self._again: set[Key] = set()  # added while being worked on
        self._failures: dict[Key, int] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}  # the earliest timer of each key; its other ones in _timers are void
        self._timer_added = asyncio.Event()
        self._order = itertools.count()

    def add(self, key: Key, *, first: bool = False) -> None:
        """Work on `key` as soon as a worker is free; with `first`, before all other waiting keys."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait((not first, next(self._order), key))

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on `key` after `seconds`, or sooner if an earlier timer is already set for it."""
        due = time.monotonic() + seconds
        if due < self._due.get(key, math.inf):
            self._due[key] = due
            heapq.heappush(self._timers, (due, next(self._order), key))
            self._drop_void_timers()
            self._timer_added.set()

    def forget(self, key: Key) -> None:
        """Drop the timer and failures of a key that will not come back."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._drop_void_timers()

    def _drop_void_timers(self) -> None:
        """Rebuild the heap once most of its timers are void: those hours ahead would pile up until they are due."""
        if len(self._timers) > 2 * len(self._due):
            self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)

    def __len__(self) -> int:
        return len(self._queued) + len(self._busy)

    async def run(self) -> None:
        """Run until canceled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_timers())
            for _ in range(self._workers):
                group.create_task(self._run_worker())

    async def _run_worker(self) -> None:
        while True:
            _, _, key = await self._ready.get()
            self._queued.discard(key)
            self._busy.add(key)
            self._due.pop(key, None)  # whatever the work still waits for, it sets a timer for again
            try:
                await self._work(key)
                self._failures.pop(key, None)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _LOG.warning(
                    "work on %s failed, retrying in %.0f s: %s",
                    key,
                    self._retry(key),
                    str(error) or "no answer in time",
                )
            except Exception:  # noqa: BLE001 - any error is retried
                _LOG.exception("work on %s failed, retrying in %.0f s", key, self._retry(key))
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _retry(self, key: Key) -> float:
        """Add a key whose work failed after a delay, which is returned."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff(failures, first=self._first_retry, limit=self._retry_limit)
        self.add_after(key, delay)
        return delay

    async def _run_timers(self) -> None:
        while True:
            self._timer_added.clear()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            self._drop_void_timers()
            wait = self._timers[0][0] - now if self._timers else None
            try:
                await asyncio.wait_for(self._timer_added.wait(), wait)
            except TimeoutError:
                continue
