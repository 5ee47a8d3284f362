"""The result store for asynchronous callers: every call runs in a bounded pool of threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from podium.api import Result, TryId
from podium.reconcile import Run, StoreAttempt, StoreResult
from podium.results import AttemptFiles, ResultWriter, result_folder
from podium.stores import Store

_T = TypeVar("_T")


class UploadTelemetry(Protocol):
    """Told of every upload."""

    def uploaded(self, outcome: str, seconds: float) -> None: ...


class Recorder:
    """Writes results below the administrator's URL."""

    def __init__(self, store: Store, telemetry: UploadTelemetry, threads: int = 4) -> None:
        self._store = store
        self._telemetry = telemetry
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store")

    async def put_attempt(self, run: Run, action: StoreAttempt, files: AttemptFiles) -> None:
        writer = self._writer(run)
        await self._timed(lambda: writer.put_attempt(action.attempt, files, concluding=action.concluding))

    async def put_result(
        self, run: Run, action: StoreResult, target: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]
    ) -> Result:
        writer = self._writer(run)
        return await self._timed(
            lambda: writer.put_result(
                score=action.score,
                attempts=action.attempts,
                target=target,
                nodes=nodes,
                outcome=action.outcome,
                message=action.message,
            )
        )

    async def put_checkpoint(self, run: Run, id_: TryId, text: bytes) -> None:
        writer = self._writer(run)
        await self._call(lambda: writer.put_checkpoint(id_, text))

    async def get_checkpoint(self, run: Run, id_: TryId) -> bytes:
        writer = self._writer(run)
        return await self._call(lambda: writer.get_checkpoint(id_))

    def _writer(self, run: Run) -> ResultWriter:
        return ResultWriter(self._store.child(result_folder(run)), run)

    async def _timed(self, work: Callable[[], _T]) -> _T:
        started = time.perf_counter()
        try:
            result = await self._call(work)
        except Exception:
            self._telemetry.uploaded("error", time.perf_counter() - started)
            raise
        self._telemetry.uploaded("success", time.perf_counter() - started)
        return result

    async def _call(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
