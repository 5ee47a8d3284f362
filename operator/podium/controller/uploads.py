"""Writes results to the store in the background, in a bounded thread pool, with retries until it succeeds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from podium.api import TryId
from podium.api.sweep import SweepResult
from podium.controller.logs import LogCollector
from podium.controller.state import RunState
from podium.kube import NODES, Api, ApiError, backoff
from podium.launch import Inputs
from podium.reconcile import Container, Run, StoreAttempt, StoreResult
from podium.reconcile.sweep import Sweep, SweepEnd, SweepRun
from podium.results import (
    AttemptFiles,
    Chain,
    Checkpoint,
    ResultWriter,
    RunLedger,
    Sealed,
    Segment,
    Signer,
    chain,
    chain_folder,
    put_sweep,
    result_folder,
    sweep_folder,
)
from podium.results.ledger import Entry
from podium.rules import goal_for
from podium.stores import Store, StoreError, StoreRefused, StoreUnavailable

_LOG = logging.getLogger(__name__)
# A slow store holds up the status of a run no longer than this, and that of so many runs at once: whoever waits for it
# holds one of the controller's workers, which other runs may need to start.
_WAIT_SECONDS, _MOST_WAITING = 10.0, 32
_RETRY_SECONDS = 2.0
_STALLED_SECONDS = 600.0  # S3 gives up by itself before; a network file system does not
_NODE_LABELS = ("node.kubernetes.io/", "topology.kubernetes.io/", "nvidia.com/", "amd.com/", "kubernetes.io/arch",
                "feature.node.kubernetes.io/rdma.")  # fmt: skip

_T = TypeVar("_T")


class UploadTelemetry(Protocol):
    """Receives the outcome of every upload."""

    def uploaded(self, outcome: str, seconds: float) -> None: ...


class _Chain:
    """Adds runs to the chain of a namespace. All that wait are added at once, so that a thousand runs that end together
    put a few objects, and do not compete for the next place."""

    def __init__(self, chain: Chain, call: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self.chain = chain
        self._call = call
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, entry: Entry) -> None:
        """Return when the chain has the entry. Raises StoreError; a store that refuses it only costs the entry."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._task is None:
            self._task = asyncio.create_task(self._add_all())
        try:
            await future
        except StoreRefused as error:
            _LOG.warning("the chain over all runs lacks %s: %s", entry["result"], error)

    async def _add_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await self._call(partial(self.chain.append, [entry for entry, _ in batch]))
            except Exception as failure:  # noqa: BLE001 - those that wait get it
                error = failure
            for _, future in batch:
                if not future.done():
                    future.set_exception(error) if error else future.set_result(None)
        self._task = None


class Recorder:
    """Writes results under the administrator's URL, for asynchronous callers."""

    def __init__(
        self, store: Store, telemetry: UploadTelemetry, threads: int = 4, *, signer: Signer | None = None
    ) -> None:
        self._store = store
        self._signer = signer
        self._telemetry = telemetry
        self._ledgers: dict[str, RunLedger] = {}  # of runs that have not ended, by uid
        self._chains: dict[str, _Chain] = {}  # by namespace
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store")
        # apart, so that results do not wait for the checkpoints of other runs
        self._checkpoint_threads = ThreadPoolExecutor(threads, thread_name_prefix="checkpoints")

    async def put_attempt(self, run: Run, action: StoreAttempt, files: AttemptFiles) -> None:
        writer = self._writer(run)
        await self._timed(lambda: writer.put_attempt(action, files), self._threads)

    async def put_result(
        self, run: Run, action: StoreResult, target: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]
    ) -> Sealed:
        writer = self._writer(run)
        sealed = await self._timed(lambda: writer.put_result(action, target=target, nodes=nodes), self._threads)
        await self._chain(run).add(chain.ended(run, sealed.action, result_folder(run), sealed.result.sha256))
        self._ledgers.pop(run.uid, None)
        return sealed

    async def put_sweep(self, sweep: Sweep, end: SweepEnd, runs: Sequence[SweepRun]) -> tuple[SweepEnd, SweepResult]:
        store = self._store.child(sweep_folder(sweep))
        return await self._timed(lambda: put_sweep(store, sweep, end, runs), self._threads)

    async def put_checkpoint(self, run: Run, segment: Segment, containers: Sequence[Container]) -> None:
        writer = self._writer(run)
        await self._timed(lambda: writer.put_checkpoint(segment, containers), self._checkpoint_threads)

    async def get_checkpoint(self, run: Run, id_: TryId) -> Checkpoint:
        writer = self._writer(run)
        return await self._call(lambda: writer.checkpoint(id_), self._checkpoint_threads)

    async def drop_checkpoint(self, run: Run, id_: TryId) -> None:
        writer = ResultWriter(self._store.child(result_folder(run)), run)  # the run may have ended: no ledger is kept
        await self._call(lambda: writer.drop_checkpoint(id_), self._checkpoint_threads)

    def _writer(self, run: Run) -> ResultWriter:
        store = self._store.child(result_folder(run))
        kept = self._ledgers.setdefault(run.uid, RunLedger(store, run.uid))
        chain = self._chain(run).chain
        return ResultWriter(store, run, kept, signer=self._signer, chain=chain)

    def _chain(self, run: Run) -> _Chain:
        """Return the chain of the run's namespace."""
        if run.namespace not in self._chains:
            store = self._store.child(chain_folder(run.namespace))
            self._chains[run.namespace] = _Chain(Chain(store), lambda work: self._call(work, self._threads))
        return self._chains[run.namespace]

    async def _timed(self, work: Callable[[], _T], threads: Executor) -> _T:
        started = time.perf_counter()
        try:
            result = await self._call(work, threads)
        except Exception:
            self._telemetry.uploaded("error", time.perf_counter() - started)
            raise
        self._telemetry.uploaded("success", time.perf_counter() - started)
        return result

    async def _call(self, work: Callable[[], _T], threads: Executor) -> _T:
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, work), _STALLED_SECONDS)
        except TimeoutError as error:
            text = f"{self._store.url} has not answered for {_STALLED_SECONDS:.0f} s; it is tried again"
            raise StoreUnavailable(text) from error


