"""The work queue: one worker a key, requests folded, failures later and later."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import aiohttp
import pytest

from podium.kube.workqueue import WorkQueue


@contextlib.asynccontextmanager
async def running(queue):
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_one_worker_a_key_and_requests_while_it_works_are_one_more_turn():
    turns, at_once, most = [], 0, 0

    async def work(key):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        turns.append(key)
        await asyncio.sleep(0.02)
        at_once -= 1

    queue = WorkQueue(work, workers=8)
    async with running(queue):
        for _ in range(50):
            queue.add("run")
        await asyncio.sleep(0.01)
        for _ in range(50):
            queue.add("run")
        await asyncio.sleep(0.1)
    assert turns == ["run", "run"]
    assert most == 1
    assert len(queue) == 0


async def test_different_keys_are_worked_on_side_by_side():
    together = asyncio.Barrier(3)

    async def work(_):
        await together.wait()

    queue = WorkQueue(work, workers=3)
    async with running(queue):
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(0.05)
    assert together.n_waiting == 0


async def test_a_failure_comes_back_later_and_later():
    times = []

    async def work(_):
        times.append(asyncio.get_running_loop().time())
        if len(times) < 4:
            raise RuntimeError("not yet")

    queue = WorkQueue(work, first_retry_seconds=0.02, retry_limit_seconds=0.04)
    async with running(queue):
        queue.add("run")
        await asyncio.sleep(0.3)
    pauses = [round(after - before, 2) for before, after in itertools.pairwise(times)]
    assert len(times) == 4
    assert 0.02 <= pauses[0] < pauses[1] + 0.02
    assert pauses[2] >= 0.04


async def test_of_several_timers_the_earliest_counts():
    turns = 0

    async def work(_):
        nonlocal turns
        turns += 1

    queue = WorkQueue(work)
    async with running(queue):
        for seconds in (0.5, 0.05, 0.3, 0.05):
            queue.add_after("run", seconds)
        await asyncio.sleep(0.15)
    assert turns == 1


async def test_what_comes_first_overtakes_what_waits():
    order = []

    async def work(key):
        order.append(key)

    queue = WorkQueue(work, workers=1)
    for key in ("progress-1", "progress-2"):
        queue.add(key)
    queue.add("new-run", first=True)
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0.01)
    task.cancel()
    assert order == ["new-run", "progress-1", "progress-2"]


async def test_timers_that_became_void_are_dropped():
    async def work(_):
        pass

    queue = WorkQueue(work)
    for run in range(10):
        for seconds in range(86_400, 0, -60):  # a run's deadline is a day ahead, and its progress comes every minute
            queue.add_after(run, seconds)
    assert len(queue._timers) <= 2 * 10
    assert {key for _, _, key in queue._timers} == set(range(10))
    for run in range(1000, 11_000):
        queue.add_after(run, 86_400.0)
        queue.forget(run)
    assert len(queue._timers) <= 2 * 10
    assert queue._due.keys() == set(range(10))
    assert min(queue._timers)[0] == min(queue._due.values())


async def test_work_voids_the_timers_that_were_set_before_it():
    turns = []

    async def work(key):
        turns.append(key)
        if len(turns) == 1:
            queue.add_after(key, 0.3)  # what it waits for itself counts

    queue = WorkQueue(work)
    async with running(queue):
        queue.add_after("run", 0.05)
        queue.add("run")
        await asyncio.sleep(0.15)
        assert len(turns) == 1
        await asyncio.sleep(0.3)
    assert len(turns) == 2


@pytest.mark.parametrize(("error", "said"), [
    (aiohttp.ClientConnectionError("Connection timeout to host"), "retrying in 60 s: Connection timeout to host"),
    (TimeoutError(), "retrying in 60 s: no answer in time"), (KeyError("a bug"), "retrying in 60 s"),
])  # fmt: skip
async def test_an_api_server_that_does_not_answer_is_one_line_and_a_bug_shows_its_place(error, said, caplog):
    async def work(_):
        raise error

    queue = WorkQueue(work, first_retry_seconds=60)
    async with running(queue):
        queue.add("run")
        await asyncio.sleep(0.05)
    (record,) = caplog.records
    assert record.getMessage() == f"work on run failed, {said}"
    assert bool(record.exc_info) is isinstance(error, KeyError)
