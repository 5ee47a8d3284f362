"""The operator process: assembles its parts, serves HTTP, and holds the Lease."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from podium.api import PLURAL
from podium.controller.actions import ActionExecutor
from podium.controller.kopf_handlers import watch_runs
from podium.controller.listening import listen_address, listening
from podium.controller.logs import MAX_STREAMS, LogCollector
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.reconciler import Controller
from podium.controller.sweeps import SWEEPS, Sweeps
from podium.controller.uploads import Recorder, Uploader
from podium.kube import POD_GROUPS, Api, ApiError, Lease, LeaseLostError, Resource, backoff, connect
from podium.launch import Inputs, TrainerDefaults
from podium.metrics import FinishedSample, Metrics, RunSample, run_sample
from podium.reconcile import Run
from podium.results import Signer
from podium.rounds import load_rounds
from podium.stores import Store, StoreError, open_store

_LOG = logging.getLogger(__name__)
_RESYNC_SECONDS = 300.0
_COUNT_SECONDS = 15.0
_LIST_SECONDS = 10.0
_SAVE_SECONDS = 4.0  # at the end, while the Lease is still held
_UNREACHABLE = (ApiError, aiohttp.ClientError, TimeoutError)
_TOO_MANY_REQUESTS = 429
_CRD_RETRY_SECONDS = 2.0
_STORE_RETRY_SECONDS = 5.0
_GC_THRESHOLDS = 20_000, 20, 20  # Python's are 700, 10, 10
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # from malloc.h


@dataclass(frozen=True, slots=True)
class OperatorOptions:
    """The administrator's settings; Helm values set them."""

    results_url: str
    results_endpoint: str | None = None
    results_region: str | None = None
    results_checksum: str | None = None
    results_addressing: str | None = None
    signer: Signer | None = None
    trainer: TrainerDefaults = field(default_factory=TrainerDefaults)
    namespaces: Sequence[str] = ()  # empty: all of them
    listen: str = ":8080"
    lease: str | None = None  # "namespace/name"
    rounds: Sequence[Path] = ()
    kubeconfig: str | None = None
    api_rate: float = 500.0
    api_burst: int = 1000
    progress_seconds: float = 10.0
    log_streams: int = MAX_STREAMS


