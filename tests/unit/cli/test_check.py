"""``podium check``: complete logs, logs with one fault each, and hostile ones."""

from __future__ import annotations

import json

import pytest

from podium.mlcommons import MissingCheckerError, official
from podium.mllog import parse
from podium.rounds import load_rounds
from podium.rules import LogCheck
from tests.unit.cli.logs import changed, mll, mlp, v05_log, v06_log, v07_run, without, write
from tests.unit.scoring.test_published import EXPECTED, LOGS


@pytest.fixture
def check(podium_json, tmp_path):
    """Findings against one log, as (rule, line)."""

    def run(lines, name="v0.6/acme/box/transformer", *options):
        write(tmp_path / name, [lines])
        code, document = podium_json("check", tmp_path, *options)
        findings = document[0]["findings"]
        assert code == (1 if findings else 0)
        return {(f["rule"], f["line"]) for f in findings}, findings

    return run


NCF = "v0.5/acme/box/ncf"


def test_complete_logs_have_no_findings(check):
    assert check(v05_log(), NCF) == (set(), [])
    assert check(v06_log(), "v0.6/acme/box/transformer") == (set(), [])


@pytest.mark.skipif(not EXPECTED.exists(), reason="the published logs are not here")
def test_published_logs(podium_json):
    """Those of runs that did not converge are found, the others are fine."""
    code, logs = podium_json("check", LOGS)
    rules = [f["rule"] for log in logs for f in log["findings"]]
    assert (code, len(logs), rules) == (1, 190, ["log.quality"] * 14)
    assert {log["benchmark"] for log in logs if log["findings"]} == {"ncf"}


