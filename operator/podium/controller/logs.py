"""Keeps one log stream open for every try that prints, and checkpoints what came in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from podium.api import TryId
from podium.controller.state import OpenLog, RunState
from podium.controller.uploads import Recorder
from podium.kube.client import Api, ApiError
from podium.kube.log_stream import LogStream
from podium.launch import CONTAINER, STAGE_CONTAINER
from podium.mllog import LogBuffer
from podium.stores import StoreError

_LOG = logging.getLogger(__name__)
_CHECKPOINT_SECONDS = 60.0
_BYTES_PER_SECOND = 32 * 1024  # a long log is checkpointed less often: each time it is written whole
_PROGRESS_SECONDS = 10.0
_POD_LOG_LINES = 2000
_POD_LOG_BYTES = 1 << 20
_AT_ONCE = 8


class LogCollector:
    """The logs of all runs. `wake` brings a run's worker, at once or after so many seconds."""

    def __init__(self, api: Api, recorder: Recorder, wake: Callable[[str, float], None]) -> None:
        self._api = api
        self._recorder = recorder
        self._wake = wake
        self._background: set[asyncio.Task[None]] = set()

    def follow(self, state: RunState) -> None:
        """Open what is to be read: tries that run, and those whose log has not been stored yet."""
        listed = {a.id: a for a in state.run.status.attempts}
        open_tries = [id_ for id_, a in listed.items() if not (a.state.finished and (a.stored or id_ in state.stored))]
        for id_ in [*open_tries, *(id_ for id_ in state.jobs if id_ not in listed)]:
            rank0 = state.rank0_pod(id_)
            if id_ not in state.logs and (state.silent(id_) or (rank0 and rank0.started)):
                state.logs[id_] = self._open(state, id_)

    def _open(self, state: RunState, id_: TryId) -> OpenLog:
        book = LogBuffer()

        def pod() -> str | None:
            rank0 = state.rank0_pod(id_)
            return rank0.name if rank0 and rank0.stopped != "Deleted" else None

        async def restore() -> bytes:
            if id_ not in state.inherited:
                return b""
            try:
                return await self._recorder.get_checkpoint(state.run, id_)
            except StoreError as error:
                _LOG.warning("no checkpoint of %s: %s", id_, error)
                return b""

        follower = LogStream(
            self._api,
            book,
            namespace=state.run.namespace,
            pod=pod,
            over=lambda: state.silent(id_),
            restore=restore,
            changed=lambda urgent: self._wake(state.run.uid, 0.0 if urgent else _PROGRESS_SECONDS),
        )
        return OpenLog(book, follower, asyncio.create_task(follower.run()), saved_at=time.monotonic())

    def checkpoint(self, state: RunState) -> None:
        """Save the logs that have grown, in the background: losing a checkpoint is no harm while the pod lives."""
        for id_, following in state.logs.items():
            grown = following.book.size_bytes - following.saved_bytes
            interval = _CHECKPOINT_SECONDS + following.book.size_bytes / _BYTES_PER_SECOND
            if grown and not following.book.ended and time.monotonic() - following.saved_at >= interval:
                following.saved_bytes, following.saved_at = following.book.size_bytes, time.monotonic()
                task = asyncio.create_task(self._save(state, id_, following.book.checkpoint()))
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    async def _save(self, state: RunState, id_: TryId, text: bytes) -> None:
        try:
            await self._recorder.put_checkpoint(state.run, id_, text)
        except StoreError as error:
            _LOG.warning("checkpoint of %s/%s %s: %s", state.run.namespace, state.run.name, id_, error)

    async def collect(self, state: RunState, id_: TryId) -> dict[str, bytes]:
        """The end of every pod's whole log, by file name. A pod that is gone has none."""
        if id_ in state.pod_logs:
            return state.pod_logs[id_]
        gate = asyncio.Semaphore(_AT_ONCE)
        query = {"tailLines": str(_POD_LOG_LINES), "limitBytes": str(_POD_LOG_BYTES)}

        async def one(pod: str, container: str) -> bytes | None:
            try:
                async with gate, self._api.log(state.run.namespace, pod, container, **query) as chunks:
                    return b"".join([chunk async for chunk in chunks])
            except (ApiError, OSError, TimeoutError) as error:
                _LOG.debug("log of %s/%s: %s", state.run.namespace, pod, error)
                return None

        pods = [c for c in state.containers.get(id_, {}).values() if c.stopped != "Deleted"]
        wanted = {f"pod-{c.node_index}.log": (c.name, CONTAINER) for c in pods if c.started is not None}
        copied = [c for c in pods if c.staging and c.staging.started is not None]
        wanted |= {f"pod-{c.node_index}.stage.log": (c.name, STAGE_CONTAINER) for c in copied}
        texts = await asyncio.gather(*(one(*place) for place in wanted.values()))
        return {name: text for name, text in zip(wanted, texts, strict=True) if text is not None}
