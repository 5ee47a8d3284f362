"""What Prometheus reads."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podium.api import BenchmarkRunStatus, Score, TryId
from podium.metrics import Metrics, finished_sample, operator, run_sample
from podium.rounds import load_rounds
from podium.rules import goal_for
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()
LOG = ex.log(
    (5, "train_samples", 1000),
    (20, "run_start", (None, {"max_epochs": 10})),
    (50, "tracked_stats", ({"throughput": 100.0, "energy_joules": 900.0}, {"epoch_num": 2, "samples_count": 2000})),
    (55, "eval_start", None),
    (58, "eval_stop", None),
    (60, "eval_accuracy", (0.55, {"epoch_num": 2})),
)
PODS = (ex.running(0), ex.running(1, started=12))
PRICED = {
    "pricing": {"perNodeHour": "36.00", "currency": "EUR"},
    "system": {"name": "dgx", "nodes": 2, "acceleratorsPerNode": 8},
}


def sample(run, now=70, containers=PODS, **observed):
    seen = ex.observed(ex.job(*containers), LOG, **observed)
    return run_sample(run, seen, goal_for(run.spec, ROUNDS), ex.T0 + now, containers)


def page(*runs, now=70):
    return asyncio.run(Metrics(lambda: [sample(run, now) for run in runs], lambda: 0).page()).decode()


def series(text):
    """(name, further label) -> value, of the run."""
    return {
        (s.name, *(v for k, v in s.labels.items() if k not in ("namespace", "run", "benchmark"))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.labels.get("run") == "digits" and s.name != "podium_run_info"
    }


TRAINING = ex.run(
    ex.status(ex.attempt(1, "Training", created_time="2023-11-14T22:13:22Z", energy_joules="900")), **PRICED
)  # ex.T0 is 22:13:20


def test_a_run_in_training():
    values = series(page(TRAINING))
    expected = {
        ("podium_run_attempt",): 1,
        ("podium_run_attempts_planned",): 1,
        ("podium_run_epoch",): 2,
        ("podium_run_samples_processed",): 2000,
        ("podium_run_samples_per_second",): 100,
        ("podium_run_progress_ratio",): 0.2,
        ("podium_run_elapsed_seconds",): 50,
        ("podium_run_eta_seconds",): 70,  # 8,000 samples at 100/s from second 60 on
        ("podium_run_quality", "top1"): 0.55,
        ("podium_run_quality_target", "top1"): 0.9,
        ("podium_run_attempts", "Training"): 1,
        ("podium_run_attempts", "Failed"): 0,
        ("podium_run_phase_seconds", "pending"): 10,  # created at 2, both pods run at 12
        ("podium_run_phase_seconds", "init"): 8,
        ("podium_run_phase_seconds", "train"): 47,
        ("podium_run_phase_seconds", "eval"): 3,
        ("podium_run_node_seconds",): 60 + 58,
        ("podium_run_accelerator_seconds",): 8 * 118,
        ("podium_run_cost", "EUR"): 1.18,  # a cent per node second
        ("podium_run_energy_joules",): 900,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("preempted", "free"), [(1, 1), (20, 20), (23, 22)])
def test_an_attempt_whose_machines_were_taken_has_not_failed(preempted, free):
    """Unless that ended it: after 20 times, each counts against spec.maxRetries."""
    made = {"state": "Failed", "created_time": "2023-11-14T22:13:22Z"}
    taken = [ex.attempt(1, try_=number, reason="Preempted", **made) for number in range(preempted)]
    lost = ex.attempt(2, reason="NodeLost", **made)
    values = series(page(ex.run(ex.status(*taken, lost), attempts=2, maxRetries=2)))
    counted = {name[1]: value for name, value in values.items() if name[0] == "podium_run_attempts" and value}
    assert counted == {"Preempted": free, "Failed": 1 + preempted - free}


def test_a_finished_run_keeps_the_time_of_each_attempt():
    values = series(page(ex.run(ex.status(ex.converged(1, 42.5), ex.converged(2, 40)), attempts=2)))
    assert values["podium_run_attempt_time_to_train_seconds", "1"] == 42.5
    assert values["podium_run_attempt_time_to_train_seconds", "2"] == 40


def test_the_series_go_with_the_run():
    assert 'run="digits"' in page(TRAINING)
    assert 'run="digits"' not in page()


def test_only_the_metrics_of_the_goal_are_exported():
    odd = 'say "bleu"'
    found = ex.observed(
        ex.job(*PODS),
        ex.log((20, "run_start", None), (60, "eval_accuracy", ({odd: 0.5, "top1": 0.7}, {"epoch_num": 1}))),
    )
    one = run_sample(TRAINING, found, goal_for(TRAINING.spec, ROUNDS), ex.T0 + 70, PODS)
    values = series(asyncio.run(Metrics(lambda: [one], lambda: 0).page()).decode())
    assert {name: value for name, value in values.items() if name[0] == "podium_run_quality"} == {
        ("podium_run_quality", "top1"): 0.7
    }


def test_of_a_run_that_ended_long_ago_only_the_score_is_left():
    scored = BenchmarkRunStatus(
        attempts=(ex.converged(1, 60),),
        conditions=({"type": "Complete", "status": "True", "reason": "Scored", "last_transition_time": ""},),
        score=Score(time_to_train_minutes="1.5", valid=True, official=True),
    )
    done = finished_sample(ex.run(scored))
    text = asyncio.run(Metrics(lambda: [done, sample(TRAINING)], lambda: 0).page()).decode()
    assert 'podium_run_time_to_train_seconds{namespace="lab",run="digits",benchmark="resnet"} 90.0\n' in text
    assert 'podium_runs{namespace="lab",benchmark="resnet",state="Complete"} 1\n' in text
    alone = asyncio.run(Metrics(lambda: [done], lambda: 0).page()).decode()
    assert alone.count('run="digits"') == 1


async def test_scrapes_share_a_page(monkeypatch):
    made = 0

    def samples():
        nonlocal made
        made += 1
        yield from [sample(TRAINING)] * 200

    metrics = Metrics(samples, lambda: 0)
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    pages = await asyncio.gather(*[metrics.page() for _ in range(5)])
    assert (made, len(set(pages))) == (1, 1)
    now += 0.9
    await metrics.page()
    assert made == 1
    now += 0.2
    await metrics.page()
    assert made == 2


async def test_a_scrape_that_is_given_up_does_not_spoil_the_page_of_others():
    metrics = Metrics(lambda: [sample(TRAINING)] * 200, lambda: 0)
    first, second = asyncio.create_task(metrics.page()), asyncio.create_task(metrics.page())
    await asyncio.sleep(0)
    first.cancel()
    assert b"podium_run_info" in await second


async def test_others_get_turns_while_a_page_is_made():
    metrics = Metrics(lambda: [sample(TRAINING)] * 5000, lambda: 0)
    making, turns = asyncio.create_task(metrics.page()), 0
    while not making.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 5000 / operator._BATCH


def test_a_quality_is_in_the_unit_of_its_target():
    run = ex.run(
        TRAINING.status, benchmark="gnmt", division="closed", preset="full", quality=None,
        system=PRICED["system"], data={"persistentVolumeClaim": {"claimName": "data"}},
    )  # fmt: skip
    found = ex.observed(ex.job(*PODS), ex.log((20, "run_start", None), (60, "eval_accuracy", (0.235, {}))))
    one = run_sample(run, found, goal_for(run.spec, ROUNDS), ex.T0 + 70, PODS)
    values = series(asyncio.run(Metrics(lambda: [one], lambda: 0).page()).decode())
    assert (values["podium_run_quality", "bleu"], values["podium_run_quality_target", "bleu"]) == (23.5, 24.0)


# ---- what waits to be stored ----

STORING = {"conditions": ({"type": "Running", "status": "False", "reason": "Storing", "last_transition_time": ""},)}


@pytest.mark.parametrize(
    ("stored", "conditions", "since"),
    [
        ((True, False), {}, 100),
        ((False, False), {}, 61),  # the end of the older one
        ((True, True), {}, None),
        ((True, True), STORING, 100),  # the files of the attempts are there, the result is not
    ],
)
def test_since_when_something_is_not_stored(stored, conditions, since):
    second = TryId(attempt=2, number=0)
    attempts = [ex.converged(i, 40, stored=done) for i, done in enumerate(stored, 1)]
    status = BenchmarkRunStatus.model_validate({"attempts": attempts, **conditions})
    observed = ex.observed(
        {second: ex.job(ex.ended(0, finished=90), ex.ended(1, finished=100))},
        {ex.FIRST: ex.log(ex.START, ex.GOOD, ex.SUCCESS)},  # the pods of the first are gone: its log tells its end
    )
    run = ex.run(status, attempts=2)
    found = run_sample(run, observed, goal_for(run.spec, ROUNDS), ex.T0 + 200).unstored_since
    assert found == (None if since is None else ex.T0 + since)


# ---- totals ----


@pytest.fixture
def metrics(monkeypatch):
    """Of an operator that leads since second 30."""
    monkeypatch.setattr("time.time", lambda: ex.T0 + 30)
    made = Metrics(list, lambda: 0)
    made.leads(leads=True)
    return made


def total(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


PLACE = {"namespace": "lab", "benchmark": "resnet"}


def test_accelerator_hours_and_cost_are_counted_while_pods_hold_them(metrics):
    run = ex.run(**PRICED)
    metrics.occupied(run, [], ex.T0 + 30)
    assert total(metrics, "podium_accelerator_seconds_total", accelerator="nvidia.com/gpu", **PLACE) == 0
    metrics.occupied(run, PODS, ex.T0 + 40)  # what was before second 30 is the earlier leader's
    assert total(metrics, "podium_node_seconds_total", **PLACE) == 20
    finished = (ex.ended(0, finished=50), ex.ended(1, finished=50))
    metrics.occupied(run, finished, ex.T0 + 60)
    metrics.occupied(run, finished, ex.T0 + 90)
    assert total(metrics, "podium_node_seconds_total", **PLACE) == 40
    assert total(metrics, "podium_accelerator_seconds_total", accelerator="nvidia.com/gpu", **PLACE) == 320
    assert total(metrics, "podium_cost_total", currency="EUR", **PLACE) == pytest.approx(0.4)
    metrics.gone(run)
    assert total(metrics, "podium_node_seconds_total", **PLACE) == 40


def test_an_end_that_is_reported_late_takes_nothing_back(metrics):
    run = ex.run(**PRICED)
    metrics.occupied(run, PODS, ex.T0 + 60)
    metrics.occupied(run, (ex.ended(0, finished=50), ex.ended(1, finished=50)), ex.T0 + 61)
    assert total(metrics, "podium_node_seconds_total", **PLACE) == 60


def test_ends_are_counted_once(metrics):
    before = ex.status(ex.attempt(1, "Training"))
    run = ex.run(ex.status(ex.converged(1, 41).model_copy(update={"energy_joules": "1200"})))
    seen = ex.observed(ex.job(ex.ended(0), ex.ended(1)), LOG)
    metrics.occupied(run, (), ex.T0 + 40)
    for state in ("Converged", "Failed"):
        assert total(metrics, "podium_attempts_finished_total", state=state, **PLACE) == 0
    for was in (before, run.status):
        metrics.moved(was, run, seen, ex.T0 + 100)
    assert total(metrics, "podium_attempts_finished_total", state="Converged", **PLACE) == 1
    assert total(metrics, "podium_energy_joules_total", **PLACE) == 1200
    name = "podium_attempt_phase_duration_seconds"
    assert total(metrics, f"{name}_count", benchmark="resnet", phase="init") == 1
    assert total(metrics, f"{name}_sum", benchmark="resnet", phase="train") == 77  # until the pods ended: no run_stop
    assert total(metrics, "podium_runs_finished_total", result="Complete", **PLACE) == 0


@pytest.mark.parametrize(
    ("condition", "result"), [(("Complete", "Scored"), "Complete"), (("Failed", "AttemptFailed"), "AttemptFailed")]
)
def test_a_run_that_ends(metrics, condition, result):
    kind, reason = condition
    condition = {"type": kind, "status": "True", "reason": reason, "last_transition_time": ""}
    run = ex.run(BenchmarkRunStatus.model_validate({"conditions": (condition,)}))
    metrics.moved(ex.status(), run, ex.observed(), ex.T0)
    metrics.gone(run)
    assert total(metrics, "podium_runs_finished_total", result=result, **PLACE) == 1
    assert total(metrics, "podium_runs_finished_total", result="Aborted", **PLACE) == 0


def test_a_run_that_is_deleted_before_its_end_is_aborted(metrics):
    metrics.gone(ex.run(deleted=True))
    assert total(metrics, "podium_runs_finished_total", result="Aborted", **PLACE) == 1


def lines(metrics):
    return [
        line for line in asyncio.run(metrics.page()).decode().splitlines() if not line.startswith(("#", "process_"))
    ]


def run_of(uid, *, namespace="lab", deleted=False, **spec):
    return replace(ex.run(deleted=deleted, **spec), uid=uid, namespace=namespace)


def test_thousands_of_deleted_runs_leave_nothing(metrics, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    before = lines(metrics)
    now += 10
    for number in range(1500):
        run = run_of(
            str(number), namespace=f"lab-{number % 7}", deleted=True, benchmark=f"mine-{number}",
            pricing={"perNodeHour": "36.00", "currency": "".join(chr(65 + number // 26**i % 26) for i in range(3))},
            system={"name": "x", "nodes": 1, "acceleratorsPerNode": 1, "acceleratorResource": f"a.b/c{number}"},
        )  # fmt: skip
        metrics.occupied(run, PODS, ex.T0 + 60)
        metrics.gone(run)
    assert 1000 < len(lines(metrics)) < 20_000
    assert metrics._counted == {}
    now += 1000
    assert lines(metrics) == before


def test_what_was_counted_last_can_still_be_read(metrics, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    metrics.gone(ex.run(deleted=True))
    now += 800
    assert any("podium_runs_finished_total" in line and line.endswith(" 1.0") for line in lines(metrics))


def test_series_that_another_run_has_stay(metrics, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    metrics.occupied(run_of("a", **PRICED), PODS, ex.T0 + 40)
    metrics.occupied(run_of("b"), PODS, ex.T0 + 40)
    metrics.forget("a")
    now += 1000
    found = lines(metrics)
    assert any("podium_node_seconds_total" in line for line in found)
    assert not any("podium_cost_total" in line for line in found)
    assert not any("podium_accelerator_seconds_total" in line for line in found)


def test_more_label_sets_than_anybody_needs_are_counted_as_one(metrics):
    for number in range(300):
        metrics.occupied(run_of(str(number), benchmark=f"mine-{number}", **PRICED), PODS, ex.T0 + 40)
    found = [line for line in lines(metrics) if line.startswith("podium_node_seconds_total")]
    assert len(found) == 201
    assert 'podium_node_seconds_total{benchmark="other",namespace="lab"} 2000.0' in found
    assert not any(line.startswith("podium_cost_total") and 'benchmark="other"' in line for line in lines(metrics))


def test_those_of_deleted_runs_make_room(metrics):
    for number in range(300):
        run = run_of(str(number), benchmark=f"mine-{number}")
        metrics.occupied(run, PODS, ex.T0 + 40)
        metrics.forget(run.uid)
    assert total(metrics, "podium_node_seconds_total", namespace="lab", benchmark="mine-299") == 20
    assert total(metrics, "podium_node_seconds_total", namespace="lab", benchmark="other") is None


def test_a_reason_that_nobody_knows_has_no_series_of_its_own(metrics):
    condition = {"type": "Failed", "status": "True", "reason": "Nonsense", "last_transition_time": ""}
    metrics.moved(
        ex.status(), ex.run(BenchmarkRunStatus.model_validate({"conditions": (condition,)})), ex.observed(), 0
    )
    assert total(metrics, "podium_runs_finished_total", result="Unknown", **PLACE) == 1


def test_a_watch_that_never_came_to_life_has_an_age(metrics):
    assert total(metrics, "podium_watch_last_event_timestamp_seconds", resource="jobs") == ex.T0 + 30
