"""What the client makes of answers that are not what an API server sends."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from podium.kube import PODS, Api, ApiError
from podium.kube.gate import Gate

LIST = {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"uid": "u1"}}]}


class Content:
    def __init__(self, chunks):
        self.chunks = chunks

    async def iter_any(self):
        for chunk in self.chunks:
            yield chunk


class Response:
    def __init__(self, status, chunks):
        self.status, self.content = status, Content(chunks)

    async def read(self):
        return b"".join(self.content.chunks)

    def close(self):
        pass


class Answers:
    """In the place of the library's client: one answer to every request."""

    def __init__(self, *chunks, status=200):
        self.raw = type("Raw", (), {"response": Response(status, chunks)})
        self.configuration = type("Configuration", (), {"host": "https://api"})
        self.rest_client = self
        self.urls, self.bodies, self.timeouts = [], [], []

    async def update_params_for_auth(self, *_):
        pass

    async def request(self, verb, url, *, body, _request_timeout, **_):
        self.urls.append(url)
        self.bodies.append(body)
        self.timeouts.append(_request_timeout)
        return self.raw


def api(*chunks, status=200):
    return Api(Answers(*chunks, status=status), rate=1000, burst=1000, observer=lambda *_: None)


async def test_a_status_is_patched_only_if_the_object_has_the_uid():
    client = api(b"{}")
    change = {"op": "add", "path": "/status/x", "value": 1}
    await client.patch_status(PODS, "lab", "p", [change], uid="u1")
    assert client.client.urls == ["https://api/api/v1/namespaces/lab/pods/p/status"]
    assert client.client.bodies == [[{"op": "test", "path": "/metadata/uid", "value": "u1"}, change]]


async def test_objects_are_found_under_the_path_of_their_resource():
    client = api(json.dumps(LIST).encode())
    assert await client.list_uids(PODS, "lab") == {"u1"}
    await client.get(PODS, "lab", "p")
    await client.get(PODS, None, "p")
    assert client.client.urls == [
        "https://api/api/v1/namespaces/lab/pods?limit=1000",
        "https://api/api/v1/namespaces/lab/pods/p",
        "https://api/api/v1/pods/p",
    ]


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"3", b'{"items": 3}', b'{"items": [], "metadata": null}'])
async def test_an_answer_that_is_not_a_list_of_objects_is_an_error_that_may_pass(answer):
    with pytest.raises(ApiError, match="the response is not") as error:
        _ = [page async for page in api(answer).pages(PODS, "lab", "a")]
    assert not error.value.final


async def test_a_list_with_an_object_without_a_uid_is_an_error_that_may_pass():
    with pytest.raises(ApiError, match="an object in the list of pods has no uid"):
        await api(b'{"items": [{}], "metadata": {"resourceVersion": "7"}}').list_uids(PODS, None)


async def test_an_empty_list_may_be_null():
    pages = [
        page async for page in api(b'{"items": null, "metadata": {"resourceVersion": "7"}}').pages(PODS, None, "a")
    ]
    assert pages == [([], "7")]


@pytest.mark.parametrize("status", [b"[]", b"3", b"not JSON", b'{"message": 5, "reason": null, "code": "x"}'])
async def test_a_refusal_of_another_shape_keeps_its_code(status):
    with pytest.raises(ApiError, match="GET /api/v1/namespaces/lab/pods/p") as error:
        await api(status, status=403).get(PODS, "lab", "p")
    assert (error.value.code, error.value.reason) == (403, "")


async def test_a_line_of_a_watch_that_is_not_json_ends_it_after_the_good_ones():
    found = []

    async def watch():
        async for events in api(b'{"a": 1}\n{"a":', b" 2}\nproxy error\n").watch(PODS, None, "a", "1"):
            found.extend(events)

    with pytest.raises(ApiError, match="not a valid JSON object: 'proxy error'"):
        await watch()
    assert found == [{"a": 1}, {"a": 2}]


