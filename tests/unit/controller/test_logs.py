"""The logs of a run: opened, saved while they grow, restored, and read whole at the end."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from podium.controller import logs as logs_module
from podium.controller.logs import LogCollector
from podium.controller.observation import Observation
from podium.controller.pods import JobSnapshot, PodSnapshot
from podium.controller.state import LogState, RunState
from podium.kube import ApiError
from podium.launch import CONTAINER, RUN_UID_LABEL
from podium.results import Checkpoint
from podium.stores import StoreUnavailable
from tests.unit.reconcile import examples as ex

COMPLAINT = b"unable to retrieve container logs for containerd://0123"


def row(second, key="eval_accuracy", padding=""):
    body = {"time_ms": second * 1000, "key": key, "value": second, "metadata": {"text": padding}}
    stamp = f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000000000Z"
    return f"{stamp} :::MLLOG {json.dumps(body)}\n".encode()


class Cluster:
    """Serves the logs of pods: what each has printed so far, or an error. A stream that follows one stays open."""

    def __init__(self, **printed):
        self.printed = printed
        self.followed = asyncio.Queue()
        self.pods = []

    async def pages(self, resource, namespace, labels):
        if isinstance(self.pods, Exception):
            raise self.pods
        yield self.pods, "1"

    @asynccontextmanager
    async def log(self, namespace, pod, container, **query):
        found = self.printed[pod.replace("-", "_")]
        if isinstance(found, Exception):
            raise found

        async def chunks():
            if "follow" in query:
                while (chunk := await self.followed.get()) is not None:
                    yield chunk
            else:
                for start in range(0, len(found), 1000):
                    yield found[start : start + 1000]

        yield chunks()


class Store:
    """Keeps segments in memory, unless it is away."""

    def __init__(self):
        self.away = False
        self.segments = {}
        self.rank0 = None
        self.puts = []

    async def put_checkpoint(self, run, segment, containers):
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("s3://results: away")
        self.puts.append((segment.start, len(segment.rows)))
        self.segments[segment.start, segment.writer] = segment.rows
        self.last = segment

    async def get_checkpoint(self, run, id_):
        if self.away:
            raise StoreUnavailable("s3://results: away")
        rows = [(writer, rows) for (_, writer), rows in sorted(self.segments.items())]
        return Checkpoint(rows, self.rank0)

    async def drop_checkpoint(self, run, id_):
        if self.away:
            raise StoreUnavailable("s3://results: away")
        self.segments.clear()

    @property
    def text(self):
        """All rows, without their receipts."""
        return without_receipts(b"".join(rows for _, rows in sorted(self.segments.items())))


def without_receipts(rows):
    return re.sub(rb"(?m)^(\S+)@[0-9a-f]{8}:[\d.]+(?:\+[\d.]+)? ", rb"\1 ", rows)


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(logs_module, "time", SimpleNamespace(monotonic=lambda: self.now))


def state_of(*containers, inherited=False):
    pods = containers or (ex.running(0),)
    observation = Observation("lab")
    observation.jobs = {ex.FIRST: ex.job(*pods)}
    observation.containers = {ex.FIRST: {pod.name: pod for pod in pods}}
    run = ex.run(ex.status(ex.attempt()))
    return RunState(run, None, observation, LogState(frozenset({ex.FIRST}) if inherited else frozenset()))


def new_world():
    """A collector with its cluster and store, and the delays with which it woke the run."""
    cluster, store, woken = Cluster(digits_1_0_0=b""), Store(), []
    return LogCollector(cluster, store, lambda _, seconds: woken.append(seconds)), cluster, store, woken


@pytest.fixture
def world():
    return new_world()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def saved(collector, state, log):
    collector.checkpoint(state)
    await until(lambda: log.saving is None)


async def opened(collector, state):
    collector.follow(state)
    await asyncio.sleep(0)
    return state.logs.open[ex.FIRST]


# ---- the pod ----


async def test_a_pod_that_no_watch_shows_is_looked_for(world, monkeypatch):
    """The watch of the Jobs shows that one is Complete; that of the pods lags behind."""
    collector, cluster, _, _ = world
    monkeypatch.setattr(logs_module, "_RETRY_SECONDS", 0.01)
    state = state_of()
    state.observation.containers.clear()
    state.observation.jobs = {ex.FIRST: ex.job(finished="Complete")}
    cluster.pods = ApiError(503, "", "try later")
    cluster.printed["digits_1_0_0"] = row(1) + row(2)
    log = await opened(collector, state)
    await until(lambda: log.observed().unreadable)
    assert (log.observed().unreadable, log.buffer.ended) == ("try later", False)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "controller": True, "name": "digits-1-0", "uid": "job"}
    stranger = pod_body(0, "stranger", [{**owner, "uid": "other"}])
    cluster.pods = [{}, pod_body(1, "digits-1-0-1", [owner]), pod_body(0, "digits-1-0-0", [owner]), stranger]
    await until(lambda: log.buffer.ended)
    assert (log.observed().summary.lines, log.observed().lost) == (2, "")


@pytest.mark.parametrize(("finished", "lost"), [("Complete", "the pod was deleted"), ("Failed", "")])
async def test_a_job_without_pods_has_printed_nothing_unless_it_was_completed(world, finished, lost):
    collector, cluster, _, _ = world
    cluster.pods = []
    state = state_of()
    state.observation.containers.clear()
    state.observation.jobs = {ex.FIRST: ex.job(finished=finished)}
    log = await opened(collector, state)
    await until(lambda: log.buffer.ended)
    assert log.observed().lost == lost


def pod_body(index, name, owners):
    labels = {RUN_UID_LABEL: ex.run().uid, "batch.kubernetes.io/job-completion-index": str(index)}
    ended = {"terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}}
    return {
        "metadata": {"namespace": "lab", "name": name, "uid": name, "labels": labels, "ownerReferences": owners,
                     "creationTimestamp": "2026-01-01T00:00:00Z",
                     "annotations": {"batch.kubernetes.io/job-completion-index": str(index)}},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": CONTAINER, "state": ended}]},
    }  # fmt: skip


# ---- the rest ----


def test_what_is_odd_about_a_log_is_said():
    log = replace(ex.log(ex.START), ended=True, lost="no route to host", overflow=True)
    assert logs_module.FinishedLog(log, ()).findings == [
        "the end of rank 0's log is lost: no route to host",
        "rank 0 printed more than 64 MiB of MLPerf lines; the rest was dropped",
    ]
    unread = logs_module.FinishedLog(replace(log, ended=False, lost="", overflow=False), ())
    assert unread.findings == ["rank 0's log was stored before its end: it had not ended"]


@pytest.mark.parametrize(("logs", "seconds"), [(1, 60), (180, 60), (1000, 1000 / 3), (5000, 5000 / 3)])
def test_silent_logs_cost_three_requests_a_second_at_most(world, logs, seconds):
    collector, _, _, _ = world
    collector._reading = set(range(logs))
    assert collector._silence() == pytest.approx(seconds)


async def test_a_log_whose_checkpoint_was_not_read_is_not_stored(world, monkeypatch):
    monkeypatch.setattr(logs_module, "_LAST_LINES_SECONDS", 0.01)
    collector, _, store, _ = world
    state = state_of(ex.ended(0), inherited=True)
    store.away = True
    await opened(collector, state)
    await asyncio.sleep(0.01)
    with pytest.raises(StoreUnavailable, match="its checkpoint cannot be read: s3://results: away"):
        await collector.finished(state, ex.FIRST)
    collector.close(state)


async def test_a_judged_log_that_cannot_be_read_again_is_not_stored_without_its_lines(world, monkeypatch):
    """An earlier process judged it while the store was down, and now its node does not answer."""
    monkeypatch.setattr(logs_module, "_LAST_LINES_SECONDS", 0.01)
    collector, cluster, *_ = world
    state = state_of(ex.ended(0), inherited=True)
    state.run = replace(state.run, status=ex.status(ex.converged(1, 40, stored=False)))
    cluster.printed["digits_1_0_0"] = ApiError(500, "InternalError", "dial tcp: i/o timeout")
    log = await opened(collector, state)
    await until(lambda: log.restored and log.stream.unreadable)
    with pytest.raises(StoreUnavailable, match=r"the log cannot be read again yet: .*i/o timeout"):
        await collector.finished(state, ex.FIRST)
    state.run = replace(state.run, status=ex.status(ex.attempt(state="Failed", reason="NodeLost")))
    assert list((await collector.finished(state, ex.FIRST)).lines) == [], "nothing of it was ever read"
    collector.close(state)


async def test_the_verdict_on_a_program_that_goes_on_does_not_wait_for_its_last_lines(world):
    """Its Job is deleted after the verdict: until then the program may go on for days."""
    collector, cluster, *_ = world
    state = state_of(ex.running(0))
    state.observation.jobs = {ex.FIRST: ex.job(ex.running(0))}
    log = await opened(collector, state)
    cluster.followed.put_nowait(row(1))
    await until(lambda: log.buffer.size_bytes)
    async with asyncio.timeout(5):
        assert len(list((await collector.finished(state, ex.FIRST)).lines)) == 1
    collector.close(state)


async def test_the_verdict_on_a_pod_that_never_started_does_not_wait_for_its_log(world):
    """In the meantime it might start, only to be deleted."""
    collector, cluster, *_ = world
    state = state_of(ex.waiting(0, "ContainerCreating"), inherited=True)
    cluster.printed["digits_1_0_0"] = ApiError(400, "BadRequest", "ContainerCreating")
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="checkpoint has not been read yet"):
            await collector.finished(state, ex.FIRST)
        await until(lambda: state.logs.open[ex.FIRST].restored)
        assert list((await collector.finished(state, ex.FIRST)).lines) == []
    collector.close(state)


async def test_a_pod_that_starts_while_its_try_is_being_stored_leaves_no_checkpoint(world):
    """The user suspended the run before the pod had started, and the store is slow."""
    collector, *_ = world
    state = state_of(ex.waiting(0, "ContainerCreating"))
    assert list((await collector.finished(state, ex.FIRST)).lines) == []
    pod = ex.running(0)
    state.observation.containers = {ex.FIRST: {pod.name: pod}}
    collector.follow(state)
    assert not state.logs.open


@pytest.mark.parametrize("ending", [{"failing": "BackoffLimitExceeded"}, {"finished": "Failed"}, {"deleting": True}])
async def test_the_last_lines_of_a_program_that_is_being_ended_are_waited_for(world, monkeypatch, ending):
    monkeypatch.setattr(logs_module, "_LAST_LINES_SECONDS", 0.1)
    collector, cluster, *_ = world
    state = state_of(ex.running(0))
    state.observation.jobs = {ex.FIRST: replace(ex.job(ex.running(0)), **ending)}
    await opened(collector, state)
    stored = asyncio.create_task(collector.finished(state, ex.FIRST))
    await asyncio.sleep(0.01)
    cluster.followed.put_nowait(row(1))
    assert len(list((await stored).lines)) == 1
    collector.close(state)


async def test_what_was_read_of_a_preempted_try_comes_from_its_checkpoint(world, monkeypatch):
    """Its Job is suspended and has no pods any more."""
    monkeypatch.setattr(logs_module, "_LAST_LINES_SECONDS", 0.01)
    collector, _, store, _ = world
    state = state_of(inherited=True)
    state.observation.containers, state.observation.jobs = {}, {ex.FIRST: ex.job(suspended=True)}
    state.run = replace(state.run, status=ex.status(ex.attempt(state="Failed", reason="Preempted")))
    store.segments[0, "before"] = row(1) + row(2)
    log = await opened(collector, state)
    await until(lambda: log.restored)
    assert len(list((await collector.finished(state, ex.FIRST)).lines)) == 2
    collector.close(state)


@pytest.mark.parametrize("shown", [True, False])
async def test_the_log_of_a_pod_that_replaced_another_is_not_added_to_its_log(world, shown):
    """The Job was suspended and admitted again; an earlier process has read the log of its first pod."""
    collector, cluster, store, _ = world
    first, second = ex.ended(0, None, stopped="Deleted"), replace(ex.running(0), name="digits-1-0-0b", created=ex.T0)
    state = state_of(second, inherited=True)
    cluster.printed["digits_1_0_0b"] = row(3)
    if not shown:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "controller": True, "name": "digits-1-0", "uid": "job"}
        cluster.pods = [pod_body(0, second.name, [owner])]
        state.observation.containers.clear()
    state.run = replace(state.run, status=ex.status(ex.attempt(state="Training")))
    store.segments[0, "before"], store.rank0 = row(1) + row(2), first
    log = await opened(collector, state)
    await until(lambda: log.restored)
    await asyncio.sleep(0.01)
    pods = [PodSnapshot("lab", second.name, "r1", "job", "n", second)]
    state.observation.update([JobSnapshot("lab", "r1", ex.FIRST, ex.job())], pods, ex.T0)
    collector.follow(state)
    await until(lambda: log.buffer.ended)
    assert (log.observed().summary.lines, log.observed().lost) == (2, "the pod was deleted")
    assert (state.observation.jobs[ex.FIRST].containers, state.observation.jobs[ex.FIRST].restarted) == ((first,), True)
    collector.close(state)


@pytest.mark.parametrize("reported", [True, False])
async def test_a_pod_that_its_job_deleted_because_of_another_has_a_whole_log(world, reported):
    """Its node has closed the stream, and its kubelet says that the container has ended. Without that, it may run on."""
    collector, cluster, _, _ = world
    state = state_of()
    cluster.printed["digits_1_0_0"] = row(1)
    log = await opened(collector, state)
    await cluster.followed.put(row(1) + row(2))
    await until(lambda: log.observed().summary.lines == 2)
    await cluster.followed.put(None)
    await until(lambda: log.stream._drained)
    cluster.printed["digits_1_0_0"] = ApiError(404, "NotFound", "no such pod")
    gone = replace(ex.ended(0, None, stopped="Deleted"), end_reported=reported)
    state.observation.containers[ex.FIRST] = {gone.name: gone}
    state.observation.jobs = {ex.FIRST: ex.job(gone, ex.ended(1, 139))}
    collector.follow(state)
    await until(lambda: log.buffer.ended)
    assert (log.observed().summary.lines, log.observed().lost) == (2, "" if reported else "the pod was deleted")
    collector.close(state)


async def test_an_error_of_ours_stops_a_log_only_for_a_while(world, monkeypatch):
    monkeypatch.setattr(logs_module, "_RETRY_SECONDS", 0.01)
    collector, cluster, _, _ = world
    state = state_of(ex.ended(0))
    cluster.printed["digits_1_0_0"] = ValueError("a bug")
    log = await opened(collector, state)
    await until(lambda: log.observed().unreadable == "ValueError: a bug")
    cluster.printed["digits_1_0_0"] = row(1)
    await until(lambda: log.buffer.ended)
    assert (log.observed().summary.lines, log.observed().unreadable) == (1, "")
    collector.close(state)


async def test_what_a_stream_has_left_out_is_read_before_a_program_that_runs_on_is_stored(world):
    """Its node's clock was set back while the stream was interrupted."""
    collector, cluster, _, _ = world
    state = state_of()
    collector.follow(state)
    await cluster.followed.put(row(3))
    while not state.logs.open[ex.FIRST].buffer.size_bytes:
        await asyncio.sleep(0)
    state.logs.open[ex.FIRST].stream._was_interrupted = True
    cluster.printed["digits_1_0_0"] = row(3) + row(1)
    assert len(list((await collector.finished(state, ex.FIRST)).lines)) == 2
    collector.close(state)
