"""What ``podium watch`` shows of a status."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from podium.api import AttemptState, BenchmarkRunStatus, Forecast, Score, TryId
from podium.cli.display import attempts_table
from podium.cli.times import duration
from podium.cli.watch.events import events
from podium.cli.watch.screen import attempt_ratio, heartbeat, run_seconds_left, screen
from podium.cli.watch.views import JsonView, ScreenView
from podium.reconcile import Refusal, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

NOTHING = BenchmarkRunStatus()
ROUNDS = load_rounds()
FIRST, SECOND = TryId(attempt=1, number=0), TryId(attempt=2, number=0)


def at(seconds):
    return datetime.fromtimestamp(ex.T0 + seconds, UTC).isoformat()


def decided(*attempts, now=90, jobs=None, logs=None, **observed):
    run = ex.run(ex.status(*attempts), attempts=5, suspend=observed.pop("suspend", False))
    return decide(run, ex.observed(jobs, logs, **observed), ROUNDS, ex.T0 + now).status


def training(quality=0.55, epoch=3):
    """Attempt 1 took from 0 to 60 s, in two tries; attempt 2 has 20,000 of 600,000 samples after 30 s."""
    tries = [
        ex.attempt(1, AttemptState.FAILED, reason="PodLost", message="pod digits-1-0-1: Deleted", created_time=at(0)),
        ex.converged(1, 40).model_copy(update={"try_": 1, "created_time": at(10)}),
        ex.attempt(2, created_time=at(60)),
    ]
    log = ex.log(
        (61, "train_samples", 60_000),
        (62, "run_start", (None, {"max_epochs": 10})),
        (80, "tracked_stats", ({"throughput": 2000.0}, {"samples_count": 20_000})),
        (82, "eval_accuracy", (quality, {"epoch_num": epoch})),
    )
    return decided(*tries, jobs={SECOND: ex.job(ex.running(0), ex.running(1), created=60)}, logs={SECOND: log})


def text(renderable, width=100):
    out = Console(width=width, file=io.StringIO(), highlight=False)
    out.print(renderable)
    return out.file.getvalue()


def test_the_first_look_lists_everything_so_far():
    assert events(NOTHING, training()) == [
        "attempt 1: created with seed 7",
        "attempt 1: Failed: PodLost: pod digits-1-0-1: Deleted",
        "attempt 1 (retry 1): created with seed 7",
        "attempt 1 (retry 1): epoch 3: quality 0.95 of 0.9",
        "attempt 1 (retry 1): Converged after 40.00 s: TargetReached",
        "attempt 2: created with seed 7",
        "attempt 2: epoch 3: quality 0.55 of 0.9",
        "attempt 2: Training",
    ]


def test_later_looks_list_what_is_new():
    assert events(training(), training()) == []
    assert events(training(), training(quality=0.7, epoch=4)) == ["attempt 2: epoch 4: quality 0.7 of 0.9"]


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (
            decided(ex.attempt(), jobs=ex.job(ex.waiting(0, "ErrImagePull", "no such image"))),
            "attempt 1: Pending: Pending: pod digits-1-0-0: ErrImagePull: no such image",
        ),
        (
            decided(launch_refusal=Refusal("exceeded quota", ex.T0, final=False)),
            "Running: LaunchRefused: exceeded quota",
        ),
        (decided(suspend=True), "Suspended: Suspended"),
        (
            decided(*[ex.converged(i, 40, stored=False) for i in range(1, 6)], store_error="no bucket"),
            "ResultStored: StoreUnavailable: no bucket",
        ),
        (
            decided(launch_refusal=Refusal("forbidden", ex.T0, final=True)),
            "Failed: LaunchRefused: forbidden",
        ),
    ],
)
def test_what_holds_a_run_up_is_shown_with_its_reason(after, line):
    assert line in events(NOTHING, after)


def test_the_screen_has_a_bar_for_attempts_time_and_quality():
    run = ex.run(training(), attempts=5)
    seen = text(screen(run, ["the latest"], ex.T0 + 90, "Connection refused"))
    for words in (
        "digits: v0.6 resnet, open division, target 0.9",
        "1 of 5  about 3 min 30 s left",  # 60 s an attempt, 4 to go, 30 s of them gone
        "Training for 28 s  epoch 3  2000 samples/s",
        "0.55 of 0.9",
        "PodLost",
        "the latest",
        "the API server does not answer, retrying: Connection refused",
    ):
        assert words in seen, seen
    assert "left" in text(screen(run, [], ex.T0 + 10_000)), "the later attempts still take their time"


def quality_bar(targets, values):
    """The characters of the bar of a custom image's benchmark, of 24, and the text behind it."""
    spec = {**targets, "division": "closed", "preset": "full", "quality": None, "template": {"image": "own:1"}}
    spec |= {
        "data": {"persistentVolumeClaim": {"claimName": "data"}},
        "system": {"name": "box", "nodes": 2, "acceleratorsPerNode": 8},
    }
    lines = [(20 + i, "eval_accuracy", (value, {"epoch_num": i + 1})) for i, value in enumerate(values)]
    seen = ex.observed(ex.job(ex.running(0), ex.running(1)), ex.log((10, "run_start", None), *lines))
    run = ex.run(ex.status(ex.attempt(created_time=at(0))), **spec)
    run = replace(run, status=decide(run, seen, load_rounds(), ex.T0 + 90).status)
    line = next(line for line in text(screen(run, [], ex.T0 + 90)).splitlines() if line.startswith("quality"))
    return line.count("\N{BOX DRAWINGS HEAVY HORIZONTAL}"), line.split("\N{BOX DRAWINGS HEAVY HORIZONTAL}")[-1].strip()


