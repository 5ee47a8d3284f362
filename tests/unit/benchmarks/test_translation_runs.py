"""Whole runs of the translation trainers: their logs, several ranks, text files, and what is refused."""

import gzip

import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.toy_language import toy_language

SMALL = {
    "gnmt": ("--set", "hidden_size=16", "--set", "layers=2", "--set", "toy_pairs=900", "--set", "dropout=0",
             "--set", "global_batch_size=31", "--set", "max_decode_length=10", "--set", "precision=fp32",
             "--set", "opt_learning_rate_warmup_steps=5"),
    "transformer": ("--set", "hidden_size=16", "--set", "filter_size=32", "--set", "layers=1",
                    "--set", "toy_pairs=900", "--set", "dropout=0", "--set", "global_batch_size=300",
                    "--set", "precision=fp32"),
}  # fmt: skip
SHARED = ("--seed", "3", "--target", "1.0", "--set", "max_epochs=2", "--set", "stats_interval_seconds=0")
HYPERPARAMETERS = {
    "gnmt": {
        "opt_base_learning_rate", "global_batch_size", "opt_learning_rate_alt_decay_func",
        "opt_learning_rate_decay_interval", "opt_learning_rate_remain_steps", "opt_learning_rate_alt_warmup_func",
        "opt_learning_rate_warmup_steps", "opt_learning_rate_decay_factor", "opt_learning_rate_decay_steps",
        "max_sequence_length",
    },
    "transformer": {
        "global_batch_size", "opt_name", "opt_base_learning_rate", "opt_learning_rate_warmup_steps",
        "max_sequence_length", "opt_adam_beta_1", "opt_adam_beta_2", "opt_adam_epsilon",
    },
}  # fmt: skip
both = pytest.mark.parametrize("benchmark_name", ["gnmt", "transformer"])


@both
def test_one_and_two_ranks_give_the_same_losses_and_bleu(benchmark_name, launch, launch_process, log_lines):
    """Batches of odd sizes, so that ranks have unequal numbers of sentences and tokens; 501 to evaluate."""
    arguments = (*SHARED, *SMALL[benchmark_name])
    losses, bleus = [], []
    for run in (launch(benchmark_name, *arguments), launch_process(benchmark_name, *arguments, ranks=2)):
        assert run.returncode == 0, run.stderr
        lines = log_lines(run.stdout)
        losses.append([line["value"]["loss"] for line in lines if line["key"] == "tracked_stats"])
        bleus.append([line["value"] for line in lines if line["key"] == "eval_accuracy"])
    assert len(losses[0]) >= 20
    assert losses[0][19] < losses[0][0] - 0.1
    assert losses[1][:20] == pytest.approx(losses[0][:20], rel=1e-4)
    assert bleus[1] == pytest.approx(bleus[0], abs=2e-3)  # a search may turn at a rounding


@both
def test_a_log_has_every_hyperparameter_of_the_rounds_once(benchmark_name, launch, log_lines):
    run = launch(benchmark_name, "--seed", "4", "--target", "25", "--set", "max_epochs=1", *SMALL[benchmark_name])
    lines = log_lines(run.stdout)
    keys = [line["key"] for line in lines]
    assert all(keys.count(key) == 1 for key in HYPERPARAMETERS[benchmark_name])
    by_key = {line["key"]: line for line in lines}
    assert by_key["eval_target"]["value"] == 0.25  # as 25 of 100
    assert by_key["max_sequence_length"]["metadata"]["method"] == "discard"
    assert 0 <= by_key["eval_accuracy"]["value"] < 1
    assert by_key["eval_samples"]["value"] == 500
    last = by_key["tracked_stats"]
    assert last["metadata"]["samples_count"] == by_key["train_samples"]["value"]
    assert last["value"]["tokens_per_second"] > last["value"]["throughput"] > 0
    order = ["init_start", "max_sequence_length", "init_stop", "run_start", "train_samples", "block_start",
             "epoch_start", "epoch_stop", "eval_start", "eval_accuracy", "eval_stop", "block_stop", "run_stop"]  # fmt: skip
    assert [key for key in keys if key in order] == order


