"""Who holds the Lease, and when: replicas on one model of an API server, in virtual time."""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools

import pytest

from podium.kube import Api, FencedError, LeaseLostError
from podium.kube import lease as module
from podium.kube.client import ApiError
from podium.kube.lease import Lease


class Time(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing else is left to do."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0

    def time(self):
        return self.now

    def _run_once(self):
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


class Server:
    """Holds one Lease; `down` and `refusals` say what fails, and `writes` who wrote when."""

    def __init__(self, *, exists=True):
        self.lease = {"metadata": {"name": "podium", "resourceVersion": "1"}} if exists else None
        self.versions = itertools.count(2)
        self.refusals = {}  # verb -> code
        self.down = False
        self.late_seconds = 0.0

    def answer(self, verb, body):
        if code := self.refusals.get(verb):
            raise ApiError(code, "Forbidden", f"leases is forbidden: cannot {verb.lower()}")
        if verb == "POST":
            if self.lease is not None:
                raise ApiError(409, "AlreadyExists", "exists")
        elif self.lease is None:
            raise ApiError(404, "NotFound", 'leases "podium" not found')
        elif verb == "PUT" and body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "written since")
        if verb != "GET":
            self.lease = copy.deepcopy(body)
            self.lease["metadata"]["resourceVersion"] = str(next(self.versions))
        return copy.deepcopy(self.lease)

    def write(self, **spec):
        self.lease["spec"] = {**self.lease.get("spec", {}), **spec}
        self.lease["metadata"]["resourceVersion"] = str(next(self.versions))

    @property
    def holder(self):
        return self.lease.get("spec", {}).get("holderIdentity") if self.lease else None


MISSING = (
    "the Lease lab/podium does not exist, and this operator cannot create it: leases is forbidden: cannot post; "
    "create it, or allow the operator's ServiceAccount to create Leases in that namespace"
)


@pytest.fixture
def run(monkeypatch):
    """Runs a coroutine in virtual time, with requests answered by the `Server` that `connected` got."""
    loop = Time()
    monkeypatch.setattr(module, "_clock", loop.time)
    yield loop.run_until_complete
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
def replica(monkeypatch):
    """Makes a replica's Lease on a server. Its work notes (name, "starts" or "ends", time)."""
    noted = []

    def make(server, name, work=None):
        async def json(self, verb, resource, path, body=None, **_):
            await asyncio.sleep(server.late_seconds)
            if self.down or server.down:
                raise OSError("no route to host")
            return server.answer(verb, body)

        monkeypatch.setattr(Api, "_json", json)
        monkeypatch.setattr(Api, "down", False, raising=False)
        api = Api(None, rate=1000, burst=1000, observer=lambda *_: None)
        lease = Lease(api, "lab/podium", name)

        async def working():
            noted.append((name, "starts", module._clock()))
            try:
                await (work or asyncio.sleep(10_000))
            finally:
                noted.append((name, "ends", module._clock()))

        return lease, lambda: lease.hold(working)

    make.noted = noted
    return make


async def started(hold):
    task = asyncio.create_task(hold())
    await asyncio.sleep(1)
    return task


