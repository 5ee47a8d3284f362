"""A log stream through everything that happens to a connection, a node and a pod."""

from __future__ import annotations

import asyncio
import errno
import json
import time

import aiohttp
import pytest

from podium.kube import log_stream
from podium.kube.client import ApiError
from podium.mllog import LogBuffer
from tests.unit.kube.log_nodes import Node, followed, row, stream_of, until, values

COMPLAINT = b"unable to retrieve container logs for containerd://0123456789abcdef"


# ---- every line once ----


async def test_a_log_in_one_go():
    node = Node([row(1) + row(2)[:20], row(2)[20:], "over"], [row(2)])
    found, stream = await followed(node)
    assert (found, stream.lost, stream.unreadable) == ([1, 2], "", "")
    assert node.queries == [{"follow": "true"}, {"sinceTime": "2026-01-01T00:00:01Z"}]


@pytest.mark.parametrize("interruption", [aiohttp.ClientPayloadError("reset"), ApiError(500, "", "try later")])
async def test_a_broken_stream_is_taken_up_where_it_was(interruption):
    node = Node([row(1), row(2), interruption], [row(2), row(3), "over"], [row(3)])
    assert (await followed(node))[0] == [1, 2, 3]


async def test_a_node_that_stamps_local_time_is_understood():
    local = row(5).replace(b"Z ", b"+08:00 ")
    node = Node([local, "over"], [local])
    assert (await followed(node))[0] == [5]
    assert node.queries[1] == {"sinceTime": "2025-12-31T16:00:04Z"}


async def test_lines_of_the_same_time_are_neither_dropped_nor_doubled():
    same = [row(1, 7, value) for value in (0.1, 0.2, 0.2)]
    node = Node([same[0], same[1], aiohttp.ClientPayloadError("reset")], [*same, "over"], same)
    assert (await followed(node))[0] == [0.1, 0.2, 0.2]


async def test_a_line_of_stdout_that_comes_after_a_later_one_of_stderr_is_kept():
    node = Node([row(2, 5), aiohttp.ClientPayloadError("reset")], [row(2, 5), row(2, 1, 0.5), "over"], [row(2, 5)])
    assert (await followed(node))[0] == [2, 0.5]


async def test_a_line_is_taken_only_with_its_end():
    torn = row(2)[:60]
    node = Node([row(1), torn, aiohttp.ClientPayloadError("reset")], [row(1), torn], [row(1), row(2), "over"], [])
    assert (await followed(node))[0] == [1, 2]


async def test_the_rest_of_a_line_that_began_before_the_time_asked_for_is_not_a_line():
    rest = row(3, 1)  # the kubelet stamps it with the time of the piece that it begins with
    glued = b"2026-01-01T00:00:01.000000000Z " + b"\r10 %" * 10_000 + rest.partition(b" ")[2]
    node = Node([glued, row(4), aiohttp.ClientPayloadError("reset")], [rest, row(4), row(5), "over"], [row(4), row(5)])
    assert (await followed(node))[0] == [3, 4, 5]


async def test_a_line_that_began_before_the_time_asked_for_and_was_not_taken_is_read_from_its_beginning():
    """The kubelet writes no timestamp before later parts of a line: a progress bar, and what it glues to it."""
    bar = b"2026-01-01T00:00:05.000000000Z step 1\rstep 2\r"
    glued = b'step 3\r:::MLLOG {"time_ms": 9000, "key": "eval_accuracy", "value": 9}\n'
    whole = [row(5), bar + glued, "over"]
    node = Node([row(5), bar, aiohttp.ClientPayloadError("reset")], *([[glued], whole] * 4))
    assert (await followed(node))[0] == [5, 9]
    assert ["sinceTime" in query for query in node.queries[:3]] == [False, True, False]


async def test_a_last_line_without_a_newline_is_taken_once_the_log_has_ended():
    node = Node([row(1), "over"], [row(1), row(2)[:-1]], [row(1), row(2)[:-1]])
    assert (await followed(node))[0] == [1, 2]


async def test_a_read_that_breaks_off_like_an_end_is_repeated():
    node = Node([row(1), row(2)], [row(2), row(3)], [row(3)])
    node.over = True
    assert (await followed(node))[0] == [1, 2, 3]


async def test_megabytes_of_a_progress_bar_before_a_line():
    bar = b"2026-01-01T00:00:01.000000000Z " + b"\rpart 1: 10%|" * 300_000
    node = Node([row(1), bar, b"\xe2\x96 [loss 0.1]" + row(2).partition(b" ")[2], "over"], [])
    buffer = LogBuffer()
    await asyncio.wait_for(stream_of(node, buffer)[0].run(), 10)
    assert values(buffer) == [1, 2]
    assert max(map(len, buffer.mlperf_lines())) < 300


