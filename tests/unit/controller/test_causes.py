"""Why Jobs have no pods: which namespaces are read, how often, and what is found there."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from podium.controller import causes as module
from podium.controller.causes import Causes, latest_causes
from podium.kube.client import ApiError
from podium.reconcile import ObservedJob
from tests.unit.reconcile import examples as ex

QUOTA = 'Error creating: pods "digits-1-0-0-x7k2p" is forbidden: exceeded quota: q, requested: pods=1, limited: pods=0'
CAUSE = 'Error creating: pods "digits-1-0-0" is forbidden: exceeded quota: q, requested: pods=1, limited: pods=0'


def event(uid, message=QUOTA, **more):
    return {"involvedObject": {"uid": uid}, "message": message, "lastTimestamp": "2026-01-01T00:00:00Z", **more}


def run(uid="run", namespace="lab"):
    return replace(ex.run(), uid=uid, namespace=namespace)


def job(uid="job", created=0.0, **more):
    return ObservedJob(uid=uid, created=created, **more)


class Api:
    def __init__(self):
        self.found, self.asked = {}, []

    async def events(self, namespace, selector):
        assert selector == "involvedObject.kind=Job,reason=FailedCreate"
        self.asked.append(namespace)
        found = self.found.get(namespace, [])
        if isinstance(found, Exception):
            raise found
        return found


async def until(check):
    """Wait until `check` is true, however busy the machine is."""
    for _ in range(1000):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


@pytest.fixture
def often(monkeypatch):
    """A namespace is looked at again within milliseconds."""
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(module, "_AGAIN_LIMIT_SECONDS", 0.02)


@pytest.fixture
async def reading(monkeypatch):
    """(the API server, the causes, the uids of the runs that were woken)."""
    monkeypatch.setattr(module, "_BUNDLE_SECONDS", 0.01)
    api, woken = Api(), []
    causes = Causes(api, lambda uid, _: woken.append(uid))
    task = asyncio.create_task(causes.run())
    yield api, causes, woken
    task.cancel()


async def test_a_job_without_its_pods_is_looked_up_once_it_is_old_enough(reading, monkeypatch):
    api, causes, woken = reading
    monkeypatch.setattr(module, "_YOUNG_SECONDS", 0.2)
    api.found["lab"] = [event("job")]
    causes.update(run(), [job()], 0.1)
    await asyncio.sleep(0.05)
    assert api.asked == []
    await until(lambda: woken == ["run"])
    assert api.asked == ["lab"]
    assert causes.of([job()]) == {"job": CAUSE}


async def test_a_namespace_is_looked_at_less_and_less_often(reading, monkeypatch):
    api, causes, woken = reading
    api.found["lab"] = [event("job")]
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    causes.update(run(), [job()], 10.0)
    waits = []
    for _ in range(8):
        await causes._read("lab")
        waits.append(causes._due["lab"] - now)
    assert waits == [3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0]
    assert woken == ["run"]  # the same cause is no news
    api.found["lab"] = [event("job", "another")]
    await causes._read("lab")
    assert (causes._due["lab"] - now, woken) == (3.0, ["run", "run"])


@pytest.mark.parametrize(
    "healthy",
    [
        {"containers": (ex.running(0), ex.running(1))},
        {"containers": (ex.ended(0), ex.ended(1))},
        {"suspended": True},
        {"finished": "Failed"},
        {"deleting": True},
    ],
    ids=str,
)
async def test_a_healthy_job_costs_no_request(reading, healthy):
    api, causes, _ = reading
    causes.update(run(), [job(**healthy)], 100.0)
    await asyncio.sleep(0.05)
    assert api.asked == []


async def test_a_job_of_a_queue_has_its_time_from_its_admission(reading):
    api, causes, _ = reading
    causes.update(run(), [job(admitted=50.0)], 51.0)
    assert causes._due["lab"] == pytest.approx(time.monotonic() + 1.0, abs=0.2)
    assert api.asked == []


async def test_a_young_job_costs_no_request_if_an_older_one_has_got_its_pods(reading, monkeypatch):
    monkeypatch.setattr(module, "_YOUNG_SECONDS", 0.3)
    api, causes, _ = reading
    causes.update(run(), [job()], 0.1)  # due in 0.2 s
    await asyncio.sleep(0.15)
    causes.update(run("other"), [job("young")], 0.0)  # due in 0.3 s
    causes.update(run(), [job(containers=(ex.running(0), ex.running(1)))], 0.15)
    await asyncio.sleep(0.1)
    assert api.asked == []
    await until(lambda: api.asked == ["lab"])


async def test_a_clock_that_was_set_back_hides_no_cause(reading):
    api, causes, _ = reading
    causes.update(run(), [job(admitted=50.5)], 50.0)  # the clocks of two machines are never quite equal
    assert causes._due["lab"] == pytest.approx(time.monotonic() + 2.5, abs=0.2)
    causes.update(run("other"), [job("other", admitted=3650.0)], 50.0)
    await until(lambda: api.asked == ["lab"])


async def test_a_job_that_gets_its_pods_is_forgotten(reading, often):
    api, causes, _ = reading
    api.found["lab"] = [event("job")]
    causes.update(run(), [job(containers=(ex.running(0),))], 10.0)  # one of two
    await until(lambda: causes.of([job()]) == {"job": CAUSE})
    causes.update(run(), [job(containers=(ex.running(0), ex.running(1)))], 11.0)
    assert causes.of([job()]) == {}
    asked = len(api.asked)
    await asyncio.sleep(0.1)
    assert len(api.asked) == asked


async def test_many_jobs_of_a_namespace_are_one_request(reading):
    api, causes, woken = reading
    api.found["lab"] = [event(f"job-{number}") for number in range(50)]
    for number in range(50):
        causes.update(run(f"run-{number}"), [job(f"job-{number}")], 10.0)
    await until(lambda: len(woken) == 50)
    assert api.asked == ["lab"]
    assert set(woken) == {f"run-{number}" for number in range(50)}
    for number in range(50):
        causes.forget(f"run-{number}")
    assert [causes._jobs, causes._of_run, causes._causes, causes._due, causes._looks] == [{}] * 5


async def test_a_namespace_whose_events_cannot_be_read_is_reported_once_and_holds_up_no_other(reading, often, caplog):
    api, causes, _ = reading
    api.found["night"] = ApiError(403, "Forbidden", "events is forbidden")
    api.found["lab"] = [event("job")]
    causes.update(run("other", "night"), [job("j2")], 10.0)
    causes.update(run(), [job()], 10.0)
    await until(lambda: causes.of([job()]) == {"job": CAUSE} and api.asked.count("night") > 2)
    assert caplog.text.count("cannot read why Jobs in namespace night have no pods: events is forbidden") == 1


def test_the_last_message_counts():
    events = [
        event("a", "first", lastTimestamp="2026-01-01T00:00:01Z"),
        event("a", "last", lastTimestamp=None, series={"lastObservedTime": "2026-01-01T00:00:03Z"}),
        event("a", "second", lastTimestamp=None, eventTime="2026-01-01T00:00:02Z"),
        event("b", 'violates PodSecurity "restricted:latest"\x1b[2J'),
    ]
    assert latest_causes(events) == {"a": "last", "b": 'violates PodSecurity "restricted:latest"\ufffd[2J'}


@pytest.mark.parametrize("odd", [{}, {"involvedObject": None}, event(3), event("a", None), event("a", series=5), None])
def test_an_odd_event_is_left_out(odd):
    assert latest_causes([odd, event("job")])["job"] == CAUSE
