"""One BenchmarkRun as a person follows it: every change, through outages of the API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import aiohttp

from podium.api import PLURAL
from podium.kube.client import Api, ApiError, Object
from podium.reconcile import Run, read_run

_RETRY_SECONDS = 1.0
_RETRY_LIMIT_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0  # an API server that starts refuses for a while what it will allow
_REFUSALS = (401, 403)


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer; it is asked again."""

    message: str


async def watch_run(api: Api, namespace: str, name: str) -> AsyncGenerator[Run | Outage]:
    """The run as it is, then again whenever it has changed, and after an outage. Ends when the run is deleted.

    Raises ApiError, aiohttp.ClientError or TimeoutError when the very first request fails, and ApiError when access is
    refused for a minute.
    """
    uid = version = ""
    answered = time.monotonic()
    failures = 0
    while True:
        try:
            body = await api.get(PLURAL, namespace, name)
            if uid and body["metadata"]["uid"] != uid:
                return
            uid = body["metadata"]["uid"]
            if body["metadata"]["resourceVersion"] != version or failures:
                yield read_run(body)
            version = body["metadata"]["resourceVersion"]
            answered, failures = time.monotonic(), 0
            async with aclosing(_changes(api, body)) as changes:
                async for change in changes:
                    if change is None:
                        return
                    version = change["metadata"]["resourceVersion"]
                    yield read_run(change)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            refusal = error if isinstance(error, ApiError) else None
            if not uid or (refusal and refusal.code in _REFUSALS and time.monotonic() - answered > _PATIENCE_SECONDS):
                raise
            if refusal and refusal.not_found:
                return
            failures += 1
            if failures > 1:  # a watch that breaks off is no outage
                yield Outage(str(error) or type(error).__name__)
            await asyncio.sleep(min(_RETRY_LIMIT_SECONDS, _RETRY_SECONDS * 2**failures / 2))


async def _changes(api: Api, body: Object) -> AsyncGenerator[Object | None]:
    """The run whenever it changes, None when it is deleted; ends after half a minute."""
    metadata = body["metadata"]
    version = metadata["resourceVersion"]
    async with aclosing(api.watch_one(PLURAL, metadata["namespace"], metadata["name"], version)) as watch:
        async for event in (event async for events in watch for event in events):
            found: Object = event["object"]
            match event["type"]:
                case "DELETED":
                    yield None
                case "ADDED" | "MODIFIED":
                    yield found
                case "ERROR":
                    raise ApiError(found.get("code", 0), found.get("reason", ""), found.get("message", ""))
