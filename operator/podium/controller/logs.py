"""Keeps a log stream open for every running try, and checkpoints what it received."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from podium.api import TryId
from podium.controller.state import OpenLog, RunState
from podium.kube import Api, ApiError, LogStream, backoff
from podium.launch import CONTAINER, STAGE_CONTAINER
from podium.mllog import LogBuffer
from podium.reconcile import ObservedLog, Run
from podium.stores import StoreError

_LOG = logging.getLogger(__name__)
_CHECKPOINT_SECONDS = 60.0
_BYTES_PER_SECOND = 32 * 1024  # a long log is checkpointed less often, since each checkpoint writes all of it
_PROGRESS_SECONDS = 10.0
_LAST_LINES_SECONDS = 10.0  # a container that is being killed may still print
_POD_LOG_LINES = 2000
_POD_LOG_BYTES = 1 << 20
_AT_ONCE = 8
_SILENCE_SECONDS = 60.0
_READS_PER_SECOND = 3.0  # of silent logs, at most
_RETRY_SECONDS = 2.0


class Checkpoints(Protocol):
    """Saves logs while they grow; both methods raise StoreError."""

    async def put_checkpoint(self, run: Run, id_: TryId, text: bytes) -> None: ...

    async def get_checkpoint(self, run: Run, id_: TryId) -> bytes: ...


class LogCollector:
    """The logs of all runs. `wake` schedules the reconciliation of a run, by uid and delay in seconds."""

    def __init__(self, api: Api, checkpoints: Checkpoints, wake: Callable[[str, float], None]) -> None:
        self._api = api
        self._checkpoints = checkpoints
        self._wake = wake
        self._reading: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()

    def follow(self, state: RunState) -> None:
        """Open the logs of all tries that are running or not yet stored."""
        for log in state.logs.open.values():
            log.stream.wake()  # its pod may have changed
        listed = {a.id: a for a in state.run.status.attempts}
        stored = state.uploads.stored
        open_tries = [id_ for id_, a in listed.items() if not (a.state.finished and (a.stored or id_ in stored))]
        for id_ in [*open_tries, *(id_ for id_ in state.observation.jobs if id_ not in listed)]:
            rank0 = state.observation.rank0(id_)
            if id_ not in state.logs.open and (state.observation.silent(id_) or (rank0 and rank0.started)):
                state.logs.open[id_] = self._open(state, id_)

    def _open(self, state: RunState, id_: TryId) -> OpenLog:
        buffer = LogBuffer()
        inherited = id_ in state.logs.inherited

        def pod() -> str | None:
            rank0 = state.observation.rank0(id_)
            return rank0.name if rank0 and rank0.stopped != "Deleted" else None

        def started() -> bool:
            rank0 = state.observation.rank0(id_)
            return inherited if rank0 is None else rank0.started is not None

        rank0 = state.observation.rank0(id_)
        stream = LogStream(
            self._api,
            buffer,
            namespace=state.run.namespace,
            container=CONTAINER,
            pod=pod,
            started=started,
            over=lambda: state.observation.silent(id_),
            changed=lambda urgent: self._wake(state.run.uid, 0.0 if urgent else _PROGRESS_SECONDS),
            restore=(lambda: self._restored(state, id_)) if inherited else None,
            known_until=0.0 if inherited or rank0 is None else rank0.started or 0.0,
            silence=self._silence,
        )
        task = asyncio.create_task(stream.run(), name=f"log of {state.run.namespace}/{state.run.name} {id_}")
        self._reading.add(task)
        task.add_done_callback(self._stopped)
        return OpenLog(buffer, stream, task, saved_at=time.monotonic())

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _LOG.error("reading the %s has stopped", task.get_name(), exc_info=error)

    def _silence(self) -> float:
        """The seconds after which a silent log is read again: a minute, or longer if there are many logs."""
        return max(_SILENCE_SECONDS, len(self._reading) / _READS_PER_SECOND)

    async def _restored(self, state: RunState, id_: TryId) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the checkpoint of an earlier process. While the store does not answer, the log is unreadable."""
        failures = 0
        while True:
            try:
                rows = await self._checkpoints.get_checkpoint(state.run, id_)
            except StoreError as error:
                failures += 1
                if log := state.logs.open.get(id_):
                    log.stream.unreadable = f"its checkpoint cannot be read: {error}"
                _LOG.warning("checkpoint of %s/%s %s: %s", state.run.namespace, state.run.name, id_, error)
                self._wake(state.run.uid, 0.0)
                await asyncio.sleep(backoff(failures, first=_RETRY_SECONDS))
            else:
                yield "", rows
                return

    def read_now(self, state: RunState, id_: TryId) -> None:
        """Read a log to the present, because a deadline is about to be judged; the run is woken when that is done."""
        if log := state.logs.open.get(id_):
            log.stream.read_now()

    def checkpoint(self, state: RunState) -> None:
        """Save the logs that have grown, in the background: a lost checkpoint does no harm while the pod exists."""
        for id_, log in state.logs.open.items():
            grown = log.buffer.size_bytes - log.saved_bytes
            interval = _CHECKPOINT_SECONDS + log.buffer.size_bytes / _BYTES_PER_SECOND
            if grown and not log.buffer.ended and time.monotonic() - log.saved_at >= interval:
                log.saved_bytes, log.saved_at = log.buffer.size_bytes, time.monotonic()
                task = asyncio.create_task(self._save(state, id_, log.buffer.rows(0, log.buffer.size_bytes)))
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    async def _save(self, state: RunState, id_: TryId, text: bytes) -> None:
        try:
            await self._checkpoints.put_checkpoint(state.run, id_, text)
        except StoreError as error:
            _LOG.warning("checkpoint of %s/%s %s: %s", state.run.namespace, state.run.name, id_, error)

    async def keep_pod_logs(self, state: RunState, id_: TryId) -> None:
        """Read the pods' logs now, because their Job is about to be deleted."""
        state.logs.pod_logs[id_] = await self.pod_logs(state, id_)

    async def pod_logs(self, state: RunState, id_: TryId) -> dict[str, bytes]:
        """Return the end of every pod's full log, by file name. Pods that are gone are left out."""
        if id_ in state.logs.pod_logs:
            return state.logs.pod_logs[id_]
        gate = asyncio.Semaphore(_AT_ONCE)
        query = {"tailLines": str(_POD_LOG_LINES), "limitBytes": str(_POD_LOG_BYTES)}

        async def one(pod: str, container: str) -> bytes | None:
            try:
                async with gate, self._api.log(state.run.namespace, pod, container, **query) as chunks:
                    return b"".join([chunk async for chunk in chunks])
            except (ApiError, OSError, TimeoutError) as error:
                _LOG.debug("log of %s/%s: %s", state.run.namespace, pod, error)
                return None

        pods = [c for c in state.observation.containers.get(id_, {}).values() if c.stopped != "Deleted"]
        wanted = {f"pod-{c.node_index}.log": (c.name, CONTAINER) for c in pods if c.started is not None}
        copied = [c for c in pods if c.staging and c.staging.started is not None]
        wanted |= {f"pod-{c.node_index}.stage.log": (c.name, STAGE_CONTAINER) for c in copied}
        texts = await asyncio.gather(*(one(*place) for place in wanted.values()))
        return {name: text for name, text in zip(wanted, texts, strict=True) if text is not None}

    @staticmethod
    async def finished(state: RunState, id_: TryId) -> tuple[ObservedLog, Sequence[str]]:
        """Return what rank 0 printed and its MLPerf lines, after a short wait for the last ones."""
        log = state.logs.open.get(id_)
        if log is None:
            return state.logs.read.get(id_, ObservedLog()), ()
        if not log.buffer.ended:
            await asyncio.wait({log.task}, timeout=_LAST_LINES_SECONDS)
        return log.observed(), list(log.buffer.mlperf_lines())

    @staticmethod
    def release(state: RunState, id_: TryId, log: ObservedLog) -> None:
        """Drop the logs of a stored try; `log` is what is kept of rank 0's."""
        state.logs.read[id_] = log
        state.logs.pod_logs.pop(id_, None)
        if opened := state.logs.open.pop(id_, None):
            _close(opened)

    @staticmethod
    def close(state: RunState) -> None:
        """Drop all logs of a run."""
        for log in state.logs.open.values():
            _close(log)
        state.logs.open.clear()
        state.logs.pod_logs.clear()


def _close(log: OpenLog) -> None:
    log.task.cancel()
    log.buffer.close()
