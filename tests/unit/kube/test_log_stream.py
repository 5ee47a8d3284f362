"""The log follower through everything that happens to a stream."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from podium.kube import log_stream
from podium.kube.client import ApiError
from podium.mllog import LogBuffer


def row(second):
    body = {"time_ms": second * 1000, "key": "eval_accuracy", "value": second}
    return f"2026-01-01T00:00:{second:02}.000000000Z :::MLLOG {json.dumps(body)}\n".encode()


class Node:
    """Serves one container's log: each connection is a list of chunks, an error, or a stream that hangs."""

    def __init__(self, *connections):
        self.connections = list(connections)
        self.queries = []
        self.over = False

    @asynccontextmanager
    async def log(self, namespace, pod, container, **query):
        self.queries.append(query)
        connection = self.connections.pop(0) if self.connections else []
        if isinstance(connection, Exception):
            raise connection

        async def chunks():
            for chunk in connection:
                if chunk == "hang":
                    await asyncio.sleep(3600)
                elif chunk == "over":
                    self.over = True
                elif isinstance(chunk, Exception):
                    raise chunk
                else:
                    yield chunk

        yield chunks()


async def followed(node, checkpoint=b"", pod="digits-1-0-0"):
    async def restore():
        return checkpoint

    book = LogBuffer()
    follower = log_stream.LogStream(
        node,
        book,
        namespace="lab",
        container="trainer",
        pod=lambda: pod,
        over=lambda: node.over,
        restore=restore,
        changed=lambda _: None,
    )
    await asyncio.wait_for(follower.run(), 10)
    return [evaluation.quality["eval_accuracy"] for evaluation in book.summary.evaluations]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(log_stream, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(log_stream, "_LINGER_SECONDS", 0.05)


async def test_a_log_in_one_go():
    node = Node([row(1) + row(2)[:20], row(2)[20:], "over"], [row(2)])
    assert await followed(node) == [1, 2]
    assert node.queries[0] == {"follow": "true"}
    assert node.queries[-1] == {"sinceTime": "2026-01-01T00:00:02Z"}  # what came after the stream had ended


@pytest.mark.parametrize("interruption", [aiohttp.ClientPayloadError("reset"), ApiError(500, "", "try later")])
async def test_a_broken_stream_is_taken_up_where_it_was(interruption):
    node = Node([row(1), row(2), interruption], [row(2), row(3), "over"], [row(3)])
    assert await followed(node) == [1, 2, 3]


async def test_a_complaint_of_the_kubelet_does_not_stop_the_log():
    complaint = b"unable to retrieve container logs for containerd://abc\n"
    node = Node([row(1), complaint], [row(1), row(2), "over"], [row(2)])
    assert await followed(node) == [1, 2]
    assert node.queries[1] == {"follow": "true", "sinceTime": "2026-01-01T00:00:01Z"}


async def test_a_node_that_stamps_local_time_is_asked_in_local_time():
    local = row(1).replace(b"000Z", b"000+08:00")
    node = Node([local, "over"], [])
    assert await followed(node) == [1]
    assert node.queries[1] == {"sinceTime": "2026-01-01T00:00:01+08:00"}


async def test_a_restarted_operator_goes_on_from_its_checkpoint():
    book = LogBuffer()
    for second in (1, 2):
        timestamp, _, line = row(second).decode().rstrip("\n").partition(" ")
        book.add(line, timestamp)
    node = Node([row(2), row(3), "over"], [row(3)])  # the first line is rotated away
    assert await followed(node, book.checkpoint()) == [1, 2, 3]


async def test_a_container_that_is_not_ready_is_waited_for():
    node = Node(ApiError(400, "BadRequest", "ContainerCreating"), [row(1), "over"], [])
    assert await followed(node) == [1]


async def test_a_pod_that_is_gone_ends_the_log():
    node = Node([row(1), "over"], ApiError(404, "NotFound", "no such pod"))
    assert await followed(node) == [1]


async def test_without_a_pod_the_checkpoint_is_all_there_is():
    node = Node()
    node.over = True
    assert await followed(node, row(1), pod=None) == [1]
    assert node.queries == []


async def test_a_stream_that_outlives_its_container_is_left():
    node = Node([row(1), "over", "hang"], [row(1), row(2)])

    async def news():
        while not node.over:
            await asyncio.sleep(0.01)

    async def restore():
        return b""

    book = LogBuffer()
    follower = log_stream.LogStream(
        node,
        book,
        namespace="lab",
        container="trainer",
        pod=lambda: "p",
        over=lambda: node.over,
        restore=restore,
        changed=lambda _: None,
    )
    task = asyncio.create_task(follower.run())
    await news()
    follower.wake()
    await asyncio.wait_for(task, 5)
    assert [e.quality["eval_accuracy"] for e in book.summary.evaluations] == [1, 2]
