"""``podium check`` of logs that were cut off: one finding with the cause, and what is wrong besides."""

from __future__ import annotations

import pytest

from tests.unit.cli.logs import lora_run, mll, mlp, v05_log, v06_log, without, write

PLACES = {
    "v0.5": "v0.5/acme/results/box/ncf",
    "v0.6": "v0.6/acme/results/box/transformer",
    "v5.1": "v5.1/acme/results/box/llama2_70b_lora",
}
LOGS = {"v0.5": v05_log(), "v0.6": v06_log(), "v5.1": lora_run()}
STOP, START = "log.run_stop.missing", "log.run_start.missing"


@pytest.fixture
def rules_of(podium_json, tmp_path):
    def run(round_, *texts):
        """The rules that each log breaks, one folder a log: MLCommons' checker starts only once."""
        for number, text in enumerate(texts):
            folder = write(tmp_path / PLACES[round_].replace("box", f"box{number:03}"), [])
            (folder / "result_0.txt").write_text(text)
        _, logs = podium_json("check", tmp_path / round_)
        return [[f["rule"] for f in log["findings"]] for log in logs if log["state"]]

    return run


def text_of(lines):
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("round_", LOGS)
def test_a_log_that_is_cut_off_has_one_finding_wherever_that_is(rules_of, round_):
    lines = LOGS[round_]
    began = next(n for n, line in enumerate(lines, start=1) if "run_start" in line)
    ended = next(n for n, line in enumerate(lines, start=1) if "run_stop" in line)
    cuts = range(1, ended)
    expected = [[STOP if count >= began else START] for count in cuts]
    assert rules_of(round_, *(text_of(lines[:count]) for count in cuts)) == expected


@pytest.mark.parametrize("round_", LOGS)
def test_a_log_that_is_cut_off_within_a_line(rules_of, round_):
    """What is left of the line says nothing: half a number is another number."""
    lines = LOGS[round_]
    began = next(n for n, line in enumerate(lines, start=1) if "run_start" in line)
    ended = next(n for n, line in enumerate(lines, start=1) if "run_stop" in line)
    cuts = range(2, ended)
    expected = [[STOP if count > began else START] for count in cuts]
    assert rules_of(round_, *(text_of(lines[:count])[:-3] for count in cuts)) == expected


# The key that the log lacks, the key of the line after which it was cut off, and what is named besides the cause.
BESIDES = [
    ("v0.6", "cache_clear", "run_start", ["mlperf.cache_clear.required"]),
    ("v0.6", "submission_org", "block_stop", ["mlperf.submission_org.required"]),
    ("v0.6", "opt_adam_beta_1", "epoch_stop", ["mlperf.opt_adam_beta_1.required"]),
    ("v0.6", "block_start", "epoch_stop", ["mlperf.block_start.required"]),
    ("v0.6", "eval_stop", "block_stop", ["mlperf.eval_stop.required"]),
    ("v0.6", "eval_accuracy", "block_stop", ["mlperf.block_stop.check", "mlperf.eval_accuracy.required"]),
    ("v0.5", "run_clear_caches", "eval_stop", ["v0.5.run_clear_caches.required"]),
    ("v0.5", "model_hp_mf_dim", "eval_start", ["v0.5.model_hp_mf_dim.required"]),
    ("v0.5", "train_loop", "eval_start", ["v0.5.train_loop.required"]),
    ("v0.5", "eval_size", "eval_stop", ["v0.5.eval_size.required"]),
    ("v0.5", "eval_start", "eval_stop", ["v0.5.eval_start.required"]),
    ("v5.1", "seed", "eval_stop", ["log.seed.missing"]),
    ("v5.1", "train_samples", "block_stop", ["mlperf.train_samples.required"]),
    ("v5.1", "block_stop", "eval_stop", ["mlperf.epoch_stop.required"]),
]


@pytest.mark.parametrize("round_", LOGS)
def test_what_is_wrong_besides_the_end_is_named(rules_of, round_):
    rows = [row[1:] for row in BESIDES if row[0] == round_]
    texts = []
    for lacks, last, _ in rows:
        lines = [line for line in without(LOGS[round_], lacks) if f'"key": "{lacks}"' not in line]
        end = max(number for number, line in enumerate(lines, start=1) if last in line)
        texts.append(text_of(lines[:end]))
    found = [sorted(rules) for rules in rules_of(round_, *texts)]
    assert found == [sorted([STOP, *named]) for _, _, named in rows]


def test_an_epoch_that_does_not_end_before_the_next_begins_is_named(rules_of):
    lines = without(v06_log()[:-1], "epoch_stop")
    again = [mll("block_start", None, 27, first_epoch_num=2, epoch_count=1), mll("epoch_start", None, 27, epoch_num=2)]
    first, second = rules_of("v0.6", text_of(lines), text_of([*lines, *again]))
    assert first == [STOP]
    assert "mlperf.epoch_stop.required" in second


def test_evaluations_that_were_due_long_before_the_end_are_named(rules_of):
    lines = [line for line in v05_log() if " eval_" not in line and "run_stop" not in line and "run_final" not in line]
    epochs = [mlp("ncf", "train_epoch", str(number), 2.0 + number) for number in range(1, 4)]
    due = [f"v0.5.{key}.required" for key in ("eval_start", "eval_accuracy", "eval_stop", "eval_size")]
    early, late = rules_of("v0.5", text_of(lines), text_of([*lines, *epochs]))
    assert early == [STOP]
    assert {STOP, *due[:3]} <= set(late)


def test_a_log_whose_clock_never_starts_was_not_cut_off_before_it(rules_of):
    """It has trained, or even stopped: what comes before the run should be there."""
    lines = without(without(v06_log(), "run_start"), "cache_clear")
    for rules in rules_of("v0.6", text_of(lines), text_of(lines[:-1])):
        assert {START, "mlperf.cache_clear.required"} <= set(rules)


def test_a_log_with_run_stop_was_not_cut_off(rules_of):
    """Whatever it lacks is missing, even if it has no other line of the run."""
    before = [line for line in v06_log() if ":::MLL 1559" in line and "cache_clear" not in line]
    (rules,) = rules_of("v0.6", text_of([*before, v06_log()[-1]]))
    assert {START, "mlperf.cache_clear.required", "mlperf.epoch_start.required"} <= set(rules)


def test_a_log_without_run_stop_that_goes_on_was_not_cut_off_in_a_line(rules_of):
    """A broken line in its middle is a finding of its own."""
    lines = without(v06_log(), "run_stop")
    lines[20] = lines[20][:-20]
    (rules,) = rules_of("v0.6", text_of(lines))
    assert {STOP, "log.unreadable"} <= set(rules)
