"""Logs that are read again and again, because as many as may be are followed."""

from __future__ import annotations

import asyncio
import time

from podium.kube.client import ApiError
from podium.mllog import LogBuffer
from tests.unit.kube.log_nodes import Node, followed, row, stream_of, until, values


async def test_a_log_that_must_not_take_a_stream_is_read_again_and_again():
    node = Node([row(1), row(2)], [row(2), row(3)], ApiError(500, "", "try later"), [row(3), row(4), "over"], [row(4)])
    found, stream = await followed(node, streams=asyncio.Semaphore(0), poll=lambda: 0.01)
    assert (found, stream.lost, stream.unreadable) == ([1, 2, 3, 4], "", "")
    assert not any("follow" in query for query in node.queries)


async def test_a_stream_that_is_free_again_goes_to_a_log_that_has_none(running):
    streams, ending, staying = asyncio.Semaphore(1), Node([row(1), "over"], []), Node(["hang"], reads=[[]] * 50)
    first, _ = stream_of(ending, LogBuffer(), streams=streams)
    second, _ = stream_of(staying, LogBuffer(), streams=streams, poll=lambda: 0.01)
    running(first)
    running(second)
    await until(lambda: {"follow": "true"} in staying.queries)
    assert staying.queries[0] == {}
    assert streams.locked()


async def test_reading_now_does_not_wait_for_the_next_poll(running):
    node = Node(reads=[[row(1)], [row(1), row(2)]])
    buffer = LogBuffer()
    stream, changes = stream_of(node, buffer, known_until=0.0, streams=asyncio.Semaphore(0), poll=lambda: 3600.0)
    running(stream)
    await until(lambda: values(buffer) == [1])
    asked = time.time()
    stream.read_now()
    await until(lambda: stream.known_until >= asked)
    assert (values(buffer), changes[-1]) == ([1, 2], True)
