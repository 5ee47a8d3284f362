"""Whole runs of the Llama trainer: its log, several ranks, an attempt that is killed and resumed, what is refused."""

import math
import signal
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest
from tests.unit.benchmarks.conftest import trainer_environment
from tests.unit.benchmarks.test_llama import write_indexed

from podium_benchmarks.llama31_8b import data as llama_data
from podium_benchmarks.llama31_8b import train as llama_train

SMALL = ("--set", "hidden_size=32", "--set", "filter_size=48", "--set", "layers=2", "--set", "max_sequence_length=24",
         "--set", "global_batch_size=12", "--set", "eval_samples=13", "--set", "eval_interval_samples=48",
         "--set", "precision=fp32", "--set", "stats_interval_seconds=0")  # fmt: skip
SHARED = ("--seed", "3", "--set", "max_steps=24", "--set", "opt_learning_rate_warmup_steps=5", *SMALL)
FULL_LOG = {"global_batch_size", "gradient_accumulation_steps", "max_sequence_length", "eval_samples", "opt_name",
            "opt_base_learning_rate", "opt_end_learning_rate", "opt_learning_rate_warmup_steps", "max_steps",
            "opt_learning_rate_decay_steps", "opt_learning_rate_decay_schedule", "opt_adamw_beta_1",
            "opt_adamw_beta_2", "opt_adamw_epsilon", "opt_adamw_weight_decay", "opt_gradient_clip_norm",
            "train_samples", "seed"}  # fmt: skip


def values(lines, key):
    return [line["value"] for line in lines if line["key"] == key]


def losses(lines):
    return {
        line["metadata"]["samples_count"]: line["value"]["loss"] for line in lines if line["key"] == "tracked_stats"
    }


def test_one_and_two_ranks_and_smaller_parts_give_the_same_losses(launch, launch_process, log_lines):
    """13 sequences to evaluate: on two ranks one of them has one less."""
    runs = [launch("llama31_8b", *SHARED), launch_process("llama31_8b", *SHARED, ranks=2),
            launch("llama31_8b", *SHARED, "--set", "gradient_accumulation_steps=3")]  # fmt: skip
    for run in runs:
        assert run.returncode == 0, run.stderr
    alone, *others = [log_lines(run.stdout) for run in runs]
    assert len(losses(alone)) == 24
    assert values(alone, "eval_accuracy")[-1] < values(alone, "eval_accuracy")[0] - 0.1
    for lines in others:
        assert losses(lines) == pytest.approx(losses(alone), rel=1e-4)
        assert values(lines, "eval_accuracy") == pytest.approx(values(alone, "eval_accuracy"), rel=1e-4)
    assert [values(lines, "gradient_accumulation_steps") for lines in (alone, *others)] == [[1], [1], [3]]


def test_a_log_counts_samples_and_evaluates_at_the_rounds_interval(launch, log_lines):
    """Every 50 sequences, rounded up to batches of 12, and after the last step."""
    arguments = ("--seed", "3", "--set", "max_steps=11", "--set", "opt_learning_rate_warmup_steps=5", *SMALL)
    lines = log_lines(launch("llama31_8b", *arguments, "--set", "eval_interval_samples=50").stdout)
    keys = [line["key"] for line in lines]
    assert all(keys.count(key) == 1 for key in FULL_LOG)
    metadata = {key: [line["metadata"] for line in lines if line["key"] == key] for key in keys}
    for key, counts in (("block_start", [0, 60, 120]), ("block_stop", [60, 120, 132]), ("eval_start", [60, 120, 132]),
                        ("eval_accuracy", [60, 120, 132]), ("eval_stop", [60, 120, 132]), ("run_stop", [132])):  # fmt: skip
        assert [one["samples_count"] for one in metadata[key]] == counts, key
        assert not any("epoch_num" in one for one in metadata[key])
    assert metadata["run_stop"][0]["status"] == "aborted"
    assert set(metadata["run_start"][0]) == {"file", "lineno"}
    order = ["init_start", "seed", "init_stop", "run_start", "train_samples", "block_start", "block_stop", "eval_start",
             "eval_accuracy", "eval_stop", "block_start", "block_stop"]  # fmt: skip
    assert [key for key in keys if key in order][: len(order)] == order


def test_the_log_of_a_closed_run_satisfies_the_official_checker(launch, log_lines, official_complaints, tmp_path):
    """The loop and log of round v5.1 with its sequences of 8,192 tokens; a small network, whose quality is made up."""
    write_indexed(tmp_path / llama_data.TRAIN, [np.arange(30_000) % 250], np.uint8, 1)
    write_indexed(tmp_path / llama_data.VALIDATION, [np.zeros(1024 * 8192 + 1, np.uint8)], np.uint8, 1)
    arguments = ("--preset", "full", "--seed", "3", "--data", str(tmp_path), *SMALL, "--set", "layers=1",
                 "--set", "heads=2", "--set", "kv_heads=1", "--set", "vocab_size=250", "--set", "global_batch_size=1",
                 "--set", "max_sequence_length=8192", "--set", "eval_samples=1024",
                 "--set", "eval_interval_samples=1")  # fmt: skip
    with mock.patch.object(llama_train, "evaluate", side_effect=[3.4, 3.29]):
        run = launch("llama31_8b", *arguments, PODIUM_DIVISION="closed", PODIUM_CACHE_CLEARED="1",
                     PODIUM_SUBMISSION_STATUS="onprem")  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    assert lines[-1]["metadata"]["status"] == "success"
    for ruleset in ("5.1.0", "6.0.0", "6.1.0"):
        assert official_complaints(lines, ruleset) == [], ruleset
    without = [line for line in lines if line["key"] != "opt_end_learning_rate"]
    assert any("opt_end_learning_rate" in line for line in official_complaints(without, "5.1.0"))