# ---- known until ----


async def test_a_new_process_reads_to_the_present_before_it_follows(running):
    earlier = LogBuffer()
    for second in (1, 2):
        timestamp, _, line = row(second).decode().rstrip("\n").partition(" ")
        earlier.add(line, timestamp)
    node = Node([["hang"]], reads=[ApiError(502, "", "connection refused"), [row(2), row(3)]])
    buffer = LogBuffer()
    stream, changes = stream_of(node, buffer, checkpoint=earlier.rows(0, 1 << 20))
    running(stream)
    await until(lambda: stream.unreadable)
    assert (stream.known_until, values(buffer), changes[-1]) == (0.0, [1, 2], True)
    began = time.time()
    await until(lambda: stream.known_until)
    assert (values(buffer), stream.unreadable) == ([1, 2, 3], "")
    assert began - 1 < stream.known_until <= time.time()
    await until(lambda: node.queries[-1].get("follow"))


async def test_a_silent_stream_proves_nothing(running):
    node = Node([row(1), "hang"], reads=[[row(1)]])
    stream, _ = stream_of(node, LogBuffer(), known_until=5.0)
    running(stream)
    await asyncio.sleep(0.1)
    assert stream.known_until == 5.0
    asked = time.time()
    stream.read_now()
    await until(lambda: stream.known_until >= asked)
    assert [("follow" in query) for query in node.queries] == [True, False]  # the stream stays open


async def test_a_log_that_cannot_be_read_now_is_asked_for_until_it_can(running):
    node = Node(["hang"], reads=[ApiError(500, "", "dial tcp 10.0.0.7:10250: connect: connection refused"), []])
    stream, _ = stream_of(node, LogBuffer())
    running(stream)
    await asyncio.sleep(0.02)
    stream.read_now()
    await until(lambda: stream.unreadable)
    assert stream.unreadable == "dial tcp 10.0.0.7:10250: connect: connection refused"
    assert stream.known_until == 1.0
    await until(lambda: stream.known_until > 1.0)
    assert stream.unreadable == ""


async def test_a_dead_connection_does_not_hide_lines(running):
    node = Node([row(1), "hang"], [row(2), row(3), "hang"], reads=[[row(1), row(2)]])
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer, silence=lambda: 0.05)
    running(stream)
    await until(lambda: values(buffer) == [1, 2, 3])
    assert [("follow" in query) for query in node.queries[:3]] == [True, False, True]


async def test_a_checkpoint_gives_back_every_character():
    line = ":::MLLOG " + json.dumps(
        {"key": "submission_org", "time_ms": 1, "value": "a\u2028b\x85c"}, ensure_ascii=False
    )
    earlier, buffer, node = LogBuffer(), LogBuffer(), Node()
    earlier.add(line, "2026-01-01T00:00:01Z")
    node.over = True
    await stream_of(node, buffer, checkpoint=earlier.rows(0, 1000), pod=lambda: None)[0].run()
    assert list(buffer.mlperf_lines()) == [line]
    assert buffer.rows(0, 1000) == earlier.rows(0, 1000)


# ---- unreadable is not empty ----


@pytest.mark.parametrize("newline", [b"", b"\n"])
async def test_a_complaint_of_the_kubelet_is_not_a_line(running, newline):
    node = Node(reads=[[COMPLAINT + newline]] * 3 + [[row(1)]])
    node.over = True
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer)
    running(stream)
    await until(lambda: stream.unreadable)
    assert stream.unreadable == COMPLAINT.decode()
    assert (buffer.ended, buffer.tail, stream.known_until) == (False, "", 1.0)
    await until(lambda: buffer.ended)
    assert (values(buffer), stream.lost, stream.unreadable) == ([1], "", "")


async def test_a_node_that_never_answers_again_loses_the_log(monkeypatch):
    monkeypatch.setattr(log_stream, "LOST_AFTER_SECONDS", 0.05)
    node = Node([row(1), aiohttp.ClientPayloadError("reset"), "over"])
    node.reads = [ApiError(500, "", "no route to host")] * 100
    node.connections[0].insert(1, "over")
    found, stream = await followed(node)
    assert (found, stream.lost) == ([1], "no route to host")


async def test_a_container_that_is_not_ready_is_waited_for():
    node = Node(ApiError(400, "BadRequest", "ContainerCreating"), [row(1), "over"], [])
    assert (await followed(node))[0] == [1]