V05 = {
    "no run_final": (without(v05_log(), "run_final"), ("v0.5.run_final.once", None), "run_final is missing"),
    "two run_start": (
        [*v05_log()[:2], mlp("ncf", "run_start", "", 0.5), *v05_log()[2:]], ("log.run_start.repeated", 3), "2 run_start and 1 run_stop lines"),
    "run_final before run_stop": (
        [*v05_log()[:-2], v05_log()[-1], v05_log()[-2]], ("v0.5.run_final.order", 25), "run_final comes before run_stop"),
    "no tag of level 2 of NCF": (
        without(v05_log(), "model_hp_mf_dim"), ("v0.5.model_hp_mf_dim.required", None), "model_hp_mf_dim is missing"),
    "no eval_size": (without(v05_log(), "eval_size"), ("v0.5.eval_size.required", None), "eval_size is missing"),
    "epochs from 1": (
        changed(v05_log(), '"epoch": 0', '"epoch": 1'), ("v0.5.eval_accuracy.first", 23),
        "there is no eval_accuracy for epoch 0"),
    "no epoch": (
        changed(v05_log(), '{"epoch": 0, "value": 0.64}', "0.64"), ("v0.5.eval_accuracy.form", 23),
        "eval_accuracy has no epoch or no value"),
    "another target": (
        changed(v05_log(), "eval_target: 0.635", "eval_target: 0.6"), ("log.target", 22),
        "eval_target is 0.6, but the round's target is 0.635"),
    "target not reached": (
        changed(v05_log(), "0.64}", "0.62}"), ("log.quality.claim", 23), "quality 0.62, target 0.635, although run_stop says success"),
    "a line cut in two": (
        changed(v05_log(), '"value": 0.64}', ""), ("log.unreadable", 23), "broken JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "place", "sentence"), V05.values(), ids=V05)
def test_a_fault_of_a_v05_log(check, lines, place, sentence):
    places, findings = check(lines, NCF)
    assert place in places
    assert any(sentence in f["message"] and f["remedy"] for f in findings)


V06 = {
    "no run_stop": (without(v06_log(), "run_stop"), ("log.run_stop.missing", None)),
    "a long initialization": (changed(v06_log(), f"{1_560_000_000 - 10:.3f} init_stop", "1560001300.000 init_stop"),
                              ("log.init.cap", 18)),
    "a forbidden value": (changed(v06_log(), '"value": 0.997', '"value": 0.9'), ("v0.6.transformer.beta_2", 15)),
    "the target is not reached": (changed(v06_log(), "25.4", "24.9"), ("log.quality.claim", 24)),
    "cache cleared after the start": (
        [*without(v06_log(), "cache_clear"), mll("cache_clear", True, 30)], ("mlperf.cache_clear.check", 27)),
    "aborted": (changed(v06_log(), "success", "aborted"), ("log.run_stop.status", 27)),
    "another benchmark": (changed(v06_log(), '"transformer"', '"gnmt"'), ("log.benchmark", None)),
}  # fmt: skip


def test_initialization_of_a_v06_log_in_the_later_format(check):
    """The rules of 0.6.0 count seconds, the later ones milliseconds, as their formats do."""

    def later(line):
        _, seconds, key, body = line.split(" ", 3)
        body = json.loads(body)
        stamp = {"namespace": "", "time_ms": int(float(seconds) * 1000), "event_type": "POINT_IN_TIME"}
        return ":::MLLOG " + json.dumps({**stamp, "key": key.rstrip(":"), **body})

    place = ("v0.6/acme/box/transformer", "--round", "v0.6")
    assert check([later(line) for line in v06_log()], *place) == (set(), [])
    slow = changed(v06_log(), f"{1_560_000_000 - 10:.3f} init_stop", "1560001300.000 init_stop")
    assert ("log.init.cap", 18) in check([later(line) for line in slow], *place)[0]


@pytest.mark.parametrize(("lines", "place"), V06.values(), ids=V06)
def test_a_fault_of_a_v06_log(check, lines, place):
    places, _ = check(lines)
    assert place in places


def test_a_run_that_died_at_the_head_of_the_log_is_one_finding(check):
    died = [mll("init_start", None, -500), mll("init_stop", None, -450), mll("run_start", None, -440)]
    log = [*died, *v06_log()]
    start = max(number for number, line in enumerate(log, start=1) if " run_start:" in line)
    assert check(log)[0] == {("log.run_start.repeated", start)}


def test_a_log_that_holds_each_line_twice(check):
    """NVIDIA's v0.5 ResNet: the tools of the round dropped lines that are the same."""
    assert check([line for line in v05_log() for _ in range(2)], NCF) == (set(), [])


def resnet(*settings):
    """The hyperparameters of a v0.5 ResNet log, as (rule, line) and message of what is wrong with them."""
    lines = [mlp("resnet", "run_start"), *(mlp("resnet", key, value, 1) for key, value in settings)]
    events, _ = parse(lines)
    log = LogCheck("log", load_rounds()["v0.5"], "resnet")
    for event in events:
        log.add(event)
    return [(f.rule, f.line, f.message) for f in log.findings() if f.rule.startswith("v0.5.resnet")]


RATES = "allowed: 0.1 or 0.128, times a whole number, or that times global_batch_size / 256"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        # as logged by published entries: 6 x 0.1, 41 x 0.1, 32 x 0.128
        ([("opt_name", '"sgd"'), ("opt_learning_rate", "0.6"), ("opt_momentum", "0.9")], []),
        ([("opt_name", '"stochastic_gradient_descent_with_momentum"'), ("opt_learning_rate", "4.1")], []),
        ([("opt_learning_rate", "4.096"), ("model_l2_regularization", "0.0001")], []),
        # a rate that is logged as it changes: warm-up, the rate itself, its decay
        ([("opt_learning_rate", rate) for rate in ("0.17", "0.32", "0.398", "0.4", "0.4", "0.04")], []),
        ([("opt_learning_rate", rate) for rate in ("0.17", "0.32", "0.398")], []),  # the log ends in the warm-up
        ([("opt_learning_rate", '"DEFERRED: 0e0ca682"')], []),  # of TensorFlow, for a value that is not in the log
        ([("opt_learning_rate", rate) for rate in ("0.17", "0.33", "0.033")],
         [("v0.5.resnet.rate", 3, f"opt_base_learning_rate: 0.33 is not allowed; {RATES}; the nearest allowed value is 0.3")]),
        ([("opt_momentum", "0.875")],
         [("v0.5.resnet.momentum", 2, "opt_momentum: 0.875 is not allowed; allowed: 0.9; the nearest allowed value is 0.9")]),
        ([("opt_name", '"lars"')],
         [("v0.5.resnet.optimizer", 2, "opt_name: 'lars' is not allowed; allowed: sgd; the nearest allowed value is sgd")]),
        ([("model_l2_regularization", "0.00005")],
         [("v0.5.resnet.weight_decay", 2,
           "opt_weight_decay: 5e-05 is not allowed; allowed: 0.0001; the nearest allowed value is 0.0001")]),
        ([("opt_learning_rate_warmup_factor", "0.6")],
         [("v0.5.resnet.warmup_step", 2, ("opt_learning_rate_warmup_factor: 0.6 is not allowed; allowed: 1 - 1/2^k for a whole "
           "number k: 0, 0.5, 0.75, 0.875, ...; the nearest allowed value is 0.5"))]),
    ],
)  # fmt: skip
def test_hyperparameters_of_a_v05_log(settings, found):
    assert resnet(*settings) == found


