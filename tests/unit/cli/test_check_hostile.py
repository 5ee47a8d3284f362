"""``podium check`` on logs that were written to mislead it, and on odd ones that were published."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.mlcommons import official
from podium.mllog import parse
from podium.rounds import load_rounds
from podium.rules import LogCheck
from tests.unit.cli.logs import mll, mllog, mlp, v06_log


def findings_of(lines, round_="v0.6", benchmark="transformer"):
    """Both checkers on lines, as the command does."""
    events, problems = parse(lines)
    check = LogCheck("log", load_rounds()[round_], benchmark)
    for event in events:
        check.add(event)
    theirs = official(round_).check(events, "log", benchmark) if round_ != "v0.5" else ()
    return [*check.findings(problems, len(problems)), *theirs]


@pytest.mark.parametrize(
    "name", ["../../../../tmp/evil", "common", "score", "/etc/passwd", ["resnet"], {"a": 1}, 5, None]
)
@pytest.mark.parametrize("key", ["submission_benchmark", "opt_name"])
def test_a_log_cannot_choose_a_rule_file(tmp_path, key, name):
    """Named by the log, rules would be run: the checker of MLCommons loads `common` for ever, and any path at all."""
    lines = [mll(key, name) if f" {key}:" in line else line for line in v06_log()]
    found = findings_of(lines)
    if key == "submission_benchmark" or not isinstance(name, str) or "/" in name:
        assert f"mlperf.{key}" in {f.rule for f in found}
    else:
        assert found


def test_nothing_of_a_log_is_evaluated(tmp_path):
    evil = tmp_path / "evil.yaml"
    evil.write_text(f"- BEGIN:\n    CODE: \"open({str(tmp_path / 'run')!r}, 'w')\"\n")
    for name in (str(evil)[:-5], "../" * 20 + str(evil)[1:-5]):
        findings_of(
            [mll("submission_benchmark", name) if "submission_benchmark" in line else line for line in v06_log()]
        )
        findings_of([mllog("submission_division", "closed"), mllog("submission_benchmark", "resnet"),
                     mllog("opt_name", name)], "v0.7", "resnet")  # fmt: skip
    assert not (tmp_path / "run").exists()


HOSTILE = st.sampled_from([
    ":::MLL NaN run_stop: {}", ":::MLL -5 run_stop: {}", ":::MLL 1e999 x: {}", ":::MLLOG {" + '"a":[' * 5000,
    ":::MLLOG " + json.dumps({"time_ms": float("nan"), "key": "run_start", "value": None}),
    ":::MLL 1560000000.0 eval_accuracy: {'value': __import__('os'), 'metadata': {}}",
    ":::MLL 1560000000.0 eval_accuracy: {'value': {'BBOX': NaN}, 'metadata': {'epoch_num': 'x'}}",
    mll("eval_accuracy", [1] * 1000), mll("eval_accuracy", {"accuracy": {"BBOX": "x"}}), mll("init_stop", None, -1e6),
    mll("epoch_start", None, 2), mll("global_batch_size", "many"), mll("opt_adam_beta_1", {}), mll("seed", [[]]),
    "\ufffd\ufffd:::MLL", mll("run_start", None, 99999), mllog("run_stop", None, -99999, status=5), mlp("ncf", "run_final"),
])  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 30), HOSTILE), min_size=1, max_size=4), st.sampled_from(["v0.5", "v0.6", "v0.7"])
)
def test_a_hostile_line_is_a_finding_and_never_a_crash(inserted, round_):
    lines = v06_log()
    for place, line in inserted:
        lines.insert(place, line)
    benchmark = "ncf" if round_ == "v0.5" else "transformer"
    found = findings_of(lines, round_, benchmark)
    assert all(f.rule and f.message for f in found)
    for finding in found:
        json.dumps(finding.document())


def places_of_time(lines, round_="v0.6", benchmark="transformer"):
    return [(f.rule, f.line) for f in findings_of(lines, round_, benchmark) if f.rule == "log.time.order"]


def test_time_that_runs_backwards_while_training():
    log = v06_log()
    start = next(number for number, line in enumerate(log, start=1) if "run_start" in line)
    late = mll("epoch_stop", None, -500, epoch_num=1)
    assert places_of_time([*log[: start + 3], late, *log[start + 3 :]]) == [("log.time.order", start + 4)]
    # other processes' streams come in any order: caches cleared, evaluations, what was stamped without a clock
    for line in (mll("cache_clear", True, -500), mll("eval_accuracy", 24.0, -500, epoch_num=1)):
        assert places_of_time([*log[: start + 3], line, *log[start + 3 :]]) == []
    assert places_of_time([mll("init_start", None, 900), *log]) == []  # before the clock runs


def test_a_run_that_was_evaluated_later_stops_at_its_checkpoint():
    lines = [mllog("run_start"), mllog("epoch_start", None, 5000, epoch_num=1),
             mllog("eval_accuracy", 0.76, 9000, epoch_num=1), mllog("run_stop", None, 4000, status="success")]  # fmt: skip
    assert places_of_time(lines, "v4.0", "resnet") == []


def test_the_rules_of_stable_diffusion_copy_lines_as_dataclasses():
    lines = [mllog("submission_benchmark", "stable_diffusion"), mllog("submission_division", "closed"),
             mllog("run_start"), mllog("eval_accuracy", 97.0, 5, samples_count=512, metric="FID"),
             mllog("eval_accuracy", 0.16, 5, samples_count=512, metric="CLIP")]  # fmt: skip
    rules = {f.rule for f in findings_of(lines, "v4.0", "stable_diffusion")}
    assert "mlperf.aggregated_eval_accuracy.never" in rules
    assert "mlperf.crash" not in rules


def test_an_optimizers_name_may_have_capitals():
    """LAMB of a published v5.0 BERT; only where a round's rules are chosen by it does it have to be one of theirs."""
    found = findings_of([mllog("submission_benchmark", "bert"), mllog("submission_division", "closed"),
                         mllog("opt_name", "LAMB")], "v5.0", "bert")  # fmt: skip
    assert {f.rule for f in found} & {"mlperf.opt_name", "mlperf.crash"} == set()
