"""Keeps a log stream open for every running try, and checkpoints what it received."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import aiohttp

from podium.api import AttemptState, TryId
from podium.controller.observation import Observation
from podium.controller.pod_logs import PodLogReader, PodLogs
from podium.controller.rank0 import Rank0Pod
from podium.controller.state import OpenLog, RunState
from podium.kube import Api, ApiError, LogStream, backoff
from podium.launch import CONTAINER
from podium.mllog import MAX_MLPERF_BYTES, BoundedSpool, LogBuffer, LogSummary
from podium.reconcile import Container, ObservedLog, Run, unlisted_tries
from podium.results import FULL_SEGMENT_BYTES, MAX_SEGMENT_BYTES, Checkpoint, LogDigest, Segment
from podium.stores import StoreError, StoreUnavailable

_LOG = logging.getLogger(__name__)
_DROP_RETRY_SECONDS = 60.0  # for the checkpoints of a run that has ended
_CHECKPOINT_SECONDS = 60.0
_URGENT_CHECKPOINT_SECONDS = 5.0  # after run_start or run_stop: what is not saved by then is lost if the node goes
_CHECKPOINT_BYTES = 2 << 20  # of output, MLPerf lines or not: the kubelet rotates a log at 10 MiB by default
_CHECKPOINT_PAUSE_SECONDS = 5.0
_PROGRESS_SECONDS = 10.0
_PROGRESS_PER_SECOND = 5.0  # of all logs
_LAST_LINES_SECONDS = 10.0  # a container that is being killed may still print
_KEPT_POD_LOG_BYTES = 2 << 30  # of pod logs that wait for the store, on disk
_SILENCE_SECONDS = 60.0
_PACE_LIMIT_SECONDS = 5.0
_LOOKS_PER_SECOND = 200.0  # at logs that grow, at most
_READS_PER_SECOND = 3.0  # of silent logs, at most
MAX_STREAMS = 64  # logs that are followed: each takes a connection of its own, and the memory for it
_POLLS_PER_SECOND = 50.0  # of all other logs
_POLL_SECONDS = 5.0, 15.0  # at least and at most: what is not read by then is lost if its node goes
_RETRY_SECONDS = 2.0
_RETRY_LIMIT_SECONDS = 30.0


class FinishedLog(NamedTuple):
    """The log of a try that is about to be stored."""

    observed: ObservedLog
    lines: Iterable[str]  # MLPerf lines
    writer: str = ""  # of its checkpoint

    @property
    def findings(self) -> list[str]:
        """What is odd about it, for attempt.json."""
        log, found = self.observed, []
        if log.lost:
            found.append(f"the end of rank 0's log is lost: {log.lost}")
        if not log.ended:
            found.append(f"rank 0's log was stored before its end: {log.unreadable or 'it had not ended'}")
        if log.overflow:
            found.append(f"rank 0 printed more than {MAX_MLPERF_BYTES >> 20} MiB of MLPerf lines; the rest was dropped")
        return found


class Checkpoints(Protocol):
    """Saves logs while they grow; its methods raise StoreError."""

    async def put_checkpoint(self, run: Run, segment: Segment, containers: Sequence[Container]) -> None: ...

    async def get_checkpoint(self, run: Run, id_: TryId) -> Checkpoint: ...

    async def drop_checkpoint(self, run: Run, id_: TryId) -> None: ...


class LogCollector:
    """The logs of all runs. `wake` schedules the reconciliation of a run, by uid and delay in seconds."""

    def __init__(
        self, api: Api, checkpoints: Checkpoints, wake: Callable[[str, float], None], *, streams: int = MAX_STREAMS
    ) -> None:
        """`streams` logs at most are followed at once; the others are read again and again."""
        self._api = api
        self._streams = asyncio.Semaphore(streams)
        self._checkpoints = checkpoints
        self._wake = wake
        self.writer = f"{secrets.randbits(32):08x}"  # of this process's checkpoints
        self._pod_logs = PodLogReader(api)
        self._kept_bytes = 0  # of pod logs
        self._reading: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()

    def follow(self, state: RunState) -> None:
        """Open the logs of all tries that are running or not yet stored."""
        for log in state.logs.open.values():
            log.stream.wake()  # its pod may have changed
        listed = {a.id: a for a in state.run.status.attempts}
        stored = state.uploads.stored
        open_tries = [id_ for id_, a in listed.items() if not (a.state.finished and (a.stored or id_ in stored))]
        unlisted = unlisted_tries(state.run, state.observation.jobs, state.goal.attempts) if state.goal else ()
        for id_ in [*open_tries, *unlisted]:
            rank0 = state.observation.rank0(id_)
            # what earlier processes read of a try is in its checkpoint, even if its pods are gone
            restores = id_ in state.logs.inherited and id_ in listed and listed[id_].state is not AttemptState.PENDING
            printed = state.observation.silent(id_) or (rank0 and rank0.started)
            if id_ not in state.logs.open and id_ not in state.logs.read and (restores or printed):
                state.logs.open[id_] = self._open(state, id_)

    def _open(self, state: RunState, id_: TryId) -> OpenLog:
        buffer = LogBuffer()
        inherited = id_ in state.logs.inherited

        rank0 = Rank0Pod(self._api, state, id_, inherited=inherited)
        begun = rank0.container.started if rank0.container else None
        stream = LogStream(
            self._api,
            buffer,
            namespace=state.run.namespace,
            container=CONTAINER,
            pod=rank0.name,
            started=rank0.started,
            exited=rank0.exited,
            over=rank0.over,
            changed=lambda urgent: self._wake(state.run.uid, 0.0 if urgent else self._progress_seconds()),
            restore=(lambda: self._restored(state, id_)) if inherited else None,
            known_until=0.0 if inherited else begun or 0.0,
            nothing_before=None if inherited else state.asked_for(id_),
            silence=self._silence,
            pace=self._pace,
            streams=self._streams,
            poll=self._poll,
            keep=lambda: self._pod_logs.place(state.observation.pods_of(id_)),
        )
        task = asyncio.create_task(self._read(state, id_, stream, rank0))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        return OpenLog(buffer, stream, task, restored=not inherited, saved_at=time.monotonic())

    async def _read(self, state: RunState, id_: TryId, stream: LogStream, rank0: Rank0Pod) -> None:
        """Read a log to its end. An error makes it unreadable for a while, and nothing else."""
        failures = 0
        while True:
            try:
                await rank0.look()
                await stream.run()
            except Exception as error:  # noqa: BLE001 - one bad log must not stop for good
                failures += 1
                known = isinstance(error, ApiError | aiohttp.ClientError | TimeoutError)
                _LOG.log(
                    logging.DEBUG if known else logging.ERROR,
                    "log of %s/%s %s", state.run.namespace, state.run.name, id_, exc_info=error,
                )  # fmt: skip
                stream.unreadable = str(error) if known else f"{type(error).__name__}: {error}"
                self._wake(state.run.uid, 0.0)
                await asyncio.sleep(backoff(failures, first=_RETRY_SECONDS, limit=_RETRY_LIMIT_SECONDS))
            else:
                return

    def _progress_seconds(self) -> float:
        """The seconds after which progress is looked at: no sooner than it can be reported, or a checkpoint is due."""
        return min(_CHECKPOINT_SECONDS, max(_PROGRESS_SECONDS, len(self._reading) / _PROGRESS_PER_SECOND))

    def _pace(self) -> float:
        """The seconds after which a log is looked at again: it matters only if there are many."""
        return min(_PACE_LIMIT_SECONDS, len(self._reading) / _LOOKS_PER_SECOND)

    def _poll(self) -> float:
        """The seconds after which a log that is not followed is read again."""
        least, most = _POLL_SECONDS
        return min(most, max(least, len(self._reading) / _POLLS_PER_SECOND))

    def _silence(self) -> float:
        """The seconds after which a silent log is read again: a minute, or longer if there are many logs."""
        return max(_SILENCE_SECONDS, len(self._reading) / _READS_PER_SECOND)

    async def _restored(self, state: RunState, id_: TryId) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the checkpoint of earlier processes. While the store does not answer, the log is unreadable."""
        failures = 0
        while True:
            log = state.logs.open[id_]
            try:
                kept = await self._checkpoints.get_checkpoint(state.run, id_)
                break
            except StoreError as error:
                failures += 1
                log.stream.unreadable = f"its checkpoint cannot be read: {error}"
                _LOG.warning("checkpoint of %s/%s %s: %s", state.run.namespace, state.run.name, id_, error)
                self._wake(state.run.uid, 0.0)
                await asyncio.sleep(backoff(failures, first=_RETRY_SECONDS))
        if kept.rank0:
            state.observation.began(id_, kept.rank0)
        while kept.segments:
            yield kept.segments.pop(0)
        log.saved_bytes = log.segment_start = log.buffer.size_bytes
        for line in log.buffer.mlperf_lines():
            log.saved_lines.add(f"{line}\n".encode(errors="replace"))
        log.restored = True

    def read_now(self, state: RunState, id_: TryId) -> None:
        """Read a log to the present, because a deadline is about to be judged; the run is woken when that is done."""
        if log := state.logs.open.get(id_):
            log.stream.read_now()

    # ---- checkpoints ----

    def checkpoint(self, state: RunState) -> float | None:
        """Save the logs that have grown, in the background.

        Returns the seconds until more of them is due, although nothing else may be printed until then; None if nothing
        is.
        """
        waits = []
        for id_, log in state.logs.open.items():
            if log.urgent_bytes != log.buffer.urgent_bytes:
                log.urgent_bytes, log.urgent_at = log.buffer.urgent_bytes, time.monotonic()
            if log.saving is None and not log.sealed and (wait := _due_in(log)) is not None:
                if wait > 0:
                    waits.append(wait)
                else:
                    log.saving = asyncio.create_task(self._save_in_background(state, id_, log))
        return min(waits, default=None)

    async def _save_in_background(self, state: RunState, id_: TryId, log: OpenLog) -> None:
        try:
            await self._save(state, id_, log)
        except StoreError as error:
            _LOG.warning("checkpoint of %s/%s %s: %s", state.run.namespace, state.run.name, id_, error)
        finally:
            log.saving = None

    async def _save(self, state: RunState, id_: TryId, log: OpenLog) -> None:
        """Store what is there now. Raises StoreError."""
        log.saved_at, log.saved_read = time.monotonic(), log.stream.bytes_read
        end = log.buffer.size_bytes
        while log.saved_bytes < end or log.saved_order != log.buffer.arranged:
            if log.saved_order != log.buffer.arranged:
                log.saved_order, log.saved_lines = log.buffer.arranged, LogDigest()
                log.saved_bytes = log.segment_start = 0
            rows = log.buffer.rows(log.segment_start, MAX_SEGMENT_BYTES)
            rows = rows[: rows.rfind(b"\n") + 1]
            state.logs.saved.add(id_)
            lines = log.saved_lines.with_rows(rows[log.saved_bytes - log.segment_start :])
            segment = Segment(id_, log.writer(self.writer), log.segment_start, rows, lines.size, lines.sha256)
            await self._checkpoints.put_checkpoint(state.run, segment, state.observation.pods_of(id_))
            log.saved_lines = lines
            log.saved_bytes = log.segment_start + len(rows)
            if len(rows) >= FULL_SEGMENT_BYTES:
                log.segment_start = log.saved_bytes

    async def _flush(self, state: RunState, id_: TryId, log: OpenLog) -> None:
        """Store all of a log in its checkpoint. Raises StoreError."""
        if log.saving:
            await asyncio.wait({log.saving})
        if log.restored:
            await self._save(state, id_, log)

    async def save_all(self, states: Iterable[RunState]) -> None:
        """Save all logs that have grown: this process is about to end."""
        logs = [(state, id_, log) for state in states for id_, log in state.logs.open.items() if not log.sealed]
        results = await asyncio.gather(*(self._flush(*each) for each in logs), return_exceptions=True)
        if failed := [result for result in results if isinstance(result, Exception)]:
            _LOG.warning("%d of %d checkpoints were not saved: %s", len(failed), len(logs), failed[0])

    def drop_checkpoint(self, state: RunState, id_: TryId) -> None:
        """Remove the checkpoint of a stored try, in the background."""
        if id_ in state.logs.checkpoints and id_ not in state.logs.dropping:
            state.logs.dropping.add(id_)
            task = asyncio.create_task(self._drop(state, id_))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _drop(self, state: RunState, id_: TryId) -> None:
        try:
            await self._checkpoints.drop_checkpoint(state.run, id_)
            state.logs.dropped.add(id_)
        except StoreError as error:
            _LOG.warning("checkpoint of %s/%s %s: %s", state.run.namespace, state.run.name, id_, error)
            if state.run.status.terminal or state.run.deleted:  # nothing else would come back to it
                self._wake(state.run.uid, _DROP_RETRY_SECONDS)
        else:
            if state.run.deleted:  # it can be forgotten
                self._wake(state.run.uid, 0.0)
        finally:
            state.logs.dropping.discard(id_)

    # ---- the end of a try ----

    async def pod_logs(self, state: RunState, id_: TryId) -> PodLogs:
        """Return every pod's log, for files. They are kept until `release`."""
        if id_ not in state.logs.pod_logs:
            containers = state.observation.pods_of(id_)
            rank0 = self._take_copy(state, id_)
            logs = await self._pod_logs.read(state.run.namespace, containers, rank0)
            state.logs.pod_logs[id_] = logs
            self._kept_bytes += sum(log.kept for log in logs.values())
        return state.logs.pod_logs[id_]

    @staticmethod
    def _take_copy(state: RunState, id_: TryId) -> BoundedSpool | None:
        """Return the copy of rank 0's whole log, if there is one."""
        if (log := state.logs.open.get(id_)) is None:
            return None
        copy, log.stream.copy = log.stream.copy, None
        return copy if isinstance(copy, BoundedSpool) else None

    def not_stored(self, state: RunState, id_: TryId) -> None:
        """Go on with checkpoints; and if too many pod logs wait for a store that is away, read these again later."""
        if log := state.logs.open.get(id_):
            log.sealed = False
        if self._kept_bytes > _KEPT_POD_LOG_BYTES:
            self._drop_pod_logs(state, id_)

    def _drop_pod_logs(self, state: RunState, id_: TryId) -> None:
        for log in state.logs.pod_logs.pop(id_, {}).values():
            self._kept_bytes -= log.kept
            log.close()

    async def finished(self, state: RunState, id_: TryId) -> FinishedLog:
        """Return what rank 0 printed, after waiting a little for the last lines of one that ends. Raises StoreError."""
        log = state.logs.open.get(id_)
        if log is None and id_ in state.logs.inherited and id_ not in state.logs.read:
            log = state.logs.open[id_] = self._open(state, id_)  # it ended before a pod of it was seen
        if log is None:  # a pod that starts from now on prints nothing that counts
            return FinishedLog(state.logs.read.setdefault(id_, ObservedLog()), ())
        if not log.buffer.ended and _is_ending(state.observation, id_):
            await asyncio.wait({log.task}, timeout=_LAST_LINES_SECONDS)
        elif not log.buffer.ended and (rank0 := state.observation.rank0(id_)) and rank0.started is not None:
            await _read_to_present(log.stream)
        if not log.restored:
            raise StoreUnavailable(log.stream.unreadable or "the log's checkpoint has not been read yet")
        if log.stream.unreadable and not log.buffer.ended and _lacks_evidence(state, id_, log.buffer.summary):
            raise StoreUnavailable(f"the log cannot be read again yet: {log.stream.unreadable}")
        log.sealed = True  # no checkpoint may have more lines than the files of its try
        if log.saving:
            await asyncio.wait({log.saving})
        return FinishedLog(log.observed(), log.buffer.mlperf_lines(), log.writer(self.writer))

    def release(self, state: RunState, id_: TryId, log: ObservedLog) -> None:
        """Drop the logs of a stored try; `log` is what is kept of rank 0's."""
        state.logs.read[id_] = log
        self._drop_pod_logs(state, id_)
        if opened := state.logs.open.pop(id_, None):
            _close(opened)

    def close(self, state: RunState) -> None:
        """Drop all logs of a run."""
        for log in state.logs.open.values():
            _close(log)
        state.logs.open.clear()
        for id_ in list(state.logs.pod_logs):
            self._drop_pod_logs(state, id_)