class OperatorProcess:
    """One replica."""

    def __init__(self, options: OperatorOptions) -> None:
        self._options = options
        self._listen = listen_address(options.listen)
        self._rounds = load_rounds(*options.rounds)
        self._store: Store = open_store(
            options.results_url,
            endpoint_url=options.results_endpoint,
            region=options.results_region,
            checksum=options.results_checksum,
            addressing=options.results_addressing,
        )
        self.metrics = Metrics(
            self._samples,
            lambda: len(self._controller.queue) if self._controller else 0,
            lambda: len(self._controller.known_in(None)) if self._controller else 0,
        )
        self._controller: Controller | None = None
        self._leads = False
        self._lease: Lease | None = None
        self._problem = "starting"  # why this replica cannot lead yet; see `_readiness`
        self._identity = f"{socket.gethostname()}_{os.getpid()}"
        self._stop: Callable[[], object] = lambda: None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises any error that ends the work."""
        work = asyncio.create_task(self._run())
        self._stop = work.cancel
        self._handle_signals()
        await asyncio.wait({work})
        if not work.cancelled():
            work.result()

    def _handle_signals(self) -> None:
        """Stop on SIGTERM and SIGINT: process 1 of a container has no default handlers for them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)

    async def _run(self) -> None:
        options = self._options
        _save_memory()
        _collect_rarely()
        _allow_open_files()
        api = await connect(
            kubeconfig=options.kubeconfig,
            rate=options.api_rate,
            burst=options.api_burst,
            observer=self.metrics.request,
        )
        server = await self._serve()
        check = asyncio.create_task(self._check_store())
        try:
            if options.lease is None:
                await self._lead(api)
            else:
                self._lease = lease = Lease(api, options.lease, self._identity)
                api.may_write = lease.held
                await lease.hold(lambda: self._lead(api))
        except LeaseLostError as error:
            _LOG.error("%s: this process ends, and its container starts again on standby", error)
            logging.shutdown()
            os._exit(1)  # at once: uploads run in threads, which nothing else can stop
        finally:
            check.cancel()
            await server.cleanup()
            await api.close()

    async def _lead(self, api: Api) -> None:
        """Work as the one active replica."""
        await self._wait_for_crd(api)
        recorder = Recorder(self._store, self.metrics, signer=self._options.signer)
        logs = LogCollector(api, recorder, self._wake, streams=self._options.log_streams)
        inputs = Inputs(self._rounds, self._options.trainer, await self._has(api, POD_GROUPS))
        sweeps = Sweeps(api, recorder, self._rounds)
        if await self._has(api, SWEEPS):
            sweeps.served.set()
        uploads = Uploader(api, recorder, logs, inputs=inputs, wake=self._wake)
        actions = ActionExecutor(api, uploads, logs, inputs=inputs, wake=self._wake, hold=self._hold)
        self._controller = controller = Controller(
            api,
            actions,
            logs,
            inputs,
            self.metrics,
            namespaces=self._options.namespaces,
            progress_seconds=self._options.progress_seconds,
        )
        self._leads = True
        self.metrics.leads(leads=True)
        signed = "signed" if self._options.signer else "not signed, since results.signing.existingSecret is not set"
        _LOG.info("leading; results go to %s; they are %s", self._store.url, signed)
        async with _saving(logs, controller), asyncio.TaskGroup() as group:
            informers = group.create_task(controller.informers.run())
            await controller.informers.listed(within=_LIST_SECONDS)
            queues = controller.queue.run(), controller.causes.run(), sweeps.run()
            tasks = [informers, *map(group.create_task, (*queues, self._resync(api, controller), _count(controller)))]
            await watch_runs(
                controller,
                sweeps,
                api,
                namespaces=self._options.namespaces,
                identity=self._identity,
                seen=self.metrics.watch_event,
                started=self._handle_signals,  # kopf has replaced our signal handlers
            )
            for task in tasks:
                task.cancel()

    async def _wait_for_crd(self, api: Api) -> None:
        """Wait until BenchmarkRuns can be listed in one namespace: kopf looks for the resource only once."""
        while True:
            for namespace in self._namespaces:
                try:
                    await api.list_uids(BENCHMARK_RUNS, namespace)
                except _UNREACHABLE as error:
                    missing = isinstance(error, ApiError) and error.not_found
                    why = "the CustomResourceDefinition is not installed" if missing else error
                    self._problem = f"waiting until BenchmarkRuns can be listed: {why}"
                else:
                    return
            _LOG.warning("%s", self._problem)
            await asyncio.sleep(_CRD_RETRY_SECONDS)

    @property
    def _namespaces(self) -> Sequence[str | None]:
        return self._options.namespaces or (None,)

    async def _has(self, api: Api, resource: Resource) -> bool:
        """Return whether the API server has this resource."""
        while True:
            try:
                return await api.serves(resource)
            except _UNREACHABLE as error:
                refused = isinstance(error, ApiError) and 400 <= error.code < 500 and error.code != _TOO_MANY_REQUESTS
                then = "assuming that there are none" if refused else "retrying"
                _LOG.warning("cannot find out whether the API server has %s, %s: %s", resource.plural, then, error)
                if refused:
                    return False
                await asyncio.sleep(_CRD_RETRY_SECONDS)

    async def _resync(self, api: Api, controller: Controller) -> None:
        """Find deletions that the watch has missed. A namespace that cannot be listed keeps its runs."""
        while True:
            await asyncio.sleep(_RESYNC_SECONDS)
            watches = False
            for namespace in self._namespaces:
                # taken first: a run created during the list must not count as deleted
                known = controller.known_in(namespace)
                try:
                    existing = await api.list_uids(BENCHMARK_RUNS, namespace)
                except _UNREACHABLE as error:
                    place = f" in namespace {namespace}" if namespace else ""
                    _LOG.warning("cannot list BenchmarkRuns%s, retrying in %.0f s: %s", place, _RESYNC_SECONDS, error)
                    continue
                controller.forget(known - existing)
                watches |= existing <= controller.known_in(namespace)
            if watches:  # kopf does not report bookmarks; this shows that it watches
                self.metrics.watch_event(PLURAL)

    def _hold(self, run: Run) -> str:
        return self._controller.hold(run) if self._controller else ""

    def _wake(self, run_uid: str, seconds: float) -> None:
        if self._controller:
            self._controller.wake(run_uid, seconds)

    async def _check_store(self) -> None:
        """Log what the store can do, or why it cannot be used, until it can be: an outage only delays results."""
        failures = 0
        while True:
            try:
                abilities = await asyncio.to_thread(self._store.check)
            except StoreError as error:
                failures += 1
                _LOG.error("cannot write to the result store: %s", error)
                await asyncio.sleep(backoff(failures, first=_STORE_RETRY_SECONDS))
            else:
                _LOG.info("the result store can be used: %s", abilities)
                return

    def _samples(self) -> Iterator[RunSample | FinishedSample]:
        """Yield the samples for one page of metrics; changes nothing. Runs may come and go meanwhile."""
        if self._controller is None:
            return
        now = time.time()
        for run in list(self._controller.finished.values()):
            yield run.sample
        for state in list(self._controller.states.values()):
            containers = state.observation.all_containers()
            try:
                sample = run_sample(state.run, state.observed(), state.goal, now, containers)
            except ValueError as error:  # numbers and times in a status are text that anybody may have written
                _LOG.debug("no metrics of %s/%s: %s", state.run.namespace, state.run.name, error)
            else:
                yield sample

    # ---- HTTP ----

    async def _serve(self) -> web.AppRunner:
        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=await self.metrics.page(), content_type="text/plain", charset="utf-8")

        async def healthz(_: web.Request) -> web.Response:
            return web.Response(text="ok\n")  # an event loop that is stuck does not answer

        async def readyz(_: web.Request) -> web.Response:
            problem = self._why_not_ready()
            state = problem or ("leading" if self._leads else "standing by")
            return web.Response(status=503 if problem else 200, text=f"{state}\n")

        app = web.Application()
        app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        host, port = self._listen
        sockets = listening(host, port)
        await web.SockSite(runner, sockets).start()
        return runner

    def _why_not_ready(self) -> str:
        """Return why this replica neither leads nor could take over; "" if it does or could."""
        if self._leads:
            return ""
        if self._lease and (not self._lease.held() or self._lease.problem):
            return self._lease.problem  # on standby, it waits for nothing else
        return self._problem


