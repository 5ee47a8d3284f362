"""An HTTP session for kopf, which ends the process at the first refusal, and reopens a watch that ends at once without
a pause, cannot decode everything, and works for a millisecond on each event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from podium.kube.backoff import WatchPace, backoff
from podium.kube.client import Api, ApiError, retry_after
from podium.kube.decode import loads, shallow

_LOG = logging.getLogger(__name__)
_RETRY_LIMIT_SECONDS = 30.0
_MODIFIED = b'{"type":"MODIFIED"'
_PASSED_ON = (400, 410, 422)  # the same request would be refused again: kopf has to start over


def patient_session(api: Api, is_known: Callable[[str, int], bool]) -> aiohttp.ClientSession:
    """Return a session that sends requests with the credentials of `api`, and repeats those that are refused.

    Watches leave out changes of objects whose uid and generation are known, such as those that we make ourselves.

    A namespace that was deleted or whose Role is missing is so only tried again from time to time; the watches of the
    others go on.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=api.client.rest_client.ssl_context),
        proxy=api.client.configuration.proxy,
        middlewares=(_Patience(api, is_known),),
        response_class=_Response,
    )


class _Response(aiohttp.ClientResponse):
    """A response that kopf can decode even if somebody has nested an object deeper than a decoder goes."""

    async def json(self, **_: Any) -> Any:
        return loads(await self.read())


class _Lines:
    """The stream of a watch, in whole lines that kopf can decode."""

    def __init__(self, content: aiohttp.StreamReader, is_known: Callable[[str, int], bool]) -> None:
        self._content = content
        self._is_known = is_known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._content.iter_chunked(size):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                yield b"".join(shallow(self._brief(line)) + b"\n" for line in lines)
        if rest:
            yield rest  # of a connection that broke

    def _brief(self, line: bytes) -> bytes:
        """Return an event, or only the version to go on from if it changes nothing that is not known."""
        if not line.startswith(_MODIFIED):
            return line
        try:
            metadata = orjson.loads(line)["object"]["metadata"]
            known = self._is_known(metadata["uid"], metadata["generation"])
            version = {"metadata": {"resourceVersion": metadata["resourceVersion"]}}
        except (ValueError, LookupError, TypeError):
            return line
        return orjson.dumps({"type": "BOOKMARK", "object": version}) if known else line


@dataclass(slots=True)
class _Place:
    """Requests for one path."""

    pace: WatchPace = field(default_factory=lambda: WatchPace(limit=_RETRY_LIMIT_SECONDS))
    watched: bool = False
    refusal: str = ""  # the last one; "" while the API server answers


class _Patience:
    def __init__(self, api: Api, is_known: Callable[[str, int], bool]) -> None:
        self._api = api
        self._is_known = is_known
        self._places: dict[str, _Place] = {}  # by path: a handful for each namespace

    async def __call__(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        place = self._places.setdefault(request.url.path, _Place())
        watches = request.url.query.get("watch") == "true"
        if watches:
            if place.watched and (wait := place.pace.ended()):
                await asyncio.sleep(wait)
            place.watched = True
            place.pace.opened()
        failures = 0
        while True:
            request.headers["Authorization"] = await self._api.authorization()
            response = await send(request)
            if response.status < 400 or response.status in _PASSED_ON:
                self._note(request.url.path, place, "")
                if watches:
                    response.content = _Lines(response.content, self._is_known)  # type: ignore[assignment]  # kopf iterates over it
                return response
            failures += 1
            wait = max(backoff(failures, limit=_RETRY_LIMIT_SECONDS), retry_after(response.headers))
            self._note(request.url.path, place, _message(response.status, await response.read()))
            await asyncio.sleep(wait)

    def _note(self, path: str, place: _Place, refusal: str) -> None:
        """Log a refusal when it is new, and its end."""
        if refusal == place.refusal:
            return
        place.refusal = refusal
        if refusal:
            _LOG.warning("GET %s is refused, retrying: %s", path, refusal)
        else:
            _LOG.info("GET %s is allowed again", path)


def _message(status: int, body: bytes) -> str:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    error = ApiError.of_status(found if isinstance(found, Mapping) else None, code=status, default="no reason given")
    return f"{status}: {error}"