async def _read_to_present(stream: LogStream) -> None:
    """Read the log of a program that runs on, if its node answers soon: what a clock's step hid from the stream."""
    stream.read_now()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stream.present.wait(), _LAST_LINES_SECONDS)


def _is_ending(observation: Observation, id_: TryId) -> bool:
    """Return whether the last lines of rank 0 are to be expected soon; False while nobody has ended it."""
    job, rank0 = observation.jobs.get(id_), observation.rank0(id_)
    if job is None or rank0 is None or job.finished or job.failing or job.suspended or job.deleting:
        return True
    return bool(rank0.stopped) or rank0.deleted is not None or rank0.finished is not None


def _lacks_evidence(state: RunState, id_: TryId, summary: LogSummary) -> bool:
    """Return whether an earlier process judged the try by lines that this one has not read: they are not to be lost."""
    attempt = next((a for a in state.run.status.attempts if a.id == id_), None)
    if attempt is None or (attempt.start_time is not None and summary.run_start is None):
        return attempt is not None
    stopped = summary.run_stop is not None or bool(state.goal and state.goal.rate(summary))
    return not stopped and (attempt.time_to_train_seconds or attempt.samples_per_second) is not None


def _due_in(log: OpenLog) -> float | None:
    """Return in how many seconds to save a log: a minute after the last time, sooner when its state has changed, and
    before the node rotates it away. None if there is nothing new."""
    if not log.restored or log.buffer.size_bytes <= log.saved_bytes:
        return None
    rotates = log.stream.bytes_read - log.saved_read >= _CHECKPOINT_BYTES
    due_at = log.saved_at + (_CHECKPOINT_PAUSE_SECONDS if rotates else _CHECKPOINT_SECONDS)
    if log.buffer.urgent_bytes > log.saved_bytes:
        ends = log.buffer.summary.run_stop is not None  # most often, its files have all of it within that time
        due_at = min(due_at, (log.urgent_at if ends else log.saved_at) + _URGENT_CHECKPOINT_SECONDS)
    return max(0.0, due_at - time.monotonic())


def _close(log: OpenLog) -> None:
    log.task.cancel()
    if log.saving:
        log.saving.cancel()
    if log.stream.copy:
        log.stream.copy.close()
    log.buffer.close()
