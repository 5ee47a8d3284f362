"""A run with spec.measure: its attempts are ended when their rate is known."""

from dataclasses import replace

import pytest

from podium.api import AttemptState, BenchmarkRunSpec, Result
from podium.reconcile import CreateJob, DeleteJob, ReadLog, StoreAttempt, StoreResult, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import (
    BAD,
    FIRST,
    START,
    SUCCESS,
    T0,
    attempt,
    ended,
    log,
    observed,
    recorded,
    running,
)

ROUNDS = load_rounds()
PODS = ex.job(running(0), running(1))
BOX = {"warmup": "30s", "duration": "1m"}
STORED = Result(uri="file:///results/lab/digits", sha256="0" * 64)


def trained(second, per_second=100):
    """A line that long after run_start."""
    return (20 + second, "tracked_stats", ({}, {"samples_count": second * per_second}))


LINES = tuple(trained(second) for second in range(5, 86, 5))


def decision(seen, now, *attempts, measure=BOX, **spec):
    run = ex.run(ex.status(*attempts or (attempt(),)), measure=measure, **spec)
    return decide(run, seen, ROUNDS, T0 + now)


def state(made):
    one = made.status.attempts[0]
    return str(one.state), one.reason, one.samples_per_second


def test_an_attempt_ends_at_the_first_line_after_its_time():
    before = decision(observed(PODS, log(START, *LINES)), 109)
    assert state(before) == ("Training", None, None)
    assert before.wake_at == T0 + 110
    after = decision(observed(PODS, log(START, *LINES, trained(90))), 111)
    assert state(after) == ("Measured", "RateMeasured", "100")
    assert after.status.attempts[0].message == "100 samples per second, over 60 s of training"
    assert after.status.attempts[0].time_to_train_seconds is None
    assert after.actions == (StoreAttempt(after.status.attempts[0], concluding=True),), "its Job is still needed"


def test_its_job_is_deleted_once_the_status_says_that_it_is_stored():
    done = attempt(1, AttemptState.MEASURED, reason="RateMeasured", samples_per_second="100", stored=True)
    made = decision(observed(PODS, log(START), recorded=recorded(done), stored=frozenset({FIRST})), 120, done)
    assert made.actions == (DeleteJob(FIRST),)


def test_a_log_that_is_late_is_read_again_and_nothing_is_concluded_from_it():
    late = decision(observed(PODS, log(START, *LINES, known=100)), 130)
    assert (state(late), late.actions) == (("Training", None, None), (ReadLog(FIRST),))
    read = decision(observed(PODS, log(START, *LINES, known=129)), 130)
    assert (state(read), read.actions, read.wake_at) == (("Training", None, None), (), T0 + 135)


def test_samples_end_it_too():
    box = {"warmup": "30s", "samples": 3000}
    assert state(decision(observed(PODS, log(START, *LINES[:11])), 80, measure=box)) == ("Training", None, None)
    assert state(decision(observed(PODS, log(START, *LINES[:12])), 80, measure=box))[::2] == ("Measured", "100")


@pytest.mark.parametrize("job", [None, ex.job(ended(0, 137), ended(1, 137), finished="Failed"), replace(PODS, suspended=True)],
                         ids=["its Job is gone", "it was killed", "a queue took it back"])  # fmt: skip
def test_what_happens_after_its_time_does_not_matter(job):
    seen = observed({FIRST: job} if job else {}, log(START, *LINES, trained(90), whole=True))
    assert state(decision(seen, 300, queueName="gpus"))[::2] == ("Measured", "100")


def test_a_program_that_reaches_its_target_first_is_measured_until_then():
    seen = observed(ex.job(ended(0), ended(1)), log(START, *LINES[:10], BAD, SUCCESS, whole=True))
    done = decision(seen, 110).status.attempts[0]
    assert (str(done.state), done.samples_per_second, done.quality) == ("Measured", "100", "0.55")
    assert done.message.endswith("the program ended before spec.measure was over")


def test_it_has_no_time_to_train_while_its_containers_stop():
    stopping = decision(observed(PODS, log(START, *LINES[:10], BAD, SUCCESS)), 85).status.attempts[0]
    assert (str(stopping.state), stopping.time_to_train_seconds) == ("Training", None)


@pytest.mark.parametrize(
    ("lines", "code", "expected"),
    [
        ((START, *LINES[:3], SUCCESS), 0, ("Failed", "RateUnknown")),
        ((START, *LINES[:9]), 0, ("Failed", "RateUnknown")),
        ((START, *LINES[:9]), 1, ("NotConverged", "ProgramExited")),
        ((), 0, ("Failed", "NoMLPerfLog")),
        ((LINES[0],), 0, ("Invalid", "RunStartMissing")),
    ],
    ids=["during the warm-up", "without run_stop", "with an error", "without lines", "without run_start"],
)
def test_a_program_that_ends_too_early_has_no_rate(lines, code, expected):
    job = ex.job(ended(0, code), ended(1, code), finished="" if code == 0 else "Failed")
    made = decision(observed(job, log(*lines, whole=True)), 500)
    assert state(made) == (*expected, None)
    assert not any(isinstance(action, CreateJob) for action in made.actions), "it would do the same again"


def test_one_that_never_says_what_it_trained_ends_at_the_deadline():
    hung = decision(observed(PODS, log(START)), 3621)
    assert state(hung)[:2] == ("NotConverged", "RunDeadlineExceeded")
    assert "the end of spec.measure was not reached within 1h" in hung.status.attempts[0].message


def measured(index, rate):
    return attempt(index, AttemptState.MEASURED, reason="RateMeasured", samples_per_second=rate, stored=True)


def test_the_score_is_the_geometric_mean_of_the_rates_and_never_a_time():
    tries = [measured(1, "90"), measured(2, "100"), measured(3, "111.111")]
    result = decision(observed(recorded=recorded(*tries)), 900, *tries, attempts=None, quality=None)
    (store,) = [action for action in result.actions if isinstance(action, StoreResult)]
    score = store.score
    assert (score.rate.samples_per_second, score.rate.per_accelerator, score.time_to_train_minutes) == (
        "100",
        None,
        None,
    )
    assert (score.valid, score.official, store.outcome) == (True, False, "Complete")
    assert score.reasons == ("not official: spec.measure asks for the rate, not for the time to train",)
    done = decision(
        observed(recorded=recorded(*tries), sealed=store, result=STORED), 901, *tries, attempts=None, quality=None
    )
    assert done.status.end.message == "rate 100 samples per second"


def test_a_system_with_accelerators_has_a_rate_for_each():
    system = {"name": "gpus", "nodes": 2, "acceleratorsPerNode": 4}
    result = decision(observed(recorded=recorded(measured(1, "800"))), 900, measured(1, "800"), system=system)
    assert result.actions[-1].score.rate.per_accelerator == "100"


def test_an_attempt_without_a_rate_makes_the_score_invalid():
    tries = [measured(1, "90"), attempt(2, AttemptState.NOT_CONVERGED, reason="ProgramExited", stored=True)]
    result = decision(observed(recorded=recorded(*tries)), 900, *tries, attempts=2)
    score = result.actions[-1].score
    assert (score.valid, score.rate, score.reasons[0]) == (False, None, "invalid: attempt 2 has no rate")


@pytest.mark.parametrize("measure", [{}, {"warmup": "1m"}, {"duration": "1m", "samples": 5}])
def test_it_has_one_end(measure):
    with pytest.raises(ValueError, match="set either duration or samples"):
        BenchmarkRunSpec.model_validate({**ex.spec().model_dump(by_alias=True, exclude_unset=True), "measure": measure})
