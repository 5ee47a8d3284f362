"""Follow a run in a cluster and show it in a view."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import aiohttp
from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from podium.api import GROUP, PLURAL, VERSION
from podium.cli.errors import UsageError
from podium.cli.watch.rank0_tail import Rank0Tail
from podium.cli.watch.views import View
from podium.kube import Api, ApiError, Outage, Resource, connect_as_kubectl, watch_run
from podium.reconcile import Run, read_run

_BENCHMARK_RUNS = Resource(PLURAL, f"apis/{GROUP}/{VERSION}")
_REFRESH_SECONDS = 0.5
_LAST_LINES_SECONDS = 5.0


async def follow(name: str, namespace: str | None, context: str | None, view: View, *, logs: bool) -> Run | None:
    """Show the run until it ends, and return it; None if it was deleted before.

    Raises UsageError if the run cannot be watched at all.
    """
    try:
        api, of_context = await connect_as_kubectl(context)
    except ConfigException as error:
        raise UsageError(_no_cluster(context, error)) from error
    log = Rank0Tail(api, view.line, view.note) if logs else None
    ticks = asyncio.create_task(_tick(view))
    try:
        with view:
            return await _follow(api, namespace or of_context, name, view, log)
    except ValidationError as error:
        raise UsageError(_unreadable(error, namespace or of_context, name)) from error
    except (ApiError, aiohttp.ClientError, TimeoutError) as error:
        raise UsageError(_refused(error, namespace or of_context, name, api.host)) from error
    finally:
        ticks.cancel()
        if log:
            await log.drain(0)
        await api.close()


async def _follow(api: Api, namespace: str, name: str, view: View, log: Rank0Tail | None) -> Run | None:
    async with aclosing(watch_run(api, _BENCHMARK_RUNS, namespace, name, read_run)) as seen:
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


def _no_cluster(context: str | None, error: ConfigException) -> str:
    if context and "contexts list" in str(error):
        return f"--context {context}: no such context; kubectl config get-contexts lists them"
    return f"no cluster: {error}; set KUBECONFIG to a kubeconfig, or name a context with --context"


def _unreadable(error: ValidationError, namespace: str, name: str) -> str:
    """The error for a status that no operator of this version can have written."""
    first = error.errors()[0]
    place = ".".join(["status", *map(str, first["loc"])])
    cause = f"{place}: {first['msg']}"
    return f"BenchmarkRun {name} in namespace {namespace} cannot be read: {cause}; delete it and create it again"


def _refused(error: Exception, namespace: str, name: str, host: str) -> str:
    """What it means that the API server refuses or does not answer, and what to do."""
    if not isinstance(error, ApiError):
        cause = str(error) or type(error).__name__
        return f"the API server {host} cannot be reached: {cause}; check with kubectl get namespaces"
    match error.code, error.reason:
        case 404, "NotFound":
            listed = "kubectl get benchmarkruns --all-namespaces lists all of them"
            return f"namespace {namespace} has no BenchmarkRun {name}; {listed}"
        case 404, _:
            return "this cluster has no BenchmarkRuns: install Podium there first (its CRD is in crds/)"
        case 401, _:
            return f"the API server {host} rejects your credentials: {error}; log in to the cluster again"
        case 403, _:
            return f"{error}; ask for permission to get and watch benchmarkruns in namespace {namespace}"
    return f"the API server {host} refused the request: {error}"
