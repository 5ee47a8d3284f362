"""The checkpoints of a log: what is saved of it while it grows, and what a new process makes of that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import Condition
from podium.controller import logs as logs_module
from podium.controller.logs import LogCollector
from tests.unit.controller.test_logs import Clock, new_world, opened, row, saved, state_of, until, without_receipts
from tests.unit.reconcile import examples as ex


@pytest.fixture
def world():
    return new_world()


async def test_a_checkpoint_is_saved_every_minute_and_sooner_after_start_and_stop(world, monkeypatch):
    collector, cluster, store, _ = world
    clock, state = Clock(monkeypatch), state_of()
    log = await opened(collector, state)

    async def printed(chunk):
        size = log.buffer.size_bytes
        cluster.followed.put_nowait(chunk)
        await until(lambda: log.buffer.size_bytes > size)
        await saved(collector, state, log)

    await printed(row(1))
    assert store.puts == []
    await printed(row(2, "run_start"))
    assert store.puts == []  # a very short try is not saved apart from its files
    clock.now += 31
    await saved(collector, state, log)
    assert store.text == row(1) + row(2, "run_start")
    clock.now += 31
    await printed(row(3))
    assert len(store.puts) == 1
    clock.now += 30
    await saved(collector, state, log)
    assert store.text == row(1) + row(2, "run_start") + row(3)
    clock.now += 31
    await printed(row(4, "run_stop"))
    assert len(store.puts) == 2  # its try is most often stored before
    clock.now += 5
    await saved(collector, state, log)
    assert store.text.endswith(row(4, "run_stop"))
    await saved(collector, state, log)
    assert len(store.puts) == 3  # nothing new
    collector.close(state)


async def test_a_log_that_pauses_is_saved_as_well(world, monkeypatch):
    """Nothing wakes its run until the next line; the node may rotate the log away before."""
    collector, cluster, store, _ = world
    clock, state = Clock(monkeypatch), state_of()
    log = await opened(collector, state)
    assert collector.checkpoint(state) is None
    cluster.followed.put_nowait(row(1))
    await until(lambda: log.buffer.size_bytes)
    clock.now += 2
    assert collector.checkpoint(state) == pytest.approx(58)
    cluster.followed.put_nowait(row(2, "run_start"))
    await until(lambda: log.buffer.urgent_bytes)
    assert collector.checkpoint(state) == pytest.approx(3)
    clock.now += 3
    assert collector.checkpoint(state) is None  # it is being saved
    await until(lambda: log.saving is None)
    assert store.text == row(1) + row(2, "run_start")
    assert collector.checkpoint(state) is None
    collector.close(state)


async def test_a_log_that_the_node_rotates_soon_is_saved(world, monkeypatch):
    collector, cluster, store, _ = world
    clock, state = Clock(monkeypatch), state_of()
    log = await opened(collector, state)
    noise = b"2026-01-01T00:00:01.000000000Z noise\n" * 60_000
    cluster.followed.put_nowait(row(1) + noise)
    await until(lambda: log.stream.bytes_read > 2 << 20)
    clock.now += 6
    await saved(collector, state, log)
    assert store.text == row(1)
    collector.close(state)


async def test_a_long_log_costs_bounded_bytes(world, monkeypatch):
    collector, cluster, store, _ = world
    clock, state = Clock(monkeypatch), state_of()
    log = await opened(collector, state)
    written = b""
    for second in range(60):
        chunk = row(second, padding="x" * 50_000)
        written += chunk
        cluster.followed.put_nowait(chunk)
        await until(lambda: log.buffer.size_bytes >= len(written))  # noqa: B023 - called at once
        clock.now += 61
        await saved(collector, state, log)
    assert store.text == written
    assert max(size for _, size in store.puts) < 400_000
    collector.close(state)


async def test_a_store_that_is_away_only_delays_a_checkpoint(world, monkeypatch):
    collector, cluster, store, _ = world
    clock, state = Clock(monkeypatch), state_of()
    log = await opened(collector, state)
    cluster.followed.put_nowait(row(1))
    await until(lambda: log.buffer.size_bytes)
    store.away = True
    clock.now += 61
    await saved(collector, state, log)
    assert (store.puts, log.saved_bytes) == ([], 0)
    store.away = False
    clock.now += 61
    await saved(collector, state, log)
    assert store.text == row(1)
    collector.close(state)


async def test_a_new_process_goes_on_with_segments_of_its_own(world, monkeypatch):
    _, cluster, store, woken = world
    monkeypatch.setattr(logs_module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(logs_module, "_URGENT_CHECKPOINT_SECONDS", 0.0)
    store.segments[0, "earlier"] = row(1) + row(2)
    cluster.printed["digits_1_0_0"] = row(2) + row(3, "run_start")  # the first line is rotated away
    store.away = True
    collector, state = LogCollector(cluster, store, lambda _, seconds: woken.append(seconds)), state_of(inherited=True)
    log = await opened(collector, state)
    await until(lambda: log.observed().unreadable)
    assert log.observed().unreadable == "its checkpoint cannot be read: s3://results: away"
    assert log.observed().known_until == 0.0
    store.away = False
    await until(lambda: log.observed().known_until)
    assert (log.observed().summary.lines, log.observed().unreadable) == (3, "")
    await saved(collector, state, log)
    assert store.segments[0, "earlier"] == row(1) + row(2)
    ((start, size),) = store.puts
    assert (
        start,
        without_receipts(store.segments[start, next(writer for begin, writer in store.segments if begin)]),
    ) == (
        len(row(1) + row(2)),
        row(3, "run_start"),
    )
    assert size > len(row(3, "run_start"))  # with the receipt
    collector.close(state)


async def test_everything_is_saved_before_the_process_ends(world):
    collector, cluster, store, _ = world
    state = state_of()
    log = await opened(collector, state)
    cluster.followed.put_nowait(row(1))
    await until(lambda: log.buffer.size_bytes)
    await collector.save_all([state])
    assert store.text == row(1)
    store.away = True
    cluster.followed.put_nowait(row(2))
    await until(lambda: log.buffer.size_bytes > len(row(1)))
    await collector.save_all([state])  # a warning
    collector.close(state)


async def test_a_finished_log_is_saved_once_its_try_cannot_be_stored(world):
    """The files of a try have all of its log, so a checkpoint would write it twice; but only if they are stored."""
    collector, cluster, store, _ = world
    state = state_of(ex.ended(0))
    cluster.printed["digits_1_0_0"] = row(1) + row(2)
    await opened(collector, state)
    log = await collector.finished(state, ex.FIRST)
    assert len(list(log.lines)) == 2
    assert (log.observed.ended, log.findings, store.puts) == (True, [], [])
    await collector.save_all([state])
    assert store.puts == []  # its try is being stored
    collector.not_stored(state, ex.FIRST)
    await collector.save_all([state])
    assert store.text == row(1) + row(2)
    collector.close(state)


async def test_a_log_is_not_saved_further_while_its_try_is_stored(world, monkeypatch):
    """Its program may go on until its Job is deleted: the ledger would have more of it than its files."""
    clock = Clock(monkeypatch)
    collector, cluster, store, _ = world
    state = state_of(ex.running(0))
    log = await opened(collector, state)
    cluster.followed.put_nowait(row(1))
    await until(lambda: log.buffer.size_bytes)
    await collector.save_all([state])
    await collector.finished(state, ex.FIRST)
    cluster.followed.put_nowait(row(2))
    await until(lambda: log.buffer.size_bytes > len(row(1)))
    clock.now += 3600
    assert collector.checkpoint(state) is None
    await collector.save_all([state])
    assert store.text == row(1)
    collector.close(state)


async def test_what_an_earlier_process_kept_is_stored_although_its_pods_were_never_seen(world, monkeypatch):
    """A new process may find a try's Job suspended or gone, and end the try, before it has looked at its log."""
    monkeypatch.setattr(logs_module, "_LAST_LINES_SECONDS", 0.1)
    collector, _, store, _ = world
    state = state_of(inherited=True)
    state.observation.containers = {ex.FIRST: {}}
    store.segments[0, "earlier"] = row(1) + row(2)
    collector.follow(state)
    assert not state.logs.open
    log = await collector.finished(state, ex.FIRST)
    assert len(list(log.lines)) == 2
    collector.close(state)