def test_a_run_out_of_the_box_keeps_the_references_values(podium_json, tmp_path):
    """Closed logs may say 0.0045; out of the box only the batch size is tuned."""
    log = changed(v05_log(), "opt_learning_rate: 0.001", "opt_learning_rate: 0.0045")
    write(tmp_path / NCF, [changed(log, "opt_hp_Adam_beta1: 0.9", "opt_hp_Adam_beta1: 0.25")])
    assert podium_json("check", tmp_path)[0] == 0
    code, (checked,) = podium_json("check", tmp_path, "--division", "outOfTheBox")
    assert code == 1
    assert [(f["rule"], f["message"]) for f in checked["findings"]] == [
        ("v0.5.ncf.rate.untuned", "opt_base_learning_rate: 0.0045 is not the reference's 0.0005"),
        ("v0.5.ncf.beta_1.untuned", "opt_adam_beta_1: 0.25 is not the reference's 0.9"),
    ]
    assert checked["findings"][0]["remedy"].startswith(
        "out of the box, tune only global_batch_size; use division: closed"
    )


def test_a_log_in_another_format_than_the_rounds(podium_json, tmp_path):
    """Podium's own trainers log in the format of v0.7, whatever the round."""
    write(tmp_path / "ncf", [v07_run("ncf", 60, 0.64)])
    _, (log,) = podium_json("check", tmp_path, "--round", "v0.5")
    assert [(f["rule"], f["message"]) for f in log["findings"]] == [
        ("v0.5.format", "the log is in format mllog, but the tools of v0.5 read mlp-v0.5")
    ]


def test_a_benchmark_that_its_round_suspended_has_no_rules_of_mlcommons(check, podium_json, tmp_path):
    """NCF in v0.6: MLCommons' checker would take its name, its keys and its optimizer for mistakes."""
    log = [line.replace('"transformer"', '"ncf"').replace("25.4", "0.64") for line in v06_log()]
    assert check(log, "v0.6/acme/box/ncf") == (set(), [])
    assert podium_json("check", tmp_path)[1][0]["official"] is False


def test_a_single_file(podium_json, tmp_path):
    folder = write(tmp_path / NCF, [v05_log(), without(v05_log(), "run_final")])
    assert podium_json("check", folder / "result_0.txt")[0] == 0
    code, (log,) = podium_json("check", (folder / "result_1.txt").as_uri())
    assert (code, log["round"], log["log"], log["findings"][0]["rule"]) == (
        1,
        "v0.5",
        "result_1.txt",
        "v0.5.run_final.once",
    )


def test_two_runs_with_one_seed(podium_json, tmp_path):
    write(tmp_path / NCF, [v05_log(), changed(v05_log(), "seed: 7", "seed: 8"), v05_log()])
    code, logs = podium_json("check", tmp_path)
    assert code == 1
    assert [[f["rule"] for f in log["findings"]] for log in logs] == [[], [], ["log.seed.repeated"]]
    (finding,) = logs[2]["findings"]
    assert finding["message"] == f"its seed 7, from train.py:1, is also in {NCF}/result_0.txt"
    assert finding["line"] == 3


