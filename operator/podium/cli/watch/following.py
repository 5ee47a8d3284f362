"""Follow a run in a cluster and show it in a view."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from podium.cli.cluster import RUNS, cluster
from podium.cli.watch.rank0_tail import Rank0Tail
from podium.cli.watch.views import View
from podium.kube import Api, Outage, watch_run
from podium.reconcile import Run, read_run

_REFRESH_SECONDS = 0.5
_LAST_LINES_SECONDS = 5.0


async def follow(name: str, namespace: str | None, context: str | None, view: View, *, logs: bool) -> Run | None:
    """Show the run until it ends, and return it; None if it was deleted before.

    Raises UsageError if the run cannot be watched at all.
    """
    async with cluster(context, RUNS, namespace, name) as (api, found):
        log = Rank0Tail(api, view.line, view.note) if logs else None
        ticks = asyncio.create_task(_tick(view))
        try:
            with view:
                return await _follow(api, found, name, view, log)
        finally:
            ticks.cancel()
            if log:
                await log.drain(0)


async def _follow(api: Api, namespace: str, name: str, view: View, log: Rank0Tail | None) -> Run | None:
    async with aclosing(watch_run(api, RUNS.resource, namespace, name, read_run)) as seen:
        async for run in seen:
            if isinstance(run, Outage):
                view.note(run.message, outage=True)
                continue
            view.changed(run)
            if log:
                log.update(run)
            if run.status.terminal:
                if log:
                    await log.drain(_LAST_LINES_SECONDS)
                return run
    return None


async def _tick(view: View) -> None:
    while True:
        view.tick()
        await asyncio.sleep(_REFRESH_SECONDS)