def test_the_bar_of_the_quality_grows_towards_the_target():
    accuracy, loss = {"round": "v0.6", "benchmark": "resnet"}, {"round": "v3.1", "benchmark": "gpt3"}
    assert quality_bar(accuracy, [0.3, 0.3795]) == (12, "0.3795 of 0.759")
    assert quality_bar(loss, [7.5, 6, 5.095]) == (12, "5.095 of 2.69"), "a loss falls from its first evaluation"
    assert quality_bar(loss, [7.5, 2.5]) == (24, "2.5 of 2.69")


def test_while_a_first_attempt_initializes_its_time_runs():
    status = decided(ex.attempt(created_time=at(0)), jobs=ex.job(ex.running(0), ex.running(1)))
    seen = text(screen(ex.run(status, attempts=5), [], ex.T0 + 75))
    assert "Initializing for 1 min 15 s" in seen
    assert "left" not in seen, "nothing is known yet"


def test_the_first_attempt_has_the_time_that_its_epochs_take_at_most():
    log = ex.log(
        (61, "train_samples", 60_000),
        (62, "run_start", (None, {"max_epochs": 10})),
        (80, "tracked_stats", ({"throughput": 2000.0}, {"samples_count": 20_000})),
    )
    first = TryId(attempt=1, number=0)
    jobs = {first: ex.job(ex.running(0), ex.running(1), created=60)}
    status = decided(ex.attempt(created_time=at(60)), jobs=jobs, logs={first: log})
    assert "Training for 28 s  2000 samples/s  at most 4 min 40 s left" in text(
        screen(ex.run(status, attempts=5), [], ex.T0 + 90)
    )
    assert attempt_ratio(status, ex.T0 + 90) == pytest.approx(28 / 308)
    assert attempt_ratio(status, ex.T0 + 10_000) == 0.99, "not over before it has ended"


def test_bars_are_cyan_and_green_never_red():
    out = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False)
    out.print(screen(ex.run(training(quality=0.9), attempts=5), [], ex.T0 + 90))
    colors = re.findall(r"\x1b\[([\d;]+)m[━╸╺]", out.file.getvalue())
    assert {"36", "32"} <= set(colors), "what is over; a target that is reached"
    assert not {color for color in colors if color.startswith(("31", "38;2;249"))}, colors


def test_of_a_hundred_attempts_the_screen_shows_the_last():
    run = ex.run(ex.status(*[ex.converged(i, 40) for i in range(1, 101)]), attempts=100)
    seen = text(screen(run, [], ex.T0))
    assert ("\n89 " in seen, "\n88 " in seen, len(seen.splitlines()) < 24) == (True, False, True)


SCORE = Score(valid=True, official=True, dropped=(1, 5))


def test_the_table_fits_80_columns_and_marks_the_tries_that_counted():
    tries = [ex.converged(i, 40).model_copy(update={"seed": 2**31 - i}) for i in range(1, 6)]
    tries[0] = tries[0].model_copy(update={"try_": 1})
    tries.insert(0, ex.attempt(1, AttemptState.FAILED, reason="PodLost"))
    seen = text(attempts_table(ex.run(ex.status(*tries), attempts=5), SCORE), 80).splitlines()
    assert [line.rstrip() for line in seen[2:5]] == [
        "1          7           Failed                               PodLost",
        "1 retry 1  2147483647  Converged       3     0.95  40.00 s  dropped: fastest",
        "2          2147483646  Converged       3     0.95  40.00 s",
    ]
    assert seen[7].endswith("dropped: slowest")


def test_a_run_without_a_status_waits_for_the_operator():
    assert "waiting for the operator" in text(screen(ex.run(), [], ex.T0))


