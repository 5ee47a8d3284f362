"""An attempt that prints nothing for `spec.deadlines.silence` hangs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.reconcile import ReadLog, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, FIRST, GOOD, START, SUCCESS, T0, log, observed

ROUNDS = load_rounds()
RUNNING = ex.job(ex.running(0), ex.running(1))
DEADLINES = {"silence": "10m", "run": "2h"}


def decision(seen, now, job=RUNNING, **spec):
    run = ex.run(ex.status(ex.attempt()), **{"deadlines": DEADLINES, **spec})
    return decide(run, observed(job, seen), ROUNDS, T0 + now)


@pytest.mark.parametrize(
    ("seen", "now", "state", "reason"),
    [
        (log(START, BAD, heard=T0 + 70), 669, "Training", None),
        (log(START, BAD, heard=T0 + 70, tail="step 100"), 671, "NotConverged", "NoProgress"),
        # anything printed counts, and when it was received: the clock of the node does not
        (log(START, BAD, heard=T0 + 4000), 4100, "Training", None),
        # nothing was received by this process: nobody knows how long rank 0 has been silent
        (log(START, BAD), 4100, "Training", None),
        # what was printed meanwhile has not been read
        (log(START, BAD, heard=T0 + 70, known=600), 671, "Training", None),
        (log(START, BAD, heard=T0 + 70, known=600, unreadable="no route to host"), 5000, "Training", "LogUnreadable"),
        # before run_start and after run_stop, other deadlines count
        (log((12, "init_start", None), heard=T0 + 12), 1000, "Initializing", None),
        (log(START, GOOD, SUCCESS, heard=T0 + 61), 900, "Converged", "TargetReached"),
        # the deadline of the run comes first
        (log(START, BAD, heard=T0 + 7200), 7300, "NotConverged", "RunDeadlineExceeded"),
    ],
)
def test_silence(seen, now, state, reason):
    result = decision(seen, now).status.attempts[0]
    assert (str(result.state), result.reason) == (state, reason)


def test_the_message_has_the_last_output():
    result = decision(log(START, heard=T0 + 30, tail="all_reduce ..."), 700).status.attempts[0]
    assert result.message == (
        "rank 0 has printed nothing for 10m (spec.deadlines.silence); last output: all_reduce ..."
    )
    assert result.failure.class_ == "program"


def test_a_silent_log_is_read_before_it_is_judged():
    due = decision(log(START, heard=T0 + 70, known=600), 671)
    assert ReadLog(FIRST) in due.actions
    assert decision(log(START, heard=T0 + 70), 100).wake_at == T0 + 670


def test_a_node_that_does_not_report_is_the_cause():
    lost = replace(ex.running(1), node="node-8", node_lost=True)
    result = decision(log(START, heard=T0 + 70), 671, ex.job(ex.running(0), lost)).status.attempts[0]
    assert (result.reason, result.failure.node) == ("NodeLost", "node-8")


def test_a_rate_that_is_measured_has_the_same_limit():
    measure = {"warmup": "1m", "duration": "90m"}
    quiet = {"measure": measure, "quality": None, "division": "open"}
    result = decision(log(START, heard=T0 + 70), 671, **quiet).status.attempts[0]
    assert (str(result.state), result.reason) == ("NotConverged", "NoProgress")


def test_without_a_limit_only_the_deadline_of_the_run_counts():
    result = decision(log(START, heard=T0 + 70), 7000, deadlines={"run": "2h"}).status.attempts[0]
    assert result.reason is None
