"""Edited logs: each row changes an honest log in one way, and names what is found."""

from __future__ import annotations

import re

import pytest

from podium.mllog import parse, summarize
from podium.rounds import Published, load_rounds
from podium.rules import goal_for, goal_of_log, judge
from tests.unit.cli.logs import lora_run, mllog
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()


def found(lines, name="llama2_70b_lora", round_="v5.1", division="closed"):
    goal = goal_of_log(name, ROUNDS[round_].benchmarks[name], ROUNDS[round_], division)
    return {finding.rule: finding.message for finding in judge(summarize(parse(lines)[0]), goal).findings}


ROWS = {
    "an honest log": ({}, {}),
    "one with a slow first stretch": ({"stretches": {0: 3.0}}, {}),
    "one whose first evaluation is late, but not the only one": ({"drop": [0, 1]}, {}),
    "another data set": (
        {"train_samples": 390, "eval_samples": 20},
        {"log.data.train": "train_samples is 390; every published log has 3901",
         "log.data.eval": "eval_samples is 20; every published log has 173"}),
    "only the last evaluation": (
        {"drop": range(4)},
        {"log.evaluation.missing": "the first evaluation is after 3072 samples; the round wants it after 1536"}),
    "an evaluation in the middle left out": (
        {"drop": [2]}, {"log.evaluation.missing": "no evaluation for 768 samples; the round wants one every 384"}),
    "a pause cut out of one stretch": (
        {"stretches": {2: 0.7}},
        {"log.pace.block": "one stretch of training is 1.43 times as fast as the others by its stamps"}),
    "all stamps scaled, the throughput left as it was": (
        {"pace": 0.5}, {"log.pace.throughput": "the logged throughput is 0.50 times that of the stamps"}),
    "an evaluation shortened": (
        {"eval_stretches": {2: 0.5}},
        {"log.pace.evaluation": "one evaluation takes 0.50 of the time of the others by its stamps"}),
    "an evaluation cut out": (
        {"eval_stretches": {2: 0.0}},
        {"log.pace.evaluation": "one evaluation takes 0.00 of the time of the others by its stamps"}),
    "all evaluations cut out": (
        {"eval_stretches": dict.fromkeys(range(5), 0.0)},
        {"log.pace.evaluation":
         "an evaluation takes the time of 0 trained samples by its stamps; in the published logs, that of 13 or more"}),
    "all evaluations shortened": (
        {"eval_stretches": dict.fromkeys(range(5), 0.25)},
        {"log.pace.evaluation":
         "an evaluation takes the time of 10 trained samples by its stamps; in the published logs, that of 13 or more"}),
}  # fmt: skip


@pytest.mark.parametrize(("edits", "rules"), ROWS.values(), ids=ROWS)
def test_what_an_edited_log_says_against_itself(edits, rules):
    assert found(lora_run(**edits)) == rules


@pytest.mark.parametrize(("edits", "rules"), list(ROWS.values())[3:], ids=list(ROWS)[3:])
def test_open_logs_have_their_own_data_and_schedule(edits, rules):
    assert found(lora_run(**edits), division="open") == {}


def early(seconds):
    """The last result and run_stop, stamped earlier than the evaluation that they are of."""
    lines = lora_run()
    for number in (-3, -1):
        stamp = int(re.search(r'"time_ms": (\d+)', lines[number])[1])
        lines[number] = lines[number].replace(str(stamp), str(stamp - int(1000 * seconds)))
    return lines


@pytest.mark.parametrize("division", ["closed", "open"])
def test_a_result_before_its_evaluation(division):
    assert found(early(60), division=division)["log.time.order"] == (
        "the result of an evaluation is stamped 55.0 s before its start"
    )
    assert found(early(5.4), division=division) == {}  # of another process


def test_a_log_without_the_starts_of_evaluations_says_nothing_of_their_pace():
    lines = [line for line in lora_run() if "eval_start" not in line and "eval_stop" not in line]
    assert "log.pace.evaluation" not in found(lines)


def test_an_epoch_left_out():
    lines = [
        mllog("run_start", None, 0),
        *(mllog("epoch_start", None, epoch, epoch_num=epoch) for epoch in (1, 2, 4)),
        mllog("eval_accuracy", 0.38, 9, epoch_num=1),
        mllog("run_stop", None, 10, status="aborted"),
    ]
    assert "1 epoch is missing between the first and the last" in found(lines, "ssd", "v3.0").values()
    whole = [*lines[:3], mllog("epoch_start", None, 3, epoch_num=3), *lines[3:]]
    assert "log.epochs.missing" not in found(whole, "ssd", "v3.0")


@pytest.mark.parametrize(
    ("logged", "messages"),
    [([16], []), ([], []), ([8], ["number_of_ranks is 8; the run started 16"])],
)
def test_ranks_that_the_run_did_not_start(logged, messages):
    spec = ex.spec(benchmark="resnet", system={"name": "box", "nodes": 2, "acceleratorsPerNode": 8})
    lines = [*(mllog("number_of_ranks", count, 0) for count in logged), mllog("run_start", None, 1)]
    findings = judge(summarize(parse(lines)[0]), goal_for(spec, ROUNDS)).findings
    assert [finding.message for finding in findings if finding.rule == "log.ranks"] == messages


def test_evaluation_results_after_eval_stop_belong_to_it():
    """As NVIDIA's ResNet logs them; the next stretch of training starts after the result."""
    lines = [mllog("run_start", None, 0)]
    for n in range(1, 5):
        lines += [
            mllog("tracked_stats", {"throughput": 100.0}, 10 * n - 1, step=n),
            mllog("eval_start", None, 10 * n - 1, epoch_num=n),
            mllog("eval_stop", None, 10 * n - 0.5, epoch_num=n),
            mllog("eval_accuracy", 0.5, 10 * n, epoch_num=n),
        ]
    segments = summarize(parse(lines)[0]).segments
    assert [(s.trained, s.train_seconds, s.throughput) for s in segments] == [(1.0, 9.0, 100.0)] * 4


def test_a_restarted_run_has_only_its_own_segments():
    dead = lora_run(at=-5000, drop=range(2, 9))[:-1]
    assert len(summarize(parse([*dead, *lora_run()])[0]).segments) == 5


def test_a_round_without_results_follows_the_last_published_one():
    def usual(round_: str) -> Published | None:
        return ROUNDS[round_].benchmarks["llama2_70b_lora"].published

    assert usual("v6.1") == usual("v5.1") is not None
