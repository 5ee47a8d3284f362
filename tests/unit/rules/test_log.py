"""What is checked in the lines of a log, beside MLCommons' checker: each rule on both sides of its bound."""

from __future__ import annotations

import json

import pytest

from podium.mllog import parse
from podium.rounds import load_rounds
from podium.rules import LogCheck
from podium.rules.log import Seed, repeated_seeds
from tests.unit.cli.logs import changed, mllog, mlp, v05_log, without


def checked(lines, round_="v0.5", benchmark="ncf", division="closed", *, is_own=False):
    log = LogCheck("log", load_rounds()[round_], benchmark, division, is_own=is_own)
    for event in parse(lines)[0]:
        log.add(event)
    return log


def found(*arguments, **options):
    """Findings as (rule, line)."""
    return [(finding.rule, finding.line) for finding in checked(*arguments, **options).findings()]


def of_rule(name, *arguments, **options):
    return [line for rule, line in found(*arguments, **options) if rule == name]


# ---- time ----


@pytest.mark.parametrize(
    ("length", "behind", "named"),
    [(10, 4.9, False), (10, 5.1, True), (500, 59, False), (500, 61, True), (2000, 119, False), (2000, 121, True)],
)
def test_a_line_may_be_behind_by_5_s_or_12_percent_of_the_run_and_120_s_at_most(length, behind, named):
    times = (0, length, length - behind, length - behind, length)
    keys = ("run_start", "train_epoch", "train_epoch", "train_epoch", "run_stop")
    lines = [mlp("ncf", key, str(number), at) for number, (key, at) in enumerate(zip(keys, times, strict=True))]
    assert of_rule("log.time.order", lines) == [3] * named


@pytest.mark.parametrize(("round_", "key", "named"), [("v0.7", "run_stop", False), ("v0.7", "epoch_stop", True)])
def test_only_run_stop_may_be_stamped_with_the_time_of_an_earlier_checkpoint(round_, key, named):
    lines = [mllog("run_start"), mllog("epoch_start", None, 900, epoch_num=1), mllog(key, None, 300)]
    assert of_rule("log.time.order", lines, round_, "resnet") == [3] * named


def test_in_v05_run_stop_may_not_be_stamped_earlier():
    lines = [mlp("ncf", "run_start"), mlp("ncf", "train_epoch", "0", 900), mlp("ncf", "run_stop", "", 300)]
    assert of_rule("log.time.order", lines) == [3]


# ---- lines ----


def test_a_log_without_mlperf_lines_has_no_findings_but_those_of_its_unreadable_ones():
    _, problems = parse([":::MLLOG {"])
    empty = checked([])
    assert empty.findings() == ()
    assert [finding.message for finding in empty.findings(problems, 3)][1:] == ["2 further lines cannot be read"]
    assert len(empty.findings(problems, 1)) == 1


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ([*v05_log(), mlp("ncf", "run_final", "", 9)], ("v0.5.run_final.once", 27)),
        ([mlp("ncf", "run_final"), *without(v05_log(), "run_final")], ("v0.5.run_final.order", 1)),
        ([*v05_log(), v05_log()[-1]], None),  # the same line again
    ],
)
def test_a_line_that_is_logged_once_and_in_order(lines, place):
    assert [each for each in found(lines) if "run_final" in each[0]] == [place] * bool(place)


@pytest.mark.parametrize(
    ("evaluation", "rules"),
    [
        ('{"epoch": 0, "value": 0.64}', []),
        ('{"epoch": 1, "value": 0.64}', ["v0.5.eval_accuracy.first"]),
        ('{"value": 0.64}', ["v0.5.eval_accuracy.form"]),
        ('{"epoch": 0, "value": null}', ["v0.5.eval_accuracy.form"]),
        ('{"epoch": 0, "value": {"a": 1}}', ["v0.5.eval_accuracy.form"]),
    ],
)
def test_an_evaluation_has_a_value_and_an_epoch_that_counts_from_the_rounds_first(evaluation, rules):
    assert [r for r, _ in found(changed(v05_log(), '{"epoch": 0, "value": 0.64}', evaluation))] == rules


def test_an_evaluation_in_the_format_of_another_round_has_another_form():
    assert found([mllog("run_start"), mllog("eval_accuracy", 0.64)]) == [("v0.5.format", None)]
    assert of_rule("v0.5.eval_accuracy.form", [mllog("run_start"), mllog("eval_accuracy", 0.64)], is_own=True) == [2]


