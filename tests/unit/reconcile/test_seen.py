"""What the operator saw of a log counts: when its lines were printed and received."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import AttemptState
from podium.mllog import Sighting, Sightings
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import GOOD, START, SUCCESS, T0, ended, log, observed
from tests.unit.reconcile.test_decide import decision


def seen(start=20.0, stop=61.0, *, node=0.0, step=0.0):
    """When the lines of START and SUCCESS were printed and received."""
    return Sightings(
        (Sighting("run_start", ex.T0 + 20, ex.T0 + start, ex.T0 + start - node, 0.1, "a"),),
        (Sighting("run_stop", ex.T0 + 61, ex.T0 + stop, ex.T0 + stop - node - step, 0.1, "a"),),
    )


@pytest.mark.parametrize(
    ("sightings", "lines", "reason", "seconds", "text"),
    [
        (seen(), (), "TargetReached", "41.000", "quality 0.95"),
        (seen(node=3600), (), "TargetReached", "41.000", "quality 0.95"),
        (seen(stop=91), (), "ClockInvalid", None, "the log says 41.0 s, the operator saw 71.0 s; run_stop arrived 30"),
        (seen(start=12), (), "ClockInvalid", None, "the log says 41.0 s, the operator saw 49.0 s; run_start arrived 8"),
        (seen(step=-30), (), "NodeClockStepped", None, "set back by 29.9 s or more between run_start and run_stop"),
        (seen(step=-30), [(62, "run_stop", None), (10, "run_start", None)], "TargetReached", "52.000", "quality"),
    ],
)  # fmt: skip
def test_what_the_operator_saw_counts(sightings, lines, reason, seconds, text):
    """A log whose lines nobody saw, such as one with other stamps, is judged by itself."""
    run = ex.run(ex.status(ex.attempt()))
    whole = log(START, GOOD, SUCCESS, *lines, whole=True, sightings=sightings)
    attempt = decision(run, observed(ex.job(ended(0), ended(1)), whole)).status.attempts[0]
    assert (attempt.reason, attempt.time_to_train_seconds) == (reason, seconds)
    assert text in attempt.message


def test_a_step_of_the_clock_is_not_held_against_the_program():
    """Its run_stop comes before its run_start, or its run_start before its container."""
    run = ex.run(ex.status(ex.attempt()))
    back = log(START, GOOD, (5, "run_stop", (None, {"status": "success"})), whole=True, sightings=Sightings(
        (Sighting("run_start", ex.T0 + 20, ex.T0 + 20, ex.T0 + 20, 0.1, "a"),),
        (Sighting("run_stop", ex.T0 + 5, ex.T0 + 5, ex.T0 + 61, 0.1, "a"),),
    ))  # fmt: skip
    attempt = decision(run, observed(ex.job(ended(0), ended(1)), back)).status.attempts[0]
    assert (attempt.state, attempt.reason, attempt.time_to_train_seconds) == ("Failed", "NodeClockStepped", None)
    assert attempt.failure.class_ == "infrastructure"
    started = replace(ended(0), started=ex.T0 + 3620)  # set back by an hour before run_start
    whole = log(START, GOOD, SUCCESS, whole=True, sightings=seen(node=-3600))
    attempt = decision(run, observed(ex.job(started, ended(1)), whole)).status.attempts[0]
    assert attempt.reason == "TargetReached"


@pytest.mark.parametrize(("stamp", "due"), [(20, 3620), (-3580, 3620), (3620, 3620.1)])
def test_a_deadline_counts_from_when_run_start_was_printed(stamp, due):
    """As the operator saw it, whatever the clock of the node."""
    run = ex.run(ex.status(ex.attempt()), deadlines={"run": "1h"})
    sighting = Sighting("run_start", ex.T0 + stamp, ex.T0 + stamp, ex.T0 + 20.1, 0.1, "a")
    clock = log((stamp, "run_start", None), sightings=Sightings((sighting,)))
    result = decision(run, observed(ex.job(ex.running(0), ex.running(1)), clock), now=100)
    assert result.wake_at == pytest.approx(ex.T0 + due, abs=0.2)


def test_no_run_start_precedes_the_container_that_was_seen_to_come_up():
    """Nobody saw it being printed, and the node's clock was set back by an hour before."""
    run = ex.run(ex.status(ex.attempt(state=AttemptState.TRAINING)), deadlines={"run": "1h"})
    sighting = Sighting("run_start", ex.T0 - 3500, ex.T0 - 3500, ex.T0 + 120, 120, "a")
    clock = log((-3500, "run_start", None), sightings=Sightings((sighting,)))
    pods = [replace(ex.running(node), came_up=ex.T0 + 80) for node in (0, 1)]
    result = decision(run, observed(ex.job(*pods), clock), now=130)
    assert result.wake_at == pytest.approx(ex.T0 + 80 + 3600, abs=1)


@pytest.mark.parametrize(("started", "due"), [(15, 320), (-3585, 320), (3615, 320)])
def test_a_deadline_counts_from_when_a_container_was_seen_to_come_up(started, due):
    """A node that is an hour behind must not end an attempt whose pods came up late."""
    run = ex.run(ex.status(ex.attempt()), deadlines={"init": "5m"})
    pods = [replace(ex.running(node, started), came_up=ex.T0 + 20) for node in (0, 1)]
    result = decision(run, observed(ex.job(*pods), log()), now=100)
    assert result.wake_at == pytest.approx(ex.T0 + due, abs=1)


SLOW = -3590  # what a node's clock says when it is an hour behind, of what happens at 10


def test_the_others_have_time_to_end_after_a_failure_that_a_slow_clock_stamps():
    """The cause may show only later: a node that is lost is noticed after a minute."""
    crashed = replace(ex.ended(1, 1, finished=SLOW), seen_ended=T0 + 10)
    training = ex.attempt(state=AttemptState.TRAINING, start_time="2023-11-14T22:13:20.000Z")
    seen = observed(ex.job(ex.running(0), crashed), log(START))
    waits = decision(ex.run(ex.status(training)), seen, now=100)
    assert (waits.status.attempts[0].state, waits.wake_at) == ("Training", T0 + 310)
    assert decision(ex.run(ex.status(training)), seen, now=311).status.attempts[0].reason == "ProgramExited"


def test_a_pod_that_was_taken_before_rank_0_had_started_needs_no_log():
    taken = ex.ended(1, None, stopped="Deleted", disruption="PreemptionByScheduler")
    job = ex.job(ex.waiting(0, "ContainerCreating"), taken)
    seen = observed(job, log(known=None))
    assert decision(ex.run(ex.status(ex.attempt())), seen, now=120).status.attempts[0].reason == "Preempted"


def test_copying_has_its_time_on_a_node_with_a_slow_clock():
    """It is first seen at 500; data may be copied for 1800 s."""
    slow = ex.copying(0, started=SLOW)
    slow = replace(slow, staging=replace(slow.staging, seen_started=T0 + 500))
    run, seen = ex.run(ex.status(ex.attempt()), system={"name": "test", "nodes": 1}), observed(ex.job(slow))
    assert decision(run, seen, now=2200).wake_at == T0 + 2300
    assert decision(run, seen, now=2301).status.attempts[0].reason == "StageDeadlineExceeded"
