"""Small logs and their verdicts: every row goes through every command and the operator, and all have to agree."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from podium.api import AttemptState, Reason
from podium.cli.main import app
from podium.mllog import LogSummary, parse, summarize
from podium.reconcile import ObservedLog, decide
from podium.rounds import load_rounds
from podium.rules import goal_for, goal_of_log, judge
from tests.unit.cli.logs import mll, mllog
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()
T0 = 1_560_000_000  # of the logs of tests/unit/cli/logs.py


@dataclass(frozen=True)
class Row:
    """Lines are (seconds, key, value, metadata) or texts; `rules` are those of the findings."""

    lines: list[Any]
    reason: Reason
    rules: tuple[str, ...] = ()
    of: str = "v0.6 resnet"

    @property
    def round(self) -> str:
        return self.of.split()[0]

    @property
    def benchmark(self) -> str:
        return self.of.split()[1]

    @property
    def texts(self) -> list[str]:
        line = mll if self.round == "v0.6" else mllog
        return [e if isinstance(e, str) else line(e[1], e[2], e[0], **(e[3] if len(e) > 3 else {})) for e in self.lines]


def evaluated(quality: Any, at: float = 60, epoch: int = 1) -> tuple[Any, ...]:
    return (at, "eval_accuracy", quality, {"epoch_num": epoch})


def stop(status: str | None = "success", at: float = 61) -> tuple[Any, ...]:
    return (at, "run_stop", None, {"status": status} if status else {})


START = (20, "run_start", None)
GOOD, BAD = evaluated(0.76), evaluated(0.75)
LOSS, MINIGO, NO_TARGET = "v3.1 gpt3", "v0.6 minigo", "v6.1 novel"


def init(seconds: float) -> list[Any]:
    return [(10 - seconds, "init_start", None), (10, "init_stop", None)]


ROWS = {
    "converged": Row([*init(5), START, GOOD, stop()], Reason.TARGET_REACHED),
    "converged, without a status": Row([START, GOOD, stop(None)], Reason.TARGET_REACHED),
    "converged at the second evaluation": Row(
        [START, evaluated(0.7, 50), evaluated(0.76, 60, 2), stop()], Reason.TARGET_REACHED),
    "below the target": Row([START, BAD, stop("aborted")], Reason.QUALITY_NOT_REACHED, ("log.quality",)),
    "below the target, claims success": Row([START, BAD, stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",)),
    "above the target, gave up": Row([START, GOOD, stop("aborted")], Reason.RUN_ABORTED, ("log.run_stop.status",)),
    "no evaluation": Row([START, stop("aborted")], Reason.QUALITY_NOT_REACHED, ("log.quality",)),
    "no evaluation, claims success": Row([START, stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",)),
    "an accuracy that is not a number": Row(
        [START, evaluated("NaN"), stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",)),
    "an accuracy of 1.7": Row([START, evaluated(1.7), stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",)),
    # a loss, which has to fall
    "a loss below the target": Row([START, evaluated(2.5), stop()], Reason.TARGET_REACHED, of=LOSS),
    "a loss above the target": Row(
        [START, evaluated(7.5), stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",), of=LOSS),
    "a loss of NaN": Row(
        [START, evaluated("NaN"), stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",), of=LOSS),
    "a loss of -1": Row([START, evaluated(-1.0), stop()], Reason.QUALITY_NOT_REACHED, ("log.quality.claim",), of=LOSS),
    "one evaluation of NaN, and one that passes": Row(
        [START, evaluated("NaN", 50), evaluated(0.76, 60, 2), stop()],
        Reason.TARGET_REACHED, ("log.evaluation.value",)),
    "one evaluation of 1.7, and one that passes": Row(
        [START, evaluated(1.7, 50), evaluated(0.76, 60, 2), stop()], Reason.TARGET_REACHED, ("log.evaluation.value",)),
    "two results of one evaluation": Row(
        [START, evaluated(0.7, 50), GOOD, stop()], Reason.TARGET_REACHED, ("log.evaluation.repeated",)),
    "one result, logged twice": Row([START, GOOD, GOOD, stop()], Reason.TARGET_REACHED),
    # the clock
    "no run_start": Row([GOOD, stop()], Reason.RUN_START_MISSING, ("log.run_start.missing",)),
    "no run_stop": Row([START, GOOD], Reason.RUN_STOP_MISSING, ("log.run_stop.missing",)),
    "run_stop stamped before run_start": Row(
        [START, GOOD, stop(at=10)], Reason.CLOCK_INVALID, ("log.clock.backwards",)),
    "an extra run_stop before run_start": Row(
        [stop(at=5), START, GOOD, stop()], Reason.CLOCK_INVALID, ("log.clock.backwards", "log.run_stop.repeated")),
    "an extra run_stop before the evaluation": Row(
        [START, stop(at=40), GOOD, stop()], Reason.TARGET_REACHED, ("log.run_stop.repeated",)),
    "run_stop half a second before the evaluation that passes": Row(
        [START, GOOD, stop(at=59.5)], Reason.TARGET_REACHED),
    "run_stop before the evaluation that passes": Row(
        [START, GOOD, stop(at=59.4)], Reason.CLOCK_INVALID, ("log.clock.stop",)),
    "run_stop before the evaluation that passes, in a later round": Row(
        [START, evaluated(2.5), stop(at=21)], Reason.CLOCK_INVALID, ("log.clock.stop",), of=LOSS),
    "training half a second before run_start": Row(
        [(19.5, "epoch_start", None, {"epoch_num": 1}), START, GOOD, stop()], Reason.TARGET_REACHED),
    "training before run_start": Row(
        [(19.4, "epoch_start", None, {"epoch_num": 1}), START, GOOD, stop()],
        Reason.CLOCK_INVALID, ("log.clock.start",)),
    "a block before run_start, in a later line": Row(
        [START, (10, "block_start", None, {"first_epoch_num": 1}), GOOD, stop()],
        Reason.CLOCK_INVALID, ("log.clock.start",)),
    "run_start of two ranks": Row(
        [START, (20.5, "run_start", None), GOOD, stop()], Reason.TARGET_REACHED, ("log.run_start.repeated",)),
    "a run that died, and another one": Row(
        [*init(5), START, BAD, (70, "init_start", None), (80, "init_stop", None), (90, "run_start", None),
         evaluated(0.76, 100), stop(at=101)], Reason.TARGET_REACHED, ("log.run_start.repeated",)),
    "a good run, and another one that missed the target": Row(
        [START, GOOD, stop(), (90, "run_start", None), evaluated(0.7, 100), stop("aborted", 101)],
        Reason.QUALITY_NOT_REACHED, ("log.quality", "log.run_start.repeated")),
    "run_start again in the middle of a run": Row(
        [START, BAD, (70, "run_start", None), evaluated(0.76, 80, 2), stop(at=81)],
        Reason.TARGET_REACHED, ("log.run_start.repeated",)),
    # initialization: less than 20 minutes in v0.6, less than 30 since v1.0
    "1,199 s of initialization": Row([*init(1199), START, GOOD, stop()], Reason.TARGET_REACHED),
    "1,200 s of initialization": Row([*init(1200), START, GOOD, stop()], Reason.INIT_TOO_LONG, ("log.init.cap",)),
    "1,500 s of initialization": Row([*init(1500), START, GOOD, stop()], Reason.INIT_TOO_LONG, ("log.init.cap",)),
    "1,500 s of initialization in v3.1": Row(
        [*init(1500), START, evaluated(2.5), stop()], Reason.TARGET_REACHED, of=LOSS),
    "initialization without an end": Row(
        [(-1500, "init_start", None), START, GOOD, stop()], Reason.INIT_TOO_LONG, ("log.init.cap",)),
    # v0.6 MiniGo is evaluated after the clock, as later rounds' is
    "an evaluation after the clock": Row(
        [START, evaluated(0.52, 90), stop()], Reason.TARGET_REACHED, of="v1.0 minigo"),
    "a model passed": Row(
        [START, evaluated(0.52), (99, "eval_result", None, {"timestamp": 41.5})], Reason.TARGET_REACHED, of=MINIGO),
    "a model passed, without evaluations": Row(
        [START, (99, "eval_result", None, {"timestamp": 41.5})], Reason.TARGET_REACHED, of=MINIGO),
    "a model passed that was evaluated below the target": Row(
        [START, evaluated(0.4), (99, "eval_result", None, {"timestamp": 41.5})],
        Reason.QUALITY_NOT_REACHED, ("log.quality",), of=MINIGO),
    "no model passed": Row([START, evaluated(0.4), (99, "eval_result", None, {"timestamp": 0})],
                           Reason.EVAL_RESULT_MISSING, ("log.eval_result.missing",), of=MINIGO),
    "no eval_result": Row([START, evaluated(0.52), stop()],
                          Reason.EVAL_RESULT_MISSING, ("log.eval_result.missing",), of=MINIGO),
    # where no target is known, run_stop is believed
    "no known target": Row([START, evaluated(0.8), stop()], Reason.TARGET_REACHED, of=NO_TARGET),
    "no known target, without evaluations": Row([START, stop()], Reason.TARGET_REACHED, of=NO_TARGET),
    "no known target, gave up": Row(
        [START, evaluated(0.8), stop("aborted")], Reason.RUN_ABORTED, ("log.run_stop.status",), of=NO_TARGET),
    # other
    "a log of another benchmark": Row(
        [(-5, "submission_benchmark", "ssd"), START, GOOD, stop()], Reason.BENCHMARK_MISMATCH, ("log.benchmark",)),
    "an alias of the benchmark": Row(
        [(-5, "submission_benchmark", "nmt"), START, evaluated(24.5), stop()], Reason.TARGET_REACHED, of="v0.6 gnmt"),
    "a torn last line": Row([START, GOOD, ":::MLL 1560000061.0 run_st"], Reason.RUN_STOP_MISSING,
                            ("log.run_stop.missing",)),
    "no MLPerf line": Row(["Traceback (most recent call last):"], Reason.NO_MLPERF_LOG, ("log.empty",)),
}  # fmt: skip
ALL = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
RUN = {name: row for name, row in ROWS.items() if row.of != NO_TARGET}  # every admitted run has a target


def summary(row: Row) -> LogSummary:
    return summarize(parse(row.texts)[0])


def spec_of(row: Row) -> dict[str, Any]:
    return {
        "round": row.round,
        "benchmark": row.benchmark,
        "division": "closed",
        "preset": "full",
        "quality": None,
        "data": {"persistentVolumeClaim": {"claimName": "data"}},
        "system": {"name": "box", "nodes": 2, "acceleratorsPerNode": 8},
        "template": {"image": "registry.example/own:1"},
    }


def podium(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return json.loads(done.stdout)


@pytest.fixture
def place(row: Row, tmp_path: Path) -> Path:
    folder = tmp_path / f"{row.round}/acme/box/{row.benchmark}"
    folder.mkdir(parents=True)
    (folder / "result_0.txt").write_text("\n".join(row.texts) + "\n")
    return tmp_path


@ALL
def test_the_judge(row: Row) -> None:
    verdict = judge(summary(row), goal_for(ex.spec(**spec_of(row)), ROUNDS))
    assert (verdict.state, verdict.reason) == (row.reason.state, row.reason)
    assert verdict.converged is (row.reason.state is AttemptState.CONVERGED)
    assert tuple(finding.rule for finding in verdict.findings) == row.rules
    assert all(finding.message and finding.remedy for finding in verdict.findings)


def test_an_evaluation_that_is_not_a_number_is_pointed_at() -> None:
    goal = goal_for(ex.spec(**spec_of(CONVERGED)), ROUNDS)
    row = Row([START, *[evaluated("NaN")] * 3, stop()], Reason.QUALITY_NOT_REACHED)
    verdict = judge(summary(row), goal)
    assert (verdict.message, verdict.findings[0].line) == (
        "3 evaluations, none of which is a number, target 0.759, although run_stop says success",
        4,
    )
    verdict = judge(summary(Row([START, stop()], Reason.QUALITY_NOT_REACHED)), goal)
    assert (verdict.message, verdict.findings[0].line) == (
        "no evaluation, target 0.759, although run_stop says success",
        None,
    )


def test_only_a_program_that_starts_again_starts_the_clock_again() -> None:
    goal, again = goal_for(ex.spec(**spec_of(CONVERGED)), ROUNDS), (90, "run_start", None)
    end = [evaluated(0.76, 100), stop(at=101)]
    for between, time in (([], 81), ([(80, "init_start", None)], 11), ([stop("aborted", 80)], 11)):
        assert judge(summary(Row([START, BAD, *between, again, *end], Reason.TARGET_REACHED)), goal).seconds == time


def test_an_invalid_run_has_a_time_only_where_all_but_its_initialization_was_right() -> None:
    rows = {
        "too long": (Row([*init(1500), START, GOOD, stop()], Reason.INIT_TOO_LONG), 41),
        "and below the target": (Row([*init(1500), START, BAD, stop()], Reason.INIT_TOO_LONG), None),
        "and given up": (Row([*init(1500), START, GOOD, stop("aborted")], Reason.INIT_TOO_LONG), None),
        "a wrong clock": (Row([stop(at=5), START, GOOD, stop()], Reason.CLOCK_INVALID), None),
    }
    for name, (row, time) in rows.items():
        verdict = judge(summary(row), goal_for(ex.spec(**spec_of(row)), ROUNDS))
        assert (verdict.reason, verdict.seconds, verdict.keeps_place) == (row.reason, time, time is not None), name


def test_only_a_run_that_broke_a_rule_needs_to_keep_its_place() -> None:
    """A run that did not converge was timed, and still has no time that counts."""
    for lines in ([START, GOOD, stop()], [START, BAD, stop("aborted")]):
        verdict = judge(summary(Row(lines, Reason.TARGET_REACHED)), goal_for(ex.spec(**spec_of(CONVERGED)), ROUNDS))
        assert (verdict.seconds, verdict.keeps_place) == (41, False)


CLAIMED = "quality 0.75, target 0.759, although run_stop says success"
CLAIM = "log the status success only when the target is reached"
TWICE = "2 run_stop lines; the latest one counts; log it from global rank 0 only, and keep each attempt in its own file"
TEXTS = {
    "converged": ([START, GOOD, stop()], "quality 0.76, target 0.759"),
    "without a status": ([START, BAD, stop(None)], "quality 0.75, target 0.759"),
    "gave up": ([START, BAD, stop("aborted")], "quality 0.75, target 0.759; run_stop says 'aborted'"),
    "gave up above the target": (
        [START, GOOD, stop("aborted")], "run_stop says 'aborted' although the target was reached"
    ),
    "not one number": (
        [START, evaluated("NaN"), stop("aborted")],
        "1 evaluation, which is not a number, target 0.759; run_stop says 'aborted'",
    ),
    "not two numbers": (
        [START, evaluated("NaN"), evaluated("inf"), stop("aborted")],
        "2 evaluations, none of which is a number, target 0.759; run_stop says 'aborted'",
    ),
    # a breach is named with its remedy, and the cause only once
    "claimed success": ([START, BAD, stop()], f"{CLAIMED}; {CLAIM}"),
    "converged, with a breach": ([START, GOOD, stop(), stop()], f"quality 0.76, target 0.759; {TWICE}"),
    "gave up, with a breach": (
        [START, BAD, stop(), stop("aborted")], f"quality 0.75, target 0.759; run_stop says 'aborted'; {TWICE}"
    ),
    "claimed success, with another breach": ([START, BAD, stop(), stop()], f"{CLAIMED}; {CLAIM}; {TWICE}"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "text"), TEXTS.values(), ids=TEXTS)
def test_what_a_status_says_of_an_attempt(lines: list[Any], text: str) -> None:
    goal = goal_for(ex.spec(**spec_of(CONVERGED)), ROUNDS)
    assert judge(summary(Row(lines, Reason.TARGET_REACHED)), goal).text == text


def test_where_no_target_is_known_giving_up_contradicts_nothing() -> None:
    goal = goal_of_log("novel", ROUNDS["v0.6"].benchmarks["resnet"].model_copy(update={"quality": ()}), None, "closed")
    lines = [START, GOOD, stop("aborted")]
    assert judge(summary(Row(lines, Reason.RUN_ABORTED)), goal).message == "run_stop says 'aborted'"


@pytest.mark.parametrize("row", RUN.values(), ids=RUN)
def test_the_operator(row: Row) -> None:
    found = summary(row)
    start = (found.run_start or T0) - ex.T0 - 5
    containers = [ex.running(node, start) for node in (0, 1)]
    containers = [type(c)(c.name, c.node_index, c.started, ex.T0 + start + 500, exit_code=0) for c in containers]
    seen = ex.observed(ex.job(*containers, created=start - 5), ObservedLog(found, ended=True, known_until=T0))
    run = ex.run(ex.status(ex.attempt()), **spec_of(row))
    attempt = decide(run, seen, ROUNDS, T0 + 1000).status.attempts[0]
    assert (attempt.state, attempt.reason) == (row.reason.state, row.reason)


@ALL
def test_score(row: Row, place: Path) -> None:
    (entry,) = podium("score", place, "--json")
    assert entry["verdicts"] == {"0": {"state": row.reason.state, "reason": row.reason}}
    assert (entry["minutes"] is not None) is (row.reason.state is AttemptState.CONVERGED)


@ALL
def test_check(row: Row, place: Path) -> None:
    (log,) = podium("check", place, "--json")
    assert (log["state"], log["reason"]) == (row.reason.state, row.reason)
    rules = [finding["rule"] for finding in log["findings"]]
    assert [rules.count(rule) for rule in row.rules] == [1] * len(row.rules)
    clock = ("log.quality", "log.run_st", "log.clock", "log.init", "log.eval", "log.empty", "log.benchmark")
    assert {rule for rule in rules if rule.startswith(clock)} == set(row.rules)


@ALL
def test_review(row: Row, place: Path) -> None:
    document = podium("review", place, "--json")
    (entry,) = document["scores"]
    assert entry["verdicts"] == {"0": {"state": row.reason.state, "reason": row.reason}}
    rules = {finding["rule"] for finding in document["findings"]}
    named = (
        set(row.rules) if row.reason.state is not AttemptState.NOT_CONVERGED else {"log.quality.claim"} & set(row.rules)
    )
    assert named <= rules, rules
    converged = not any("did not converge" in f["message"] or "measured" in f["message"] for f in document["findings"])
    assert converged is (row.reason.state is AttemptState.CONVERGED)


@ALL
def test_report(row: Row, place: Path) -> None:
    (report,) = podium("report", place, "--json")
    (attempt,) = report["attempts"]
    assert (attempt["state"], attempt["reason"]) == (row.reason.state, row.reason)
    assert bool(attempt["cause"]) is (row.reason.state is not AttemptState.CONVERGED)


@ALL
def test_variance(row: Row, place: Path) -> None:
    (entry,) = podium("variance", place, "--json")
    assert entry["converged"] == int(row.reason.state is AttemptState.CONVERGED)


@pytest.mark.parametrize(
    ("division", "reason"),
    [("open", Reason.TARGET_REACHED), ("closed", Reason.INIT_TOO_LONG), ("research", Reason.INIT_TOO_LONG)],
)
def test_only_the_open_division_is_spared_the_closed_rules(division: str, reason: Reason, tmp_path: Path) -> None:
    row = Row([(-1495, "submission_division", division), *init(1500), START, GOOD, stop()], reason)
    (tmp_path / "v0.6/acme/box/resnet").mkdir(parents=True)
    (tmp_path / "v0.6/acme/box/resnet/result_0.txt").write_text("\n".join(row.texts) + "\n")
    (scored,), (checked,) = podium("score", tmp_path, "--json"), podium("check", tmp_path, "--json")
    assert scored["verdicts"]["0"]["reason"] == checked["reason"] == reason


# ---- what only the operator can know of an attempt stands in the result, and can only make it worse ----

CONVERGED, TORN = Row([START, GOOD, stop()], Reason.TARGET_REACHED), Row([START, BAD], Reason.RUN_STOP_MISSING)
STORED = {
    "ended by its deadline": (TORN, Reason.RUN_DEADLINE_EXCEEDED, Reason.RUN_DEADLINE_EXCEEDED),
    "a container failed": (TORN, Reason.PROGRAM_FAILED, Reason.PROGRAM_FAILED),
    "ended by a person": (TORN, Reason.SUSPENDED, Reason.SUSPENDED),
    "started before its container": (CONVERGED, Reason.CLOCK_INVALID, Reason.CLOCK_INVALID),
    "a container failed, and yet the log is whole": (CONVERGED, Reason.PROGRAM_FAILED, Reason.TARGET_REACHED),
    "a log that says the contrary": (CONVERGED, Reason.QUALITY_NOT_REACHED, Reason.TARGET_REACHED),
    "a better outcome than the log's": (TORN, Reason.TARGET_REACHED, Reason.RUN_STOP_MISSING),
    "a reason of another version": (TORN, "PodAbducted", Reason.RUN_STOP_MISSING),
    "no reason": (TORN, None, Reason.RUN_STOP_MISSING),
}


@pytest.mark.parametrize(("row", "stored", "reason"), STORED.values(), ids=STORED)
def test_a_result_of_podiums(row: Row, stored: str | None, reason: Reason, tmp_path: Path) -> None:
    (tmp_path / "attempts/001").mkdir(parents=True)
    (tmp_path / "attempts/001/result.txt").write_text("\n".join(row.texts) + "\n")
    tries = [{"index": 1, "try": 1, "reason": stored, "message": "as seen"}, {"index": 1, "try": 0, "reason": "Queued"}]
    document = {"round": "v0.6", "benchmark": "resnet", "division": "closed", "attempts": tries}
    (tmp_path / "result.json").write_text(json.dumps(document))
    (scored,), (checked,) = podium("score", tmp_path, "--json"), podium("check", tmp_path, "--json")
    (report,), reviewed = podium("report", tmp_path, "--json"), podium("review", tmp_path, "--json")
    expected = {"1": {"state": reason.state, "reason": reason}}
    assert (scored["verdicts"], reviewed["scores"][0]["verdicts"], report["verdicts"]) == (expected, expected, expected)
    assert (checked["state"], checked["reason"]) == (reason.state, reason)
    (attempt,) = report["attempts"]
    assert (attempt["state"], attempt["reason"], attempt["seconds"]) == (
        reason.state, reason, 41 if reason is Reason.TARGET_REACHED else None,
    )  # fmt: skip
    assert (attempt["cause"] == "as seen") is (reason == stored)
