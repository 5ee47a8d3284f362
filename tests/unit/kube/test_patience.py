"""kopf's requests: repeated while they are refused, and watches not reopened at once."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from aiohttp import web
from kopf._cogs.clients.api import iter_jsonlines
from kubernetes.aio import client as library

from podium.kube import patient_session
from podium.kube.connection import api_of


def nothing_known(*_):
    return False


FORBIDDEN = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "benchmarkruns is forbidden"}


@pytest.fixture
async def served(monkeypatch):
    """(the session, its server's address, what was requested, codes to refuse the next requests with, pauses)."""
    requested, refusals, pauses = [], [], []
    sleep = asyncio.sleep

    async def short_sleep(seconds):
        pauses.append(seconds)
        await sleep(0)

    async def answer(request):
        requested.append((request.path_qs, request.headers["Authorization"]))
        if refusals:
            return web.json_response(FORBIDDEN, status=refusals.pop(0), headers={"Retry-After": "7"})
        return web.Response(text="")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    configuration = library.Configuration(host=url, api_key={"BearerToken": "Bearer secret"})
    api = api_of(configuration)
    session = patient_session(api, nothing_known)
    monkeypatch.setattr("podium.kube.patience.asyncio.sleep", short_sleep)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(api.close)
        stack.push_async_callback(runner.cleanup)
        yield await stack.enter_async_context(session), url, requested, refusals, pauses


async def test_a_refused_request_is_repeated_until_it_is_allowed(served, caplog):
    session, url, requested, refusals, pauses = served
    caplog.set_level("INFO")
    refusals += [403] * 4 + [401, 500, 429]
    async with session.get(f"{url}/apis/runs") as response:
        assert response.status == 200
    assert requested == [("/apis/runs", "Bearer secret")] * 8
    assert pauses == [7.0, 7.0, 7.0, 8.0, 16.0, 30.0, 30.0]
    messages = [message for message in caplog.messages if "GET /apis/runs is" in message]
    assert messages[0] == "GET /apis/runs is refused, retrying: 403: benchmarkruns is forbidden"
    assert messages[-1] == "GET /apis/runs is allowed again"
    assert len(messages) == 5  # one for each cause, not for each request


@pytest.mark.parametrize("code", [400, 410, 422])
async def test_a_refusal_that_lasts_is_passed_on(served, code):
    session, url, _, refusals, pauses = served
    refusals.append(code)
    async with session.get(f"{url}/apis/runs") as response:
        assert response.status == code
    assert pauses == []


async def test_a_watch_that_ends_at_once_is_reopened_later_and_later(served):
    session, url, _, _, pauses = served
    for version in range(7):
        async with session.get(f"{url}/apis/runs?watch=true&resourceVersion={version}"):
            pass
    async with session.get(f"{url}/apis/others?watch=true"):  # another namespace does not wait for it
        pass
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


@contextlib.asynccontextmanager
async def answered(body, query, is_known):
    """The response with `body` to a session of kopf."""

    async def answer(_):
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    api = api_of(library.Configuration(host=url, api_key={"BearerToken": "Bearer secret"}))
    try:
        async with patient_session(api, is_known) as session, session.get(f"{url}/runs?{query}") as response:
            yield response
    finally:
        await api.close()
        await runner.cleanup()


async def watched(body, is_known):
    """The events of a watch, as kopf reads them."""
    async with answered(body, "watch=true", is_known) as response:
        return [json.loads(line) async for line in iter_jsonlines(response.content)]


@pytest.mark.parametrize("query", ["limit=1", "watch=true"])
async def test_kopf_can_decode_objects_of_any_depth(query):
    event = b'{"deep": ' + b"[" * 9000 + b"]" * 9000 + b', "name": "x"}\n'
    if query == "watch=true":
        assert [one["name"] for one in await watched(event * 2, nothing_known)] == ["x", "x"]
    else:
        async with answered(event, query, nothing_known) as response:
            assert (await response.json())["name"] == "x"


def event(kind, **metadata):
    metadata = {"uid": "u1", "generation": 3, "resourceVersion": "42", **metadata}
    document = {"type": kind, "object": {"metadata": metadata, "status": {}}}
    return json.dumps(document, separators=(",", ":")).encode()


async def test_of_a_change_that_is_known_kopf_gets_only_the_version():
    """Every status that we write comes back."""
    news = [event("ADDED"), event("DELETED"), event("MODIFIED", generation=4), event("MODIFIED", uid="u2")]
    odd = [b'{"type":"MODIFIED","object":{"metadata":{"uid":[],"generation":3,"resourceVersion":"1"}}}',
           b'{"type":"MODIFIED","object":{"metadata":{"uid":"u1"}}}', b'{"type":"MODIFIED","object":[]}']  # fmt: skip
    lines = [*news, event("MODIFIED", resourceVersion="43"), *odd]
    found = await watched(b"\n".join(lines) + b"\n", lambda uid, generation: {"u1": 3}.get(uid) == generation)
    assert found.pop(4) == {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "43"}}}
    assert found == [json.loads(line) for line in (*news, *odd)]