@pytest.mark.parametrize("broken", [False, True])
async def test_a_pod_that_is_gone_ends_the_log_or_loses_its_end(broken):
    last = ["over", aiohttp.ClientPayloadError("reset")] if broken else ["over"]
    node = Node([row(1), *last], ApiError(404, "NotFound", 'pods "digits-1-0-0" not found'))
    found, stream = await followed(node)
    assert (found, stream.lost) == ([1], 'pods "digits-1-0-0" not found' if broken else "")


async def test_a_pod_that_vanishes_with_its_node_loses_the_end_however_its_stream_ended():
    node = Node([row(1), "over"], ApiError(404, "NotFound", "no such pod"))
    found, stream = await followed(node, exited=lambda: False)
    assert (found, stream.lost) == ([1], "no such pod")


async def test_a_pod_that_is_deleted_right_after_its_log_was_read_loses_nothing():
    node = Node([row(1), row(2)], ApiError(404, "NotFound", "no such pod"))
    node.over = True
    found, stream = await followed(node)
    assert (found, stream.lost) == ([1, 2], "")


async def test_without_a_pod_the_checkpoint_is_all_there_is():
    node = Node()
    node.over = True
    found, stream = await followed(node, checkpoint=row(1), pod=lambda: None)
    assert (found, stream.lost, node.queries) == ([1], "the pod was deleted", [])


async def test_a_container_that_never_ran_has_printed_nothing():
    node = Node()
    node.over = True
    found, stream = await followed(node, pod=lambda: None, started=lambda: False, known_until=0.0)
    assert (found, stream.lost, stream.known_until > 1.0, node.queries) == ([], "", True, [])


async def test_a_full_disk_delays_a_line_and_is_named(running, monkeypatch):
    buffer = LogBuffer()
    add, full = buffer.add, [True]

    def add_unless_full(line, timestamp=""):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return add(line, timestamp)

    monkeypatch.setattr(buffer, "add", add_unless_full)
    node = Node(reads=[[row(1)]] * 100)
    node.over = True
    stream, _ = stream_of(node, buffer)
    running(stream)
    await until(lambda: stream.unreadable)
    assert "No space left on device" in stream.unreadable
    full.clear()
    await until(lambda: buffer.ended)
    assert values(buffer) == [1]


async def test_a_stream_that_outlives_its_container_is_left(running):
    node = Node([row(1), "over", "hang"], [row(1), row(2)], [row(2)])
    buffer = LogBuffer()
    stream, _ = stream_of(node, buffer)
    running(stream)
    await until(lambda: node.over)
    stream.wake()
    await until(lambda: buffer.ended)
    assert values(buffer) == [1, 2]


@pytest.mark.parametrize("event", ["the end of the container", "a deadline"])
async def test_a_stream_that_lets_lines_pile_up_goes_on_at_once_when_it_must(event):
    over = False
    stream = log_stream.LogStream(
        None, None, namespace="lab", container="trainer", pod=lambda: "pod", over=lambda: over, changed=lambda _: None,
        pace=lambda: 60.0,
    )  # fmt: skip
    resting = asyncio.create_task(stream._rest_a_while())
    await asyncio.sleep(0.01)
    assert not resting.done()
    if event == "a deadline":
        stream.read_now()
    else:
        over = True
        stream.wake()
    await asyncio.wait_for(resting, 1)


class Kept(bytearray):
    """A copy of a log, or what has no room for one."""

    def __init__(self, room=True):
        super().__init__()
        self.room, self.closed = room, False

    def append(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        self.extend(data)

    def close(self):
        self.closed = True


async def test_the_last_read_is_of_all_of_the_log_and_kept():
    """The first last read found a new line, so it is read once more; what was printed before is not taken again."""
    places = []
    old, rows = b"2026-01-01T00:00:01.0Z loss 0.5\n" + row(1), [row(50), row(51), row(52)]
    node = Node([old, *rows[:2], "over"], [old, *rows], [old, *rows])
    found, stream = await followed(node, keep=lambda: places.append(Kept()) or places[-1])
    assert found == [1, 50, 51, 52]
    assert bytes(stream.copy) == old + b"".join(rows)
    assert [place.closed for place in places] == [True, False]
    assert node.queries == [{"follow": "true"}, {}, {}]


async def test_a_log_is_read_to_its_end_although_there_is_no_room_for_its_copy():
    node = Node([row(1), "over"], [row(1), row(2)], [row(1), row(2)])
    found, stream = await followed(node, keep=lambda: Kept(room=False))
    assert (found, stream.copy, stream.lost) == ([1, 2], None, "")


async def test_of_a_log_that_is_lost_there_is_no_copy():
    node = Node([row(1), "over"], [row(1), row(2)], ApiError(404, "NotFound", "gone"))
    found, stream = await followed(node, keep=Kept)
    assert (found, stream.copy) == ([1, 2], None)
