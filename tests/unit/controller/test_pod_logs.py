"""The logs of all pods, read whole at the end of a try, and bounded."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from podium.controller import logs as logs_module
from podium.controller import pod_logs
from podium.kube import ApiError
from podium.mllog import BoundedSpool
from tests.unit.controller.test_logs import COMPLAINT, new_world, row, state_of
from tests.unit.reconcile import examples as ex


@pytest.fixture
def world():
    return new_world()


async def test_the_logs_of_all_pods_are_read_or_the_cause_is_named(world, monkeypatch):
    monkeypatch.setattr(pod_logs, "_SECONDS", 0.2)
    collector, cluster, _, _ = world
    pods = [
        ex.ended(0),
        ex.ended(1),
        ex.ended(2),
        ex.ended(3, stopped="Deleted"),
        ex.ended(4),
        ex.waiting(5, "ErrImagePull"),
    ]
    cluster.printed = {
        "digits_1_0_0": row(1) * 100,
        "digits_1_0_1": ApiError(500, "", "dial tcp: no route to host"),
        "digits_1_0_2": COMPLAINT,
        "digits_1_0_4": b"",
    }
    state = state_of(*pods)
    found = await collector.pod_logs(state, ex.FIRST)
    assert {name: log.unread for name, log in found.items()} == {
        "pod-0.log": "",
        "pod-1.log": "dial tcp: no route to host",
        "pod-2.log": COMPLAINT.decode(),
        "pod-3.log": "the pod was deleted",
        "pod-4.log": "",
    }
    assert b"".join(found["pod-0.log"].pieces()) == row(1) * 100
    assert await collector.pod_logs(state, ex.FIRST) is found  # not read twice
    collector.release(state, ex.FIRST, ex.log())
    assert collector._kept_bytes == 0


@pytest.mark.parametrize("others", [(), (replace(ex.ended(0), name="digits-1-0-0-again"),)])
async def test_what_was_read_of_rank_0_is_not_read_again(world, others):
    collector, cluster, _, _ = world
    state = state_of(ex.ended(0), ex.ended(1), *others)
    cluster.printed = {"digits_1_0_0": row(1), "digits_1_0_0_again": row(3), "digits_1_0_1": row(2)}
    collector.follow(state)
    await collector.finished(state, ex.FIRST)
    cluster.printed["digits_1_0_0"] = ApiError(500, "", "no route to host")
    found = await collector.pod_logs(state, ex.FIRST)
    assert {name: b"".join(log.pieces()) for name, log in found.items()} == {
        "pod-0.log": row(1),
        "pod-1.log": row(2),
    }
    collector.release(state, ex.FIRST, ex.log())
    assert collector._kept_bytes == 0


async def test_a_node_that_does_not_answer_holds_up_a_try_only_for_a_while(world, monkeypatch):
    monkeypatch.setattr(pod_logs, "_SECONDS", 0.05)
    collector, cluster, _, _ = world

    @asynccontextmanager
    async def hang(*_, **__):
        await asyncio.sleep(60)
        yield

    monkeypatch.setattr(cluster, "log", hang)
    found = await collector.pod_logs(state_of(), ex.FIRST)
    assert found["pod-0.log"].unread == "not read within 0 s"


async def test_logs_that_wait_for_the_store_are_bounded(world, monkeypatch):
    monkeypatch.setattr(logs_module, "_KEPT_POD_LOG_BYTES", 1000)
    collector, cluster, _, _ = world
    cluster.printed["digits_1_0_0"] = row(1) * 100
    state = state_of()
    await collector.pod_logs(state, ex.FIRST)
    collector.not_stored(state, ex.FIRST)
    assert (state.logs.pod_logs, collector._kept_bytes) == ({}, 0)


@pytest.mark.parametrize("size", [0, 7, 16, 17, 40, 1000])
def test_of_a_long_log_the_beginning_and_the_end_are_kept(size):
    text = bytes(number % 251 for number in range(size))
    log = BoundedSpool(16)
    for start in range(0, size, 5):
        log.append(text[start : start + 5])
    kept = b"".join(log.pieces())
    head, marker, tail = kept.partition(b"\n[podium: ")
    if not marker:
        assert (kept, log.kept) == (text, size)
        return
    left_out, _, tail = tail.partition(b" bytes were left out here]\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert (len(head), len(tail)) == (4, 12)
    assert len(head) + int(left_out) + len(tail) == size
