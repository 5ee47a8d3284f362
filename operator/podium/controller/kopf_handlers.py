"""Watches BenchmarkRuns with kopf. Each handler is a few lines; decisions are made elsewhere.

Only ``on.event`` is used: it stores nothing in the objects and adds no finalizer, so a dead operator blocks nobody.
Jobs and pods are far more numerous; `podium.kube.informer` watches them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from podium.api import GROUP, PLURAL, VERSION
from podium.api.sweep import SWEEP_PLURAL
from podium.controller.reconciler import Controller
from podium.controller.sweeps import Sweeps
from podium.kube import Api, WatchPace, patient_session

_LOG = logging.getLogger(__name__)
_RESTART_LIMIT_SECONDS = 30.0


class _NoDiffBase(kopf.DiffBaseStorage):
    """Turns off kopf's comparison of every object with its last state, which only change handlers need: copying each
    object for it took a fifth of the operator's CPU time."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return


async def watch_runs(
    controller: Controller,
    sweeps: Sweeps,
    api: Api,
    *,
    namespaces: Sequence[str],
    identity: str,
    seen: Callable[[str], None],
    started: Callable[[], None],
) -> None:
    """Run kopf until it is asked to end. `seen` gets the resource of every watch event; `started` is called whenever
    kopf is up. kopf looks for a resource only at its start: it is started again once BenchmarkSweeps are served.

    kopf ends at the first error that it does not know, such as an error event in a watch; it is then started again.
    After cancellation, it takes another 5 s to end; it writes nothing that another replica would have to wait for.
    """
    pace = WatchPace(limit=_RESTART_LIMIT_SECONDS)
    while True:
        pace.opened()
        try:
            has_sweeps = sweeps.served.is_set()
            registry = _registry(controller, sweeps if has_sweeps else None, api, seen)
            more = None if has_sweeps else sweeps.served
            if await _run_kopf(registry, namespaces, identity, started, more):
                return
        except Exception:  # noqa: BLE001 - whatever ended it, the runs that are known go on
            wait = max(pace.ended(), 1.0)
            _LOG.exception("watching BenchmarkRuns failed, starting again in %.0f s", wait)
            await asyncio.sleep(wait)


async def _run_kopf(
    registry: kopf.OperatorRegistry,
    namespaces: Sequence[str],
    identity: str,
    started: Callable[[], None],
    more: asyncio.Event | None,
) -> bool:
    """Run kopf until it ends, or until `more` is set. Returns whether it ended by itself."""
    ready = asyncio.Event()
    watching = asyncio.create_task(
        kopf.operator(
            registry=registry,
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            # otherwise kopf looks up the user's name, which a container might not have; its type is a private str
            identity=identity,  # type: ignore[arg-type]
            ready_flag=ready,
        )
    )
    up = asyncio.create_task(ready.wait())
    enough = {asyncio.create_task(more.wait())} if more else set()
    try:
        await asyncio.wait({watching, up}, return_when=asyncio.FIRST_COMPLETED)
        started()
        await asyncio.wait({watching, *enough}, return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            watching.cancel()
            await asyncio.wait({watching})
            return False
    finally:
        for task in (watching, up, *enough):
            task.cancel()
    watching.result()
    return True


def _registry(
    controller: Controller, sweeps: Sweeps | None, api: Api, seen: Callable[[str], None]
) -> kopf.OperatorRegistry:
    """Return the handlers of one operator."""
    handlers = kopf.OperatorRegistry()

    def is_known(uid: str, generation: int) -> bool:
        seen(PLURAL)
        return controller.is_known(uid, generation)

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        """Give kopf the API server and the credentials of our own client; kopf closes the session."""
        return kopf.AiohttpSession(server=api.host, aiohttp_session=patient_session(api, is_known))

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True  # otherwise it watches CRDs and namespaces, which needs more permissions
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 310
        settings.watching.chunk_size = 100  # objects wait in memory until their handler has run
        # Stop kopf's idle workers soon: a thousand runs create thousands of them.
        settings.queueing.idle_timeout = 0.5
        settings.queueing.exit_timeout = 1.0

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def run_changed(*, type: str, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        seen(PLURAL)
        controller.run_changed(body, deleted=type == "DELETED")

    if sweeps:

        @kopf.on.event(GROUP, VERSION, SWEEP_PLURAL, registry=handlers)
        async def sweep_changed(*, type: str, body: kopf.Body, **_: Any) -> None:  # noqa: A002
            sweeps.sweep_changed(body, deleted=type == "DELETED")

    return handlers