async def test_a_watch_without_bookmarks_is_taken_for_dead_before_it_would_end():
    """A connection that breaks silently, such as one opened during an outage, would hide all changes for minutes."""
    client = api(b'{"type": "BOOKMARK"}\n')
    async for _ in client.watch(PODS, None, "a", "1"):
        pass
    async for _ in client.watch_one(PODS, "lab", "p", "1"):
        pass
    assert [timeout.sock_read for timeout in client.client.timeouts] == [130, 40]


class Sequence(Answers):
    """One answer for each request: (status, headers, body)."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)

    async def request(self, verb, url, **_):
        self.urls.append(f"{verb} {url}")
        status, headers, content = self.answers.pop(0)
        response = Response(status, [content])
        response.headers = headers
        return type("Raw", (), {"response": response})


PUT_OFF = (429, {"Retry-After": "3"}, b'{"reason": "TooManyRequests", "message": "slow down"}')


@pytest.fixture
def pauses(monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(round(seconds, 1))

    monkeypatch.setattr("asyncio.sleep", sleep)
    monkeypatch.setattr("random.uniform", lambda least, _: least)
    return pauses


def client_of(*answers):
    return Api(Sequence(*answers), rate=1000, burst=1000, observer=lambda *_: None)


async def test_a_request_that_is_put_off_is_sent_again_when_the_api_server_says(pauses):
    client = client_of(PUT_OFF, (429, {}, b""), (429, {"Retry-After": "600"}, b""), (201, {}, b'{"kind": "Job"}'))
    assert await client.create(PODS, "lab", {}) == {"kind": "Job"}
    assert pauses == [3.0, 2.0, 15.0]
    assert len(client.client.urls) == 4


async def test_a_request_that_is_put_off_again_and_again_fails_for_now(pauses):
    with pytest.raises(ApiError, match="slow down") as error:
        await client_of(*[PUT_OFF] * 5).get(PODS, "lab", "p")
    assert (error.value.code, error.value.final, len(pauses)) == (429, False, 4)


async def test_a_request_that_fails_otherwise_is_the_callers(pauses):
    with pytest.raises(ApiError):
        await client_of((503, {"Retry-After": "3"}, b"")).create(PODS, "lab", {})
    assert pauses == []


@pytest.mark.parametrize(
    ("code", "message", "final"),
    [
        (422, 'Job.batch "x" is invalid: spec.template: Invalid value', True),
        (400, "json: cannot unmarshal", True),
        (422, "ValidatingAdmissionPolicy 'images' with binding 'images' denied request: not from our registry", False),
        (400, 'admission webhook "check.example.com" denied the request: no budget left', False),
        (403, "exceeded quota: q, requested: count/jobs.batch=1, used: 4, limited: 4", False),
        (403, 'jobs.batch is forbidden: User "podium" cannot create resource "jobs"', False),
        (404, 'namespaces "lab" not found', False),
        (409, "object is being deleted", False),
        (429, "too many requests", False),
        (500, "etcdserver: leader changed", False),
        (0, "proxy error", False),
    ],
)
def test_which_refusals_are_final(code, message, final):
    assert ApiError(code, "", message).final == final


async def test_only_some_logs_are_read_at_once_beside_those_that_are_followed(monkeypatch):
    """Each takes a connection, and those of a thousand runs that end together would take one each."""
    client = api(b"line\n")
    monkeypatch.setattr(client, "_log_reads", Gate(2, 60.0))
    async with asyncio.timeout(10), contextlib.AsyncExitStack() as opened:
        for _ in range(2):
            await opened.enter_async_context(client.log("lab", "p", "trainer"))
        await opened.enter_async_context(client.log("lab", "p", "trainer", follow="true"))
        third = asyncio.create_task(opened.enter_async_context(client.log("lab", "p", "trainer")))
        await asyncio.sleep(0.05)
        assert (len(client.client.urls), third.done()) == (3, False)
        client._log_reads._places.release()
        await third
        assert len(client.client.urls) == 4
