"""Drives a run on this machine with the same `decide` as in a cluster."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podium.api import AttemptStatus, BenchmarkRunSpec, BenchmarkRunStatus, Result, TryId
from podium.launch import launch_for, new_seed
from podium.local.machine import this_machine
from podium.local.processes import LaunchError, LocalJob
from podium.mllog import BoundedSpool, LogBuffer
from podium.reconcile import (
    Action,
    CreateJob,
    DeleteJob,
    Observed,
    ObservedLog,
    Refusal,
    Run,
    StoreAttempt,
    StoreResult,
    decide,
)
from podium.results import AttemptFiles, ResultWriter, Signer
from podium.rounds import Round
from podium.rules import goal_for
from podium.stores import Store, StoreError, StoreUnavailable

_TICK_SECONDS = 0.2
_STORE_RETRY_SECONDS = 5.0
_POD_LOG_BYTES = 16 << 20
NAMESPACE = "local"


@dataclass(slots=True)
class _Try:
    job: LocalJob
    buffer: LogBuffer


class LocalRun:
    """One BenchmarkRun on this machine. Results go directly into `store`, not into a folder under it."""

    def __init__(
        self,
        name: str,
        spec: BenchmarkRunSpec,
        store: Store,
        rounds: Mapping[str, Round],
        data_dir: str = "",
        *,
        signer: Signer | None = None,
    ) -> None:
        self.run = Run(NAMESPACE, name, str(uuid.uuid4()), 1, spec, BenchmarkRunStatus())
        self._rounds = rounds
        self._data_dir = data_dir
        self._writer = ResultWriter(store, self.run, signer=signer)
        self._tries: dict[TryId, _Try] = {}
        self._noted: set[TryId] = set()  # the tries that the ledger has
        self._stored: set[TryId] = set()
        self._result: Result | None = None
        self._refusal: Refusal | None = None
        self._store_error = ""
        self._store_retry_at = 0.0
        self._folder = tempfile.TemporaryDirectory(prefix="podium-")

    def observed(self) -> Observed:
        return Observed(
            jobs={id_: one.job.observed() for id_, one in self._tries.items()},
            logs={id_: self._log(one) for id_, one in self._tries.items()},
            stored=frozenset(self._stored),
            result=self._result,
            store_error=self._store_error,
            launch_refusal=self._refusal,
            recorded={attempt.id: attempt for attempt in self.run.status.attempts},
        )

    async def execute(self, show: Callable[[Run], None]) -> Run:
        """Run to the end and return the run; `show` is called after every step.

        On cancellation (whose message names what stopped the run), the processes are stopped and the measurements so
        far are stored as an aborted result.
        Raises StoreError if even that cannot be written; its message names the folder that keeps the logs.
        """
        try:
            while not self.run.status.terminal:
                if not await self._step():
                    await asyncio.sleep(_TICK_SECONDS)
                show(self.run)
        except asyncio.CancelledError as stopped:
            await self._abort(str(stopped))
            raise
        finally:
            await self._close()
        return self.run

    async def _abort(self, stopped_by: str) -> None:
        self.run = replace(self.run, deleted=True, stopped_by=stopped_by)
        await self._stop_all()
        self._store_retry_at = 0.0
        while await self._step():
            pass
        if self._store_error:
            kept = Path(tempfile.mkdtemp(prefix=f"podium-{self.run.name}-"))
            shutil.copytree(self._folder.name, kept, dirs_exist_ok=True)
            raise StoreUnavailable(f"{self._store_error}\nthe logs were saved in {kept}")

    async def _close(self) -> None:
        await self._stop_all()
        for one in self._tries.values():
            one.buffer.close()
        self._folder.cleanup()

    async def _stop_all(self) -> None:
        await asyncio.gather(*(one.job.stop() for one in self._tries.values()))

    async def _step(self) -> bool:
        """Execute one decision. Returns whether there may be more to do at once."""
        decision = decide(self.run, self.observed(), self._rounds, time.time())
        for action in decision.actions:
            await self._execute(action)
        self.run = replace(self.run, status=decision.status)
        for attempt in decision.status.attempts:
            if attempt.id in self._tries and attempt.id not in self._noted | self._stored:
                await self._store(self._store_start, attempt)
        return bool(decision.actions) and not decision.status.terminal and not self._store_error

    async def _execute(self, action: Action) -> None:
        match action:
            case CreateJob(id_):
                await self._launch(id_)
            case DeleteJob(id_):
                await self._tries[id_].job.stop()
            case StoreAttempt():
                await self._store(self._store_attempt, action)
            case StoreResult():
                await self._store(self._store_result, action)
            case _:
                pass  # there are no Events here, and no time to live

    async def _launch(self, id_: TryId) -> None:
        launch = launch_for(self.run, id_, new_seed(), self._rounds)
        buffer = LogBuffer()

        def add(line: str, timestamp: str) -> None:
            for piece in buffer.pieces(line):
                buffer.add(piece, timestamp)

        job = LocalJob(launch, Path(self._folder.name), self._data_dir, add)
        try:
            await job.start()
        except (LaunchError, OSError) as error:
            self._refusal = Refusal(str(error), time.time(), final=True)
            return
        self._tries[id_] = _Try(job, buffer)

    @staticmethod
    def _log(one: _Try) -> ObservedLog:
        rank0 = one.job.observed().container(0)
        if rank0 and rank0.finished is not None:
            one.buffer.end()
        return ObservedLog.of(one.buffer, known_until=time.time())

    async def _store(self, work: Callable[[Any], None], what: AttemptStatus | StoreAttempt | StoreResult) -> None:
        """Write to the store. A failure is reported, and retried after a while until the user gives up."""
        if time.monotonic() < self._store_retry_at:
            return
        try:
            await asyncio.to_thread(work, what)
            self._store_error = ""
        except StoreError as error:
            self._store_error = str(error)
            self._store_retry_at = time.monotonic() + _STORE_RETRY_SECONDS

    def _store_start(self, attempt: AttemptStatus) -> None:
        """Put into the ledger that a try has started, before this process can be killed with it."""
        self._writer.put_started(attempt, self._tries[attempt.id].job.observed().containers)
        self._noted.add(attempt.id)

    def _store_attempt(self, action: StoreAttempt) -> None:
        one = self._tries[action.attempt.id]
        logs = {f"pod-{i}.log": _bounded(path) for i, path in enumerate(one.job.log_files())}
        files = AttemptFiles(
            summary=one.buffer.summary,
            lines=one.buffer.mlperf_lines(),
            containers=one.job.observed().containers,
            pod_logs=logs,
            sightings=one.buffer.sightings,
        )
        try:
            self._writer.put_attempt(action, files)
        finally:
            for log in logs.values():
                log.close()
        self._stored.add(action.attempt.id)

    def _store_result(self, action: StoreResult) -> None:
        targets = goal_for(self.run.spec, self._rounds).targets
        self._result = self._writer.put_result(action, target=targets, nodes=[this_machine()]).result


def _bounded(path: Path) -> BoundedSpool:
    log = BoundedSpool(_POD_LOG_BYTES)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            log.append(piece)
    return log
