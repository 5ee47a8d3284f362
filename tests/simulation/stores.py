"""The result store, and the threads that write to it.

Each operation takes virtual time, so that a process may die between two of them, and two processes may write at once.
A put may be applied although its answer is an error, or be refused. The history of every object is kept.
"""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

from podium.stores import AlreadyExists, NotFound, StoreUnavailable
from tests.simulation.world import Process, World


class _Abandoned(BaseException):
    """Raised in a thread whose process has died, at the end of a seed."""


class Threads:
    """The threads of all processes: exactly one of them or the world runs at any moment, in a reproducible order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._world_runs = threading.Semaphore(0)
        self._current: _Thread | None = None
        self._idle: list[_Thread] = []
        self._all: list[_Thread] = []

    def submit(self, process: Process, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run `work` in a thread of `process`."""
        future: asyncio.Future[Any] = process.create_future()
        thread = self._idle.pop() if self._idle else self._start()
        thread.process, thread.work, thread.future = process, work, future
        self.world.after(0.0, lambda: self._resume(thread))
        return future

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass in the current thread."""
        thread = self._current
        if thread is None:
            return  # called by the world itself
        self.world.after(seconds, lambda: self._resume(thread))
        self._world_runs.release()
        thread.go.acquire()
        if thread.abandoned:
            raise _Abandoned

    def _start(self) -> _Thread:
        thread = _Thread(self._world_runs)
        self._all.append(thread)
        thread.start()
        return thread

    def _resume(self, thread: _Thread) -> None:
        process = thread.process
        assert process is not None
        if process.frozen and process.alive:
            self.world.after(1.0, lambda: self._resume(thread))
            return
        process.count_step()
        if not process.alive:
            return
        self._current, self.world.running = thread, process
        thread.go.release()
        self._world_runs.acquire()
        self._current = self.world.running = None
        if thread.work is None:  # it has finished
            future, result, error = thread.future, thread.result, thread.error
            self._idle.append(thread)
            if future is not None and not future.done() and process.alive:
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(result)

    def close(self) -> None:
        """End all threads."""
        for thread in self._all:
            thread.abandoned = True
            thread.go.release()
        for thread in self._all:
            thread.join()


class _Thread(threading.Thread):
    def __init__(self, world_runs: threading.Semaphore) -> None:
        super().__init__(daemon=True)
        self.go = threading.Semaphore(0)
        self.process: Process | None = None
        self.work: Callable[[], Any] | None = None
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: Exception | None = None
        self.abandoned = False
        self._world_runs = world_runs

    def run(self) -> None:
        while True:
            self.go.acquire()
            if self.abandoned or self.work is None:
                return
            self.result = self.error = None
            try:
                self.result = self.work()
            except _Abandoned:
                return
            except Exception as error:  # noqa: BLE001 - handed to the waiting coroutine
                self.error = error
            self.work = None
            self._world_runs.release()


class Bucket:
    """The content of the store, its faults at the moment, and everything it ever held."""

    def __init__(self, world: World, threads: Threads) -> None:
        self.world, self.threads = world, threads
        self.objects: dict[str, bytes] = {}
        self.failing = 0.0  # probability that an operation is refused
        self.losing = 0.0  # probability that a put is applied and answered with an error
        self.slow_seconds = 0.0
        self.changed: list[Callable[[str, bytes | None, bytes | None], None]] = []  # key, before, after

    def operate(self, what: str, key: str) -> None:
        """Take the time of one operation. Raises StoreUnavailable."""
        random = self.world.random
        self.threads.sleep(random.uniform(0.002, 0.02) + random.uniform(0, self.slow_seconds))
        if self.failing and random.random() < self.failing:
            self.world.fault("store unavailable", f"{what} {key}")
            raise StoreUnavailable(f"{what} {key}: 503 Slow Down")

    def write(self, key: str, data: bytes | None) -> None:
        before = self.objects.get(key)
        if data is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = data
        for listener in self.changed:
            listener(key, before, data)
        if self.losing and self.world.random.random() < self.losing:
            self.world.fault("store answer lost", key)
            self.threads.sleep(5.0)
            raise StoreUnavailable(f"put {key}: no answer")


class SimulatedStore:
    """A `podium.stores.Store` over a `Bucket`."""

    def __init__(self, bucket: Bucket, prefix: str = "") -> None:
        self.url = f"s3://results/{prefix}".rstrip("/")
        self._bucket, self._prefix = bucket, prefix

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, content_type: str = "application/octet-stream"
    ) -> None:
        self._bucket.operate("put", key)
        if if_absent and self._prefix + key in self._bucket.objects:
            raise AlreadyExists(f"{self.url}/{key} exists")
        self._bucket.write(self._prefix + key, bytes(data))

    def put_file(self, key: str, file: BinaryIO, *, content_type: str = "application/octet-stream") -> None:
        file.seek(0)
        self.put(key, file.read())

    def get(self, key: str) -> bytes:
        self._bucket.operate("get", key)
        try:
            return self._bucket.objects[self._prefix + key]
        except KeyError:
            raise NotFound(f"{self.url}/{key} does not exist") from None

    def chunks(self, key: str) -> Iterator[bytes]:
        yield self.get(key)

    def list(self, prefix: str = "") -> list[str]:
        self._bucket.operate("list", prefix)
        start = self._prefix + prefix
        return sorted(key.removeprefix(self._prefix) for key in self._bucket.objects if key.startswith(start))

    def delete(self, key: str) -> None:
        self._bucket.operate("delete", key)
        self._bucket.write(self._prefix + key, None)

    def child(self, prefix: str) -> SimulatedStore:
        return SimulatedStore(self._bucket, f"{self._prefix}{prefix.strip('/')}/")

    def together(self) -> AbstractContextManager[SimulatedStore]:
        return nullcontext(self)

    def check(self) -> None:
        self._bucket.operate("put", ".podium-probe")


def mlperf_lines(data: bytes | None) -> Counter[str]:
    """Return the MLPerf lines in an object, without the timestamps that may stand before them."""
    if not data:
        return Counter()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    found = (line.partition(":::MLLOG") for line in data.decode(errors="replace").splitlines())
    return Counter(rest.strip() for _, token, rest in found if token)