async def test_nothing_is_judged_before_a_checkpoint_is_read(world, monkeypatch):
    """A node took its pods with it while no operator ran: an earlier one may have seen its run_stop."""
    monkeypatch.setattr(logs_module, "_RETRY_SECONDS", 0.01)
    collector, _, store, _ = world
    state = state_of(inherited=True)
    state.run = replace(state.run, status=ex.status(ex.attempt(state="Training")))
    state.observation.containers = {ex.FIRST: {}}
    store.segments[0, "earlier"] = row(1) + row(2)
    store.away = True
    collector.follow(state)
    log = state.logs.open[ex.FIRST]
    await until(lambda: log.observed().unreadable)
    assert not log.observed().restored
    store.away = False
    await until(lambda: log.observed().restored)
    assert log.observed().summary.lines == 2
    collector.close(state)


async def test_a_checkpoint_is_dropped_when_asked_for(world):
    collector, _, store, _ = world
    state = state_of(inherited=True)
    store.segments[0, "earlier"] = row(1)
    assert state.logs.checkpoints == {ex.FIRST}
    store.away = True
    collector.drop_checkpoint(state, ex.FIRST)
    await until(lambda: not state.logs.dropping)
    assert state.logs.checkpoints == {ex.FIRST}
    store.away = False
    collector.drop_checkpoint(state, ex.FIRST)
    await until(lambda: not state.logs.checkpoints)
    assert store.segments == {}