# ---- what the division allows ----


@pytest.mark.parametrize(
    ("benchmark", "division", "value", "named"),
    [
        ("ncf", "closed", "0.6", True),
        ("ncf", "outOfTheBox", "0.6", True),
        ("ncf", "open", "0.6", False),
        ("ncf", "closed", "63.5", False),  # in percent
        ("ncf", "closed", '"0.6"', False),  # for MLCommons' checker to name
        ("ncf", "closed", "true", False),
        ("maskrcnn", "closed", "0.3", False),  # it has two targets
        ("mine", "closed", "0.6", False),
    ],
)
def test_a_closed_log_has_the_target_of_its_round(benchmark, division, value, named):
    lines = [mlp(benchmark, "run_start"), *[mlp(benchmark, "eval_target", value)] * 2]
    assert of_rule("log.target", lines, "v0.5", benchmark, division) == [2] * named


@pytest.mark.parametrize(("division", "named"), [("closed", True), ("outOfTheBox", True), ("open", False)])
def test_only_the_open_division_may_leave_keys_out_and_set_what_it_likes(division, named):
    lines = changed(without(v05_log(), "eval_size"), "opt_learning_rate: 0.001", "opt_learning_rate: -1")
    rules = {rule for rule, _ in found(lines, division=division)}
    assert ("v0.5.eval_size.required" in rules, "v0.5.ncf.rate" in rules) == (named, named)


def own_log():
    """What Podium's trainers print, in the format of v0.7."""
    keys = ("run_clear_caches", "train_loop", "train_epoch", "opt_learning_rate", "eval_start", "eval_size")
    later = load_rounds()["v0.5"].log_rules.later
    lines = [mllog("run_start"), *(mllog(later[key], 0.0005) for key in keys)]
    evaluated = [mllog("eval_accuracy", 0.64, 1, epoch_num=1), mllog("eval_stop", None, 1)]
    return [*lines, *evaluated, mllog("run_stop", None, 2, status="success"), mllog("run_final", None, 3)]


def test_the_keys_of_our_own_logs_are_those_of_the_later_format():
    assert found(own_log(), is_own=True) == []
    for key in ("cache_clear", "eval_samples"):
        shorter = [line for line in own_log() if json.loads(line[9:])["key"] != key]
        assert found(shorter, is_own=True) == [(f"v0.5.{key}.required", None)]
    assert found(own_log()) == [("v0.5.format", None)]


@pytest.mark.parametrize("odd", ['"fast"', "NaN", "true", "null"])
@pytest.mark.parametrize("first", [True, False])
def test_the_largest_rate_of_a_schedule_is_a_number(odd, first):
    """Beside 0.33, which is not allowed."""
    rates = [odd, "0.33", "0.1"] if first else ["0.33", odd, "0.1"]
    lines = [mlp("resnet", "run_start"), *(mlp("resnet", "opt_learning_rate", rate, 1) for rate in rates)]
    assert of_rule("v0.5.resnet.rate", lines, "v0.5", "resnet") == [3 if first else 2]


# ---- seeds ----


def test_the_seeds_of_a_log_are_those_that_were_set():
    lines = [mlp("ncf", "run_set_random_seed", value) for value in ("7", '"none"', '"None"', "8")]
    assert [(seed.value, seed.line) for seed in checked(lines).seeds] == [("7", 1), ("8", 4)]


@pytest.mark.parametrize(
    ("one", "other", "repeated"),
    [
        ("1", "1", True),
        ("1", "2", False),
        ("12", "13", True),
        ("123", "145", False),
        ("1", "1234", True),
        ("", "", False),
    ],
)
def test_attempts_repeat_seeds_if_the_later_one_shares_half_of_its_own(one, other, repeated):
    logs = {name: [Seed("train.py", "1", value, 5) for value in values] for name, values in (("b", other), ("a", one))}
    rules = [(str(finding.rule), finding.field) for finding in repeated_seeds(logs, required=False)]
    assert rules == [("log.seed.repeated", "a")] * repeated


def test_a_seed_of_another_place_is_another_seed_and_only_some_rounds_ask_for_one():
    logs = {"a": [Seed("train.py", "1", "7", 5)], "b": [Seed("train.py", "2", "7", 5)], "c": []}
    assert list(repeated_seeds(logs, required=False)) == []
    assert [(str(f.rule), f.field) for f in repeated_seeds(logs, required=True)] == [("log.seed.missing", "c")]