def test_what_is_left_is_estimated_from_the_attempts_before():
    assert attempt_ratio(training(), ex.T0 + 90) == 0.5, "60 s an attempt"
    assert attempt_ratio(training(), ex.T0 + 500) == 0.99
    assert run_seconds_left(training(), ex.T0 + 100) == 4 * 60 - 40
    assert run_seconds_left(training(), ex.T0 + 500) == 3 * 60, "one that is late does not use up the others' time"
    assert run_seconds_left(decided(ex.attempt(created_time=at(0))), ex.T0) is None
    assert [duration(s) for s in (9.6, 95, 3700)] == ["10 s", "1 min 35 s", "1 h 1 min"]


def test_elsewhere_than_on_a_terminal_a_line_a_minute_says_that_it_goes_on():
    status = training()
    assert heartbeat(status, ex.T0 + 90) == (
        "attempt 2: Training for 28 s, quality 0.55 of 0.9, epoch 3, 2000 samples/s, about 3 min 30 s left for the run"
    )
    assert heartbeat(NOTHING, ex.T0) == ""


def test_an_outage_is_reported_once_and_so_is_its_end(capsys):
    out = Console(file=io.StringIO(), width=200, highlight=False)
    with ScreenView(out) as view:
        view.changed(ex.run(training(), attempts=5))
        view.note("Connection refused", outage=True)
        view.note("Connection refused", outage=True)
        view.changed(ex.run(training(), attempts=5))
        view.line(SECOND, ":::MLLOG {}")
    lines = out.file.getvalue().splitlines()
    assert lines[-3:] == [
        "the API server does not answer, retrying: Connection refused",
        "the API server responds again",
        "attempt 2 | :::MLLOG {}",
    ]


def test_on_a_terminal_the_screen_is_drawn_anew_and_log_lines_stay():
    out = Console(file=io.StringIO(), width=100, force_terminal=True, highlight=False)
    with ScreenView(out) as view:
        view.changed(ex.run(training(), attempts=5))
        view.tick()
        view.line(SECOND, "epoch 3 done")
        view.tick()
    drawn = out.file.getvalue()
    assert drawn.count("0.55 of 0.9") >= 2
    assert "attempt 2 | epoch 3 done" in drawn


def test_a_program_gets_documents(capsys):
    view = JsonView()
    view.changed(ex.run(training(), attempts=5))
    view.line(SECOND, "hello")
    view.note("reset", outage=True)
    status, line, outage = capsys.readouterr().out.splitlines()
    assert '"event": "status", "namespace": "lab", "name": "digits"' in status
    assert line == '{"event": "log", "attempt": 2, "try": 0, "line": "hello"}'
    assert outage == '{"event": "outage", "message": "reset"}'


def test_of_several_attempts_at_a_time_the_one_that_has_come_furthest_is_shown():
    """Attempts 1 and 3 run, and 2 has ended; attempt 3 only waits for its pods."""
    tries = [
        ex.attempt(1, AttemptState.TRAINING, created_time=at(0), start_time=at(20)),
        ex.converged(2, 40).model_copy(update={"created_time": at(1)}),
        ex.attempt(3, created_time=at(70)),
    ]
    jobs = {id_: ex.job(ex.running(0), ex.running(1)) for id_ in (FIRST, TryId(attempt=3, number=0))}
    status = decided(*tries, jobs=jobs, logs={FIRST: ex.log((20, "run_start", None), ex.BAD)})
    seen = text(screen(ex.run(status, attempts=5, parallelAttempts=2), [], ex.T0 + 90))
    assert "1 of 5 " in seen, seen
    assert re.search(r"attempt 1 .* Training for 1 min 10 s  epoch 3  1 more in progress", seen), seen
    assert "left" not in seen, "no mean says when the run ends"
    assert (
        heartbeat(status, ex.T0 + 90)
        == "attempt 1: Training for 1 min 10 s, quality 0.55 of 0.9, epoch 3, 1 more in progress"
    )
    ended = ex.status(ex.converged(1, 40).model_copy(update={"created_time": at(0)}), *status.attempts[1:])
    last = ended.model_copy(update={"progress": status.progress})
    assert (run_seconds_left(last, ex.T0 + 90), attempt_ratio(last, ex.T0 + 90)) == (None, 0.0)


def test_the_forecast_is_a_line_and_on_the_screen():
    said = Forecast(probability="0.001", mean="2048", least="2960", attempts=3, likely_fails=True,
                    message="likely to fail the RCP check: mean samples 2,048, floor 2,960")  # fmt: skip
    run = training()
    forecast = run.model_copy(update={"forecast": said})
    assert events(run, forecast) == [f"forecast: {said.message}"]
    assert events(forecast, forecast) == []
    assert said.message in text(screen(ex.run(forecast), [], ex.T0 + 90))