@pytest.mark.parametrize(
    ("away", "deleted", "wakes"), [(False, False, []), (True, False, [60.0]), (False, True, [0.0])]
)
async def test_a_run_that_has_ended_is_looked_at_again_only_if_something_is_left_to_do(world, away, deleted, wakes):
    """Nothing is left of the checkpoint of a run that exists; of a deleted one, the run itself is."""
    collector, _, store, woken = world
    state = state_of(inherited=True)
    complete = Condition(type="Complete", status="True", reason="Scored", last_transition_time="2026-01-01T00:00:00Z")
    ended = ex.status(ex.attempt()).model_copy(update={"conditions": (complete,)})
    state.run = replace(state.run, status=ended, deleted=deleted)
    assert state.run.status.terminal
    store.away = away
    collector.drop_checkpoint(state, ex.FIRST)
    await until(lambda: not state.logs.dropping)
    assert woken == wakes


async def test_a_log_whose_lines_are_put_in_order_is_saved_anew(world, monkeypatch):
    """What was saved before stays true of what had been received: the ledger has its digest under another writer."""
    collector, cluster, store, _ = world
    clock, state = Clock(monkeypatch), state_of()
    log = await opened(collector, state)
    cluster.followed.put_nowait(row(2) + row(1, "run_start"))
    await until(lambda: log.buffer.urgent_bytes)
    clock.now += 61
    await saved(collector, state, log)
    printed = [row(1, "run_start").decode(), row(2).decode()]
    stamps_and_lines = (text.rstrip("\n").partition(" ") for text in printed)
    log.buffer.arrange([log.buffer.key(line, stamp) for stamp, _, line in stamps_and_lines])
    finished = await collector.finished(state, ex.FIRST)
    assert finished.writer == f"{collector.writer}r1"
    collector.not_stored(state, ex.FIRST)
    await collector.save_all([state])
    assert {writer: without_receipts(rows) for (_, writer), rows in store.segments.items()} == {
        collector.writer: row(2) + row(1, "run_start"),
        finished.writer: row(1, "run_start") + row(2),
    }
    assert log.saved_lines.size == sum(len(line) + 1 for line in log.buffer.mlperf_lines())
    collector.close(state)
