"""Watches one object for a user: every change, through API server outages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from podium.kube.backoff import WatchPace
from podium.kube.client import Api, ApiError, Object, Resource

_RETRY_SECONDS = 1.0
_RETRY_LIMIT_SECONDS = 10.0
_REFUSED_SECONDS = 60.0  # a starting API server refuses for a while what it will allow later
_REFUSALS = (401, 403)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer; the request is retried."""

    message: str


async def watch_run(
    api: Api, resource: Resource, namespace: str, name: str, read: Callable[[Object], T]
) -> AsyncGenerator[T | Outage]:
    """Yield the result of `read` for the object now, whenever it changes, and after an outage. Ends when the object is
    deleted.

    Raises ApiError, aiohttp.ClientError or TimeoutError if the first request fails, ApiError if access is refused for a
    minute, and any error that `read` raises.
    """
    uid = version = ""
    answered = time.monotonic()
    pace = WatchPace(first=_RETRY_SECONDS, limit=_RETRY_LIMIT_SECONDS)
    failures = 0
    while True:
        try:
            body = await api.get(resource, namespace, name)
            if uid and body["metadata"]["uid"] != uid:
                return
            uid = body["metadata"]["uid"]
            if body["metadata"]["resourceVersion"] != version or failures:
                yield read(body)
            version = body["metadata"]["resourceVersion"]
            answered, failures = time.monotonic(), 0
            pace.opened()
            async with aclosing(_changes(api, resource, body)) as changes:
                async for change in changes:
                    if change is None:
                        return
                    version = change["metadata"]["resourceVersion"]
                    pace.delivered()
                    yield read(change)
            wait = pace.ended()
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            refusal = error if isinstance(error, ApiError) else None
            if not uid or (refusal and refusal.code in _REFUSALS and time.monotonic() - answered > _REFUSED_SECONDS):
                raise
            if refusal and refusal.not_found:
                return
            failures += 1
            if failures > 1:  # an interrupted watch is not an outage
                yield Outage(str(error) or type(error).__name__)
            wait = pace.ended(failed=True)
        await asyncio.sleep(wait)


async def _changes(api: Api, resource: Resource, body: Object) -> AsyncGenerator[Object | None]:
    """Yield the object whenever it changes, and None if it is deleted; ends after half a minute."""
    metadata = body["metadata"]
    version = metadata["resourceVersion"]
    async with aclosing(api.watch_one(resource, metadata["namespace"], metadata["name"], version)) as watch:
        async for event in (event async for events in watch for event in events):
            found: Object = event["object"]
            match event["type"]:
                case "DELETED":
                    yield None
                case "ADDED" | "MODIFIED":
                    yield found
                case "ERROR":
                    raise ApiError.of_status(found, default="the watch was interrupted")