def killed_after(folder, arguments):
    """Start the trainer, kill it once a checkpoint is complete and training has gone on; what it had printed."""
    command = [sys.executable, "-m", "podium_benchmarks.llama31_8b", *arguments]
    process = subprocess.Popen(command, env=trainer_environment(), stdout=subprocess.PIPE, text=True)
    try:
        printed, deadline = "", time.monotonic() + 200
        for line in process.stdout:
            printed += line
            if '"tracked_stats"' in line and list(folder.glob("*/*/.metadata")):
                process.send_signal(signal.SIGKILL)
                return printed
            assert time.monotonic() < deadline, printed
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    raise AssertionError(printed)


def test_a_killed_attempt_goes_on_with_its_clock_running(launch, log_lines, tmp_path):
    folder = tmp_path / "checkpoints"
    arguments = ("--seed", "3", "--set", "opt_learning_rate_warmup_steps=5", *SMALL, "--set", "global_batch_size=4",
                 "--set", "eval_interval_samples=16", "--set", "max_steps=60")  # fmt: skip
    whole = log_lines(launch("llama31_8b", *arguments).stdout)
    kept = (*arguments, "--set", f"checkpoint_dir={folder}")
    first = log_lines(killed_after(folder, kept))
    run = launch("llama31_8b", *kept)
    assert run.returncode == 0, run.stderr
    second = log_lines(run.stdout)

    (began,), (started,) = ([line for line in lines if line["key"] == "run_start"] for lines in (first, second))
    assert started["time_ms"] == began["time_ms"]  # the clock has been running all the time
    resumed = started["metadata"]["resumed_from_samples"]
    assert resumed > 0
    assert resumed % 16 == 0
    assert "resumed_from_samples" not in began["metadata"]
    assert second[-1]["time_ms"] - started["time_ms"] > first[-1]["time_ms"] - began["time_ms"]

    wanted = {samples: loss for samples, loss in losses(whole).items() if samples > resumed}
    assert losses(second) == pytest.approx(wanted, rel=1e-6)
    evaluations = {line["metadata"]["samples_count"]: line["value"] for line in whole if line["key"] == "eval_accuracy"}
    assert values(second, "eval_accuracy") == pytest.approx(
        [v for s, v in evaluations.items() if s > resumed], rel=1e-6
    )
    steps = [line["metadata"]["step"] for line in second if line["key"] == "tracked_stats"]
    assert steps == list(range(resumed // 4 + 1, 61))
    assert not list(folder.iterdir())  # nothing is left to resume


def test_another_attempt_or_other_settings_resume_nothing(launch, log_lines, tmp_path):
    arguments = (*SMALL, "--set", "max_steps=9", "--set", "opt_learning_rate_warmup_steps=5",
                 "--set", f"checkpoint_dir={tmp_path}")  # fmt: skip
    with mock.patch.object(llama_train.Checkpoints, "remove", lambda self: self._finish_writing()):
        assert launch("llama31_8b", "--seed", "3", *arguments).returncode == 0
    names = [file.parent.name for file in tmp_path.glob("*/*/.metadata")]
    assert names == ["step-0000008"]  # those before it are gone
    for changed in (("--seed", "4"), ("--seed", "3", "--set", "opt_base_learning_rate=0.002")):
        lines = log_lines(launch("llama31_8b", *arguments, *changed).stdout)
        assert len(losses(lines)) == 9
    lines = log_lines(launch("llama31_8b", "--seed", "3", *arguments).stdout)
    assert len(losses(lines)) == 1


def test_a_run_that_diverges_ends(launch, log_lines):
    arguments = ("--seed", "3", "--set", "max_steps=24", "--set", "opt_learning_rate_warmup_steps=0", *SMALL)
    with mock.patch.object(llama_train, "evaluate", side_effect=[5.0, math.nan]):
        lines = log_lines(launch("llama31_8b", *arguments).stdout)
    assert values(lines, "eval_accuracy") == [5.0, None]
    assert lines[-1]["metadata"]["status"] == "aborted"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "full"), "vocab_size 128256 needs a data set: give --data DIR; expected c4-train.en_6_text"),
        (("--target", "0"), "--target '0' is not a number above 0"),
        (("--target", "nan"), "--target 'nan' is not a number above 0"),
        (("--target", "inf"), "--target 'inf' is not a number above 0"),
        (("--set", "opt_name=adam"), "opt_name must be adamw, not 'adam'"),
        (("--set", "heads=3"), "hidden_size must be a multiple of 2 * heads = 6, not 128"),
        (("--set", "kv_heads=3"), "heads must be a multiple of kv_heads = 3, not 4"),
        (("--set", "max_steps=20"), "opt_learning_rate_warmup_steps must be below max_steps = 20, not 20"),
        (("--set", "gradient_accumulation_steps=5"),
         "global_batch_size must be a multiple of 1 ranks times 5 gradient_accumulation_steps, not 16"),
    ],
)  # fmt: skip
def test_refusals_before_anything_starts(arguments, words, launch):
    run = launch("llama31_8b", *arguments)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert words in run.stderr
