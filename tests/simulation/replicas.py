"""Operator processes: the real `OperatorProcess`, with the world's connection, store and watch in the place of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from typing import Any
from unittest import mock

import aiohttp

from podium.controller import main
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.reconciler import Controller
from podium.controller.sweeps import SWEEPS, Sweeps
from podium.kube import Api, ApiError, Lease, Resource
from podium.launch import Allow, TrainerDefaults
from podium.rounds import Round, load_rounds
from tests.simulation.apiserver import ApiServer
from tests.simulation.podlogs import PodLogs
from tests.simulation.stores import Bucket, SimulatedStore, Threads
from tests.simulation.transport import Connection, Network
from tests.simulation.world import Process, World

LEASE = "podium/podium"
_BATCH_SECONDS = 0.1  # kopf merges the events of one object that arrive this close together
_KOPF_ERRORS = (ApiError, aiohttp.ClientError, TimeoutError)
_END_SECONDS = 10.0


class Replica:
    """One operator process from its start to its death."""

    def __init__(
        self,
        world: World,
        network: Network,
        server: ApiServer,
        logs: PodLogs,
        bucket: Bucket,
        threads: Threads,
        name: str,
        *,
        lease: bool,
        log_streams: int,
    ) -> None:
        self.process = Process(world, name)
        self.process.executor = threads.submit
        self.connection = Connection(network, server, logs, self.process)
        self._world, self._bucket, self._lease, self._log_streams = world, bucket, lease, log_streams
        self._main: asyncio.Task[None] | None = None
        self.operator: main.OperatorProcess | None = None

    def start(self) -> None:
        """Start working as the leader."""
        self.process.call_soon(self._start)

    def _start(self) -> None:
        trainer = TrainerDefaults(allow=Allow(images=("*",)))
        self.operator = main.OperatorProcess(
            main.OperatorOptions(results_url="s3://results", trainer=trainer, log_streams=self._log_streams)
        )
        api = Api(self.connection, rate=500, burst=1000, observer=self.operator.metrics.request)  # type: ignore[arg-type]
        self._main = self.process.create_task(self._run(self.operator, api))
        self._main.add_done_callback(self._ended)

    async def _run(self, operator: main.OperatorProcess, api: Api) -> None:
        """Do what `OperatorProcess` does when everything is open."""
        if self._lease:
            lease = Lease(api, LEASE, self.process.name)
            api.may_write = lease.held
            await lease.hold(lambda: operator._lead(api))
        else:
            await operator._lead(api)

    @property
    def leads(self) -> bool:
        return self.process.alive and self.controller is not None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._world.say(self.process.name, f"ends: {error!r}")
        self.process.die()

    def stop(self) -> None:
        """End as after SIGTERM or the loss of the Lease: the work is canceled, and cut off after a while."""
        self.process.call_soon(lambda: self._main.cancel() if self._main else None)
        self._world.after(_END_SECONDS, self.process.die)

    @property
    def controller(self) -> Controller | None:
        return self.operator._controller if self.operator else None


@cache
def rounds() -> Mapping[str, Round]:
    return load_rounds()


def patched(bucket: Bucket, *, with_sweeps: bool) -> ExitStack:
    """Put the world's parts in the place of those that `podium.controller.main` would open."""
    stack = ExitStack()
    replacements: dict[str, Callable[..., Any]] = {
        "open_store": lambda *_args, **_more: SimulatedStore(bucket),
        "load_rounds": lambda *_: rounds(),
        "watch_runs": watch_runs_and_sweeps if with_sweeps else watch_runs,
        # their defaults were read before time was virtual
        "Controller": partial(Controller, clock=_now),
        "Sweeps": partial(Sweeps, clock=_now),
    }
    for name, replacement in replacements.items():
        stack.enter_context(mock.patch.object(main, name, replacement))
    return stack


def _now() -> float:
    import time

    return time.time()


async def watch_runs(
    controller: Controller,
    _sweeps: Sweeps,  # the API server has no such objects
    api: Api,
    *,
    seen: Callable[[str], None],
    started: Callable[[], None],
    **_: object,
) -> None:
    """Do what kopf does with ``on.event``."""
    started()
    await _watch(api, BENCHMARK_RUNS, controller.run_changed, seen)


async def watch_runs_and_sweeps(
    controller: Controller,
    sweeps: Sweeps,
    api: Api,
    *,
    seen: Callable[[str], None],
    started: Callable[[], None],
    **_: object,
) -> None:
    """The same with BenchmarkSweeps, once the API server has them."""
    process = asyncio.get_running_loop()
    assert isinstance(process, Process)
    process.sweeps = sweeps
    started()
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch(api, BENCHMARK_RUNS, controller.run_changed, seen))
        await sweeps.served.wait()
        group.create_task(_watch(api, SWEEPS, sweeps.sweep_changed, lambda _: None))


async def _watch(api: Api, resource: Resource, changed: Callable[..., None], seen: Callable[[str], None]) -> None:
    """List, then watch; list again after 410, without reporting what is gone."""
    version = ""
    while True:
        try:
            if not version:
                async for bodies, version in api.pages(resource, None, ""):  # noqa: B007
                    for body in bodies:
                        changed(body, deleted=False)
            async for events in api.watch(resource, None, "", version):
                await asyncio.sleep(_BATCH_SECONDS)
                merged = {event["object"]["metadata"].get("uid"): event for event in events}
                for event in merged.values():
                    if event["type"] == "ERROR":
                        raise ApiError.of_status(event["object"], default="the watch was interrupted")
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        seen(resource.plural)
                        changed(event["object"], deleted=event["type"] == "DELETED")
        except ApiError as error:
            version = "" if error.code == 410 else version
            await asyncio.sleep(1.0)
        except _KOPF_ERRORS:
            await asyncio.sleep(1.0)