async def stopped(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_one_leads_and_the_other_takes_over_when_it_is_silent(run, replica):
    async def scene():
        server = Server()
        (one, hold_one), (two, hold_two) = replica(server, "one"), replica(server, "two")
        first, second = await started(hold_one), await started(hold_two)
        await asyncio.sleep(100)
        assert (server.holder, one.problem, two.problem) == ("one", "", "")
        assert (one.held(), two.held()) == (True, False)
        one._api.down = True  # it still runs, but reaches nothing
        with pytest.raises(LeaseLostError, match="lab/podium could not be renewed in time"):
            await first
        await asyncio.sleep(10)
        assert server.holder == "two"
        assert server.lease["spec"]["leaseTransitions"] == 2
        await stopped(second)
        assert server.holder == ""

    run(scene())
    (_, _, ended), (_, _, taken) = replica.noted[1:3]
    assert [event[:2] for event in replica.noted[:3]] == [("one", "starts"), ("one", "ends"), ("two", "starts")]
    assert 3 < taken - ended < 10


def test_a_leader_that_was_frozen_sends_no_write(run, replica):
    async def scene():
        server = Server()
        one, hold = replica(server, "one")
        task = await started(hold)
        api = Api(None, rate=1000, burst=1000, observer=lambda *_: None)
        api.may_write = one.held
        assert one.held()
        asyncio.get_running_loop().now += module._RENEW_SECONDS  # SIGSTOP and SIGCONT: no timer has run
        assert not one.held()
        server.write(holderIdentity="two")
        with pytest.raises(LeaseLostError):
            await task

    run(scene())


def test_a_write_is_refused_without_the_lease(run, monkeypatch):
    class Client:
        async def update_params_for_auth(self, *_):
            pass

    api = Api(Client(), rate=1000, burst=1000, observer=lambda *_: None)
    api.may_write = lambda: False
    for write in (
        lambda: api.create(module.LEASES, "lab", {}),
        lambda: api.patch_status(module.LEASES, "lab", "x", [], uid="u"),
        lambda: api.delete(module.LEASES, "lab", "x", uid="u"),
    ):
        with pytest.raises(FencedError, match="this process does not lead any more"):
            run(write())


def test_a_leader_stops_at_once_when_another_has_the_lease(run, replica):
    async def scene():
        server = Server()
        _, hold = replica(server, "one")
        task = await started(hold)
        await asyncio.sleep(20)
        server.write(holderIdentity="two")
        at = module._clock()
        with pytest.raises(LeaseLostError, match="two has taken the Lease lab/podium"):
            await task
        assert module._clock() - at <= module._RETRY_SECONDS
        assert server.holder == "two"

    run(scene())


def test_a_missing_lease_is_created(run, replica):
    async def scene():
        server = Server(exists=False)
        lease, hold = replica(server, "one")
        task = await started(hold)
        assert (server.holder, lease.problem) == ("one", "")
        server.lease = None  # deleted under the leader
        await asyncio.sleep(3)
        assert (server.holder, task.done()) == ("one", False)
        await stopped(task)

    run(scene())


def test_a_lease_that_is_deleted_is_left_to_its_leader(run, replica):
    async def scene():
        server = Server()
        server.write(holderIdentity="other", leaseDurationSeconds=12)
        _, hold = replica(server, "one")
        task = await started(hold)
        server.lease = None
        await asyncio.sleep(10)
        assert server.lease is None
        await asyncio.sleep(4)
        assert server.holder == "one"
        await stopped(task)

    run(scene())


@pytest.mark.parametrize(
    ("exists", "refusal", "problem"),
    [
        (False, "POST", MISSING),
        (True, "GET", "the Lease lab/podium: leases is forbidden: cannot get"),
        (True, "PUT", "the Lease lab/podium: leases is forbidden: cannot put"),
    ],
)
def test_a_lease_that_cannot_be_had_is_a_problem_that_is_logged_once(run, replica, caplog, exists, refusal, problem):
    async def scene():
        server = Server(exists=exists)
        lease, hold = replica(server, "one")
        server.refusals[refusal] = 403
        task = await started(hold)
        await asyncio.sleep(60)
        assert lease.problem == problem
        assert caplog.messages == [problem]
        server.refusals.clear()
        await asyncio.sleep(3)
        assert (server.holder, lease.problem) == ("one", "")
        await stopped(task)

    run(scene())


@pytest.mark.parametrize("work", ["ends", "fails"])
def test_the_lease_is_given_up_with_the_work(run, replica, work):
    async def working():
        await asyncio.sleep(5)
        if work == "fails":
            raise RuntimeError("broken")

    async def scene():
        server = Server()
        _, hold = replica(server, "one", working())
        if work == "fails":
            with pytest.raises(RuntimeError, match="broken"):
                await hold()
        else:
            await hold()
        assert server.holder == ""

    run(scene())


def test_the_lease_is_given_up_although_the_last_renewal_comes_in_between(run, replica):
    class Slow(Server):
        renewals = 0

        def answer(self, verb, body):
            answer = super().answer(verb, body)
            if verb == "GET" and self.renewals:
                self.renewals -= 1
                self.write(renewTime="later")
            return answer

    async def scene():
        server = Slow()
        _, hold = replica(server, "one")
        task = await started(hold)
        server.renewals = 1
        await stopped(task)
        assert (server.holder, server.renewals) == ("", 0)

    run(scene())


def test_a_late_answer_does_not_count_from_its_arrival(run, replica):
    async def scene():
        server = Server()
        server.late_seconds = 3.0
        lease, hold = replica(server, "one")
        task = asyncio.create_task(hold())
        await asyncio.sleep(6.5)  # read and written
        assert server.holder == "one"
        assert lease._renewed == 1003.0  # when the write was sent: the others' clocks may run from there
        await stopped(task)

    run(scene())


def test_a_renewal_that_hangs_is_tried_again(run, replica):
    async def scene():
        server = Server()
        lease, hold = replica(server, "one")
        task = await started(hold)
        for _ in range(20):
            server.late_seconds = 100.0
            await asyncio.sleep(2.5)
            server.late_seconds = 0.0
            await asyncio.sleep(5)
            assert lease.held()
        await stopped(task)

    run(scene())


def test_an_odd_lease_is_taken(run, replica):
    async def scene():
        for odd in (None, {}, {"holderIdentity": None}, {"holderIdentity": "", "leaseTransitions": "many"}):
            server = Server()
            server.lease["spec"] = odd
            _, hold = replica(server, "one")
            task = await started(hold)
            assert server.holder == "one"
            await stopped(task)

    run(scene())