class Uploader:
    """Stores tries and results. `wake` schedules the reconciliation of a run, by uid and delay in seconds."""

    def __init__(
        self,
        api: Api,
        recorder: Recorder,
        logs: LogCollector,
        *,
        inputs: Inputs,
        wake: Callable[[str, float], None],
    ) -> None:
        self._api = api
        self._recorder = recorder
        self._logs = logs
        self._inputs = inputs
        self._wake = wake
        self._nodes: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._waiting = 0  # for uploads

    async def store(self, state: RunState, action: StoreAttempt | StoreResult) -> bool:
        """Start or check an upload. Returns True if it has just ended, so that there is something new to decide on."""
        if isinstance(action, StoreAttempt):
            return await self._store(state, str(action.attempt.id), partial(self._attempt, state, action))
        return await self._store(state, "result", partial(self._result, state, action))

    async def _store(self, state: RunState, key: str, work: Callable[[], Awaitable[None]]) -> bool:
        uploads = state.uploads
        task = uploads.storing.get(key)
        started = task is None
        if task is None:
            if (pause := uploads.retry_at - time.monotonic()) > 0:
                self._wake(state.run.uid, pause)
                return False
            task = uploads.storing[key] = asyncio.ensure_future(work())
        if not await self._ended(task):
            if started:
                task.add_done_callback(lambda _: self._wake(state.run.uid, 0.0))
            return False
        del uploads.storing[key]
        try:
            task.result()
        except (StoreError, OSError) as error:  # OSError: there is no room to prepare the files
            uploads.error = str(error)
            uploads.failures += 1
            uploads.retry_at = time.monotonic() + backoff(uploads.failures, first=_RETRY_SECONDS)
            _LOG.warning("cannot store %s of %s/%s: %s", key, state.run.namespace, state.run.name, error)
        else:
            uploads.error, uploads.failures = "", 0
        return True

    async def _ended(self, task: asyncio.Task[None]) -> bool:
        """Return whether an upload has ended, after a short wait unless too many wait already."""
        if self._waiting >= _MOST_WAITING:
            return task.done()
        self._waiting += 1
        try:
            done, _ = await asyncio.wait({task}, timeout=_WAIT_SECONDS)
        finally:
            self._waiting -= 1
        return bool(done)

    async def _attempt(self, state: RunState, action: StoreAttempt) -> None:
        id_ = action.attempt.id
        log = await self._logs.finished(state, id_)
        files = AttemptFiles(
            summary=log.observed.summary,
            lines=log.lines,
            containers=state.observation.pods_of(id_),
            pod_logs=await self._logs.pod_logs(state, id_),
            findings=log.findings,
            sightings=log.observed.sightings,
            writer=log.writer,
        )
        try:
            await self._recorder.put_attempt(state.run, action, files)
        except (StoreError, OSError):
            self._logs.not_stored(state, id_)
            raise
        state.uploads.stored.add(id_)
        self._logs.release(state, id_, log.observed)

    async def _result(self, state: RunState, action: StoreResult) -> None:
        targets = goal_for(state.run.spec, self._inputs.rounds(state.run)).targets
        nodes = [await self._node(name) for name in sorted(state.observation.nodes)]
        state.uploads.sealed = await self._recorder.put_result(state.run, action, targets, nodes)

    async def _node(self, name: str) -> Mapping[str, Any]:
        """Return what system.json says about one of the cluster's nodes. Runs that end together ask once."""
        if (task := self._nodes.get(name)) is None:
            task = self._nodes[name] = asyncio.create_task(self._described(name))
        try:
            return await asyncio.shield(task)
        except ApiError as error:
            self._nodes.pop(name, None)
            return {"name": name, "unknown": str(error)}
        except BaseException:
            self._nodes.pop(name, None)
            raise

    async def _described(self, name: str) -> dict[str, Any]:
        node = await self._api.get(NODES, None, name)
        labels = node["metadata"].get("labels", {})
        return {
            "name": name,
            "capacity": node["status"].get("capacity", {}),
            "info": node["status"].get("nodeInfo", {}),
            "labels": {key: value for key, value in labels.items() if key.startswith(_NODE_LABELS)},
        }
