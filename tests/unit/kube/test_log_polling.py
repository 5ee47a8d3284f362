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


async def test_the_last_lines_of_a_log_that_is_polled_came_after_the_last_poll():
    """The last read is of all of the log, since a node's clock that was set back may have hidden lines from the polls:
    not those that are later than what the polls asked for."""
    whole = [row(1), row(3), row(9), row(10)]
    node = Node([row(1), row(9)], [row(9), "over"], whole, whole)
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer, streams=asyncio.Semaphore(0), poll=lambda: 0.01)
    await stream.run()
    delays = {
        line.partition(b" ")[0].partition(b"@")[0][17:19]: b"+" in line.partition(b" ")[0]
        for line in buffer.rows(0, 1 << 20).splitlines()
    }
    assert delays == {b"01": False, b"03": False, b"09": False, b"10": True}


async def test_a_stream_that_is_free_again_goes_to_a_log_that_has_none(running):
    streams, ending, staying = asyncio.Semaphore(1), Node([row(1), "over"], []), Node(["hang"], reads=[[]] * 50)
    first, _ = stream_of(ending, LogBuffer(), streams=streams)
    second, _ = stream_of(staying, LogBuffer(), known_until=0.0, streams=streams, poll=lambda: 0.01)
    running(first)
    running(second)
    await until(lambda: {"follow": "true"} in staying.queries)
    assert staying.queries[0] == {}
    assert streams.locked()


async def test_a_log_that_has_just_begun_is_first_read_half_a_poll_later(running):
    node = Node(reads=[[row(1)]] * 9)
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer, streams=asyncio.Semaphore(0), poll=lambda: 0.6)
    began = time.monotonic()
    running(stream)
    await until(lambda: values(buffer) == [1])
    assert 0.3 <= time.monotonic() - began < 0.6
    late = Node(reads=[[row(1)]] * 9)
    asked, _ = stream_of(late, LogBuffer(), streams=asyncio.Semaphore(0), poll=lambda: 3600.0)
    running(asked)
    await asyncio.sleep(0.05)
    assert late.queries == []
    asked.read_now()
    await until(lambda: late.queries)


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