def write_multi30k(folder):
    source, target = toy_language(300)
    for name, lines in {"train.en": source[:-50], "train.de": target[:-50],
                        "test_2016_flickr.en": source[-50:], "test_2016_flickr.de": target[-50:]}.items():  # fmt: skip
        (folder / f"{name}.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


@both
def test_text_in_the_layout_of_multi30k(benchmark_name, launch, log_lines, tmp_path):
    write_multi30k(tmp_path)
    settings = (*SMALL[benchmark_name], "--set", "vocab_size=700", "--set", "max_sequence_length=50")
    run = launch(benchmark_name, "--data", str(tmp_path), "--set", "max_epochs=1", *settings)
    assert run.returncode == 0, run.stderr
    assert {line["key"]: line["value"] for line in log_lines(run.stdout)}["eval_samples"] == 50
    # Text is read on the clock, as all data; what is wrong in it ends the run with one sentence
    (tmp_path / "train.de").write_bytes(b"puh\n" * 251)
    run = launch(benchmark_name, "--data", str(tmp_path), *settings)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert f"{tmp_path}/train.en.gz has 250 lines and {tmp_path}/train.de has 251: line n of one must be" in run.stderr
    assert [line["key"] for line in log_lines(run.stdout)][-2:] == ["init_stop", "run_start"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gnmt", "--preset", "full"), "the full preset needs text: give --data DIR; expected the folder that `podium-benchmarks prepare gnmt` makes, or"),
        (("transformer", "--preset", "full"), "the full preset needs text: give --data DIR; expected the folder that"),
        (("gnmt", "--data", "/nowhere"), "--data /nowhere is not a folder; expected the folder that"),
        (("gnmt", "--target", "101"), "--target '101' is not a number above 0 and up to 1 (or up to 100"),
        (("gnmt", "--set", "layers=1"), "layers must be at least 2, not 1"),
        (("gnmt", "--set", "opt_name=sgd"), "opt_name must be adam, not 'sgd'"),
        (("gnmt", "--set", "toy_pairs=500"), "toy_pairs must be above the 500 held out, not 500"),
        (("transformer", "--set", "opt_name=sgd"), "opt_name must be one of adam, lazy_adam, not 'sgd'"),
        (("transformer", "--set", "hidden_size=20"), "hidden_size must be a multiple of 2 * heads = 8, not 20"),
        (("transformer", "--set", "global_batch_size=64"), "must be above max_sequence_length = 64, not 64"),
        (("transformer", "--set", "dropout=1"), "dropout must be from 0 to below 1, not 1.0"),
    ],
)  # fmt: skip
def test_refusals_before_anything_starts(arguments, words, launch):
    run = launch(*arguments)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert words in run.stderr


@both
def test_folders_without_the_right_files(benchmark_name, launch, tmp_path):
    (tmp_path / "train.en").write_text("one\n")
    run = launch(benchmark_name, "--data", str(tmp_path))
    assert (run.returncode, run.stdout) == (2, "")
    assert f"has no ids.json: make a folder with `podium-benchmarks prepare {benchmark_name} --out NEW`" in run.stderr
    (tmp_path / "test_2016_flickr.en").write_text("one\n")
    run = launch(benchmark_name, "--data", str(tmp_path))
    assert f"--data {tmp_path} has no train.de, test_2016_flickr.de (or with .gz);" in run.stderr


def test_ranks_without_a_sentence_are_refused(launch, monkeypatch):
    two = Ranks(rank=0, world_size=2, device=torch.device("cpu"), cores=1)
    monkeypatch.setattr("podium_benchmarks.core.dist.join", lambda: two)
    run = launch("gnmt", "--set", "global_batch_size=1")
    assert (run.returncode, run.stdout) == (2, "")
    assert "gnmt: global_batch_size 1 leaves some of 2 ranks without a sentence" in run.stderr