def test_a_rate_that_changes_in_a_log_or_is_left_out_is_no_difference(podium_json, tmp_path):
    """NVIDIA's SSD of v0.5 logs the rate at each change, and Google's logs have placeholders in its place."""
    rates = ["0.016", "0.0016", '"DEFERRED: 1b2c"', '"DEFERRED: 9f0e"']
    runs = [[*v05_log()[:-1], mlp("ncf", "opt_learning_rate", rate, 1), v05_log()[-1]] for rate in rates]
    runs = [changed(run, "seed: 7", f"seed: {n}") for n, run in enumerate(runs)]
    write(tmp_path / NCF, [*runs, changed(changed(v05_log(), "beta1: 0.9", "beta1: 0.8"), "seed: 7", "seed: 9")])
    _, logs = podium_json("check", tmp_path)
    differ = [f["message"] for log in logs for f in log["findings"] if f["rule"] == "review.hyperparameters.differ"]
    assert differ == ["the attempts differ in opt_hp_Adam_beta1: 0.8, 0.9"]


@pytest.mark.parametrize(("round_", "asks"), [("v0.7", False), ("v1.0", True)])
def test_fields_of_a_description_are_asked_for_since_v1_0(podium_json, tmp_path, round_, asks):
    """MLCommons' package checker does not look at those of earlier rounds."""
    write(tmp_path / round_ / "acme/results/box/resnet", [v07_run("resnet", 60, 0.76)])
    (tmp_path / round_ / "acme/systems").mkdir()
    (tmp_path / round_ / "acme/systems/box.json").write_text('{"system_name": "box"}')
    _, logs = podium_json("check", tmp_path)
    assert any(f["rule"] == "package.system.missing" for log in logs for f in log["findings"]) is asks


def test_since_v1_0_a_seed_has_to_be_logged(podium_json, tmp_path):
    write(tmp_path / "v1.0/acme/results/box/resnet", [v07_run("resnet", 60, 0.76)])
    _, (log,) = podium_json("check", tmp_path)
    assert "log.seed.missing" in {f["rule"] for f in log["findings"]}


def test_v06_has_no_rules_for_hyperparameters_of_the_open_division(podium_json, tmp_path):
    """MLCommons' rule files of v0.6 are those of the closed one: they want a schedule of each of ResNet's optimizers."""
    opened = changed(without(v06_log(), "opt_adam_beta_1"), '"closed"', '"open"')
    resnet = changed(changed(opened, '"transformer"', '"resnet"'), '"adam"', '"sgd"')
    write(tmp_path / "open/transformer", [opened])
    write(tmp_path / "open/resnet", [changed(resnet, "25.4", "0.76")])
    write(tmp_path / "closed/resnet", [changed(resnet, '"open"', '"closed"')])
    assert podium_json("check", tmp_path / "open", "--round", "v0.6")[0] == 0
    _, (log,) = podium_json("check", tmp_path / "closed", "--round", "v0.6")
    assert {"mlperf", "mlperf.model_bn_span.required"} <= {finding["rule"] for finding in log["findings"]}


def test_the_open_division_has_its_own_target(podium_json, tmp_path):
    write(tmp_path / NCF, [changed(v05_log(), "0.64}", "0.5}")])
    assert podium_json("check", tmp_path, "--division", "open")[0] == 0
    assert podium_json("check", tmp_path, "--division", "none") == (
        2, "--division none: choose closed, open or outOfTheBox")  # fmt: skip


def test_people_see_rule_line_and_remedy(podium_text, tmp_path):
    write(tmp_path / NCF, [without(v05_log(), "run_final")])
    code, text = podium_text("check", tmp_path)
    assert code == 1
    assert f"v0.5.run_final.once  {NCF}/result_0.txt: run_final is missing\n    log it exactly once\n" in text
    assert "1 log (1 of v0.5 ncf): 1 with findings" in text


def test_without_the_checker_of_mlcommons_only_v05_can_be_checked(podium_json, tmp_path, without_mlcommons):
    with pytest.raises(MissingCheckerError):
        official("v0.6")
    write(tmp_path / "a" / NCF, [v05_log()])
    assert podium_json("check", tmp_path / "a")[0] == 0
    write(tmp_path / "b/transformer", [v06_log()])
    code, text = podium_json("check", tmp_path / "b")
    assert (code, "pip install 'podium-operator[cli]'" in text) == (2, True)