@asynccontextmanager
async def _saving(logs: LogCollector, controller: Controller) -> AsyncIterator[None]:
    """At the end, save what the next process could not read again if its node rotates it away."""
    try:
        yield
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(logs.save_all(controller.states.values()), _SAVE_SECONDS)


async def _count(controller: Controller) -> None:
    """Advance the time counters between reconciliations, which may be minutes apart."""
    while True:
        await asyncio.sleep(_COUNT_SECONDS)
        controller.count_occupied()


def _allow_open_files() -> None:
    """Take as many open files as are allowed: a thousand open logs need more than the usual 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _collect_rarely() -> None:
    """Configure Python's collector of cycles, which would visit all modules and runs again and again: an eighth of the
    CPU time. What exists now stays, and decoded JSON, most of what is made later, has no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _save_memory() -> None:
    """Configure glibc for this process: a thousand open logs, each with a TLS stream, and few busy threads.

    Every TLS stream has a 256 KiB read buffer and touches only a few KiB of it. Once some buffers have been freed,
    glibc would take new ones from its heap instead of from fresh, untouched pages; a fixed threshold prevents that. One
    heap for all threads is enough, since they take turns in Python anyway.
    """
    with contextlib.suppress(OSError, AttributeError):  # other C libraries have no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 128 * 1024)
        libc.mallopt(_M_ARENA_MAX, 1)
