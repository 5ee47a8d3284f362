"""A log stream of a node whose clock is set back, and when lines were received."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import aiohttp
import pytest

from podium.mllog import LogBuffer
from tests.unit.kube.log_nodes import Node, followed, row, stream_of, until, values


def hour(number, second):
    return row(second, value=f"{number}.{second:02}").replace(b"T00:", f"T{number:02}:".encode())


BEFORE, AFTER = [hour(5, second) for second in range(40)], [hour(4, second) for second in range(40)]
ALL = [float(f"{number}.{second:02}") for number in (5, 4) for second in range(40)]


async def test_no_line_is_dropped_when_the_clock_of_the_node_is_set_back():
    assert (await followed(Node([*BEFORE, *AFTER, "over"], [AFTER[-1]])))[0] == ALL


async def test_lines_that_a_connection_left_out_for_their_time_are_read_at_the_end():
    node = Node([*BEFORE, aiohttp.ClientPayloadError("reset")], ["over"], BEFORE + AFTER, BEFORE + AFTER)
    assert (await followed(node))[0] == ALL
    assert node.queries[-1] == {}  # from the beginning


async def test_lines_that_are_read_late_have_the_place_where_they_were_printed():
    """The clock was set back just before line 4.00, and the polls that followed asked for what came after 5.39."""
    later = [hour(6, second) for second in range(3)]
    whole = BEFORE + AFTER + later
    node = Node([*BEFORE, aiohttp.ClientPayloadError("reset")], [*later, "over"], whole, whole)
    buffer = LogBuffer()
    await asyncio.wait_for(stream_of(node, buffer)[0].run(), 10)
    assert buffer.arranged == 1
    assert values(buffer) == [*ALL, 6.0, 6.01, 6.02]
    assert [one.stamp for one in buffer.sightings.evaluations] == [one.time for one in buffer.summary.evaluations]
    assert list(buffer.mlperf_lines()) == [row.decode().partition(" ")[2].rstrip() for row in whole]
    assert [one.delay for one in buffer.sightings.evaluations[40:80]] == [None] * 40  # nobody knows how late they are


async def test_what_a_node_has_rotated_away_was_printed_before_the_rest():
    later = [hour(6, second) for second in range(3)]
    whole = BEFORE[30:] + AFTER + later
    node = Node([*BEFORE, aiohttp.ClientPayloadError("reset")], [*later, "over"], whole, whole)
    buffer = LogBuffer()
    await asyncio.wait_for(stream_of(node, buffer)[0].run(), 10)
    assert values(buffer) == [*ALL, 6.0, 6.01, 6.02]


async def test_a_stream_that_was_never_interrupted_is_not_read_again_from_the_beginning():
    node = Node([*BEFORE, "over"], [BEFORE[-1]])
    await followed(node)
    assert node.queries[-1] == {"sinceTime": "2026-01-01T05:00:38Z"}


async def test_a_deadline_is_not_judged_by_a_connection_that_left_lines_out(running):
    reads = [BEFORE + AFTER]
    node = Node([*BEFORE, aiohttp.ClientPayloadError("reset")], ["hang"], reads=reads)
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer)
    running(stream)
    await until(lambda: len(node.queries) == 2)
    stream.read_now()
    await until(lambda: values(buffer) == ALL)


async def test_a_new_process_keeps_when_lines_were_received():
    earlier, buffer = LogBuffer(), LogBuffer()
    first = Node([row(1), "over"], [row(1)])
    await stream_of(first, earlier)[0].run()
    node = Node([row(1), row(2)], [row(2)])
    node.over = True
    await stream_of(node, buffer, checkpoint=earlier.rows(0, 1 << 20))[0].run()
    (before,) = earlier.sightings.evaluations
    kept, new = buffer.sightings.evaluations
    assert kept == before
    assert before.received == pytest.approx(time.time(), abs=30)
    assert (new.observer != before.observer, new.delay) == (True, None)


async def test_a_stream_vouches_for_no_line(running):
    """One that was held up on its way delivers its lines one by one, each long after it was printed."""
    node, buffer = Node([row(1), 0.06, row(2), 0.06, row(3), "hang"], reads=[[row(3)]]), LogBuffer()
    stream, _ = stream_of(node, buffer)
    running(stream)
    await until(lambda: len(values(buffer)) == 3)
    assert [one.delay for one in buffer.sightings.evaluations] == [None, None, None]


async def test_no_line_is_older_than_its_job(running):
    node, buffer = Node([row(1), "hang"]), LogBuffer()
    stream, _ = stream_of(node, buffer, nothing_before=time.time() - 30)
    running(stream)
    await until(lambda: values(buffer))
    assert buffer.sightings.evaluations[0].delay == pytest.approx(30, abs=5)


async def test_a_line_behind_a_progress_bar_has_no_time_of_its_own(running):
    """The runtime stamps a long line in parts, and the kubelet shows the time of the first."""
    bar = b"2026-01-01T00:00:05.000000000Z " + b"\r10 %" * 4000
    node, buffer = Node([bar + row(9).partition(b" ")[2], row(10), "hang"]), LogBuffer()
    stream, _ = stream_of(node, buffer)
    running(stream)
    await until(lambda: len(values(buffer)) == 2)
    behind, alone = buffer.sightings.evaluations
    assert (behind.printed, behind.received is None, alone.printed) == (
        None,
        False,
        datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC).timestamp(),
    )
    again = LogBuffer()
    await stream_of(Node([], []), again, checkpoint=buffer.rows(0, 1 << 20))[0]._restore_lines()
    assert again.sightings.evaluations == buffer.sightings.evaluations
