"""Whole runs of the translation trainers: their logs, several ranks, text files, and what is refused."""

import gzip

import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.toy_language import toy_language

SMALL = {
    "gnmt": ("--set", "hidden_size=16", "--set", "layers=2", "--set", "toy_pairs=900", "--set", "dropout=0",
             "--set", "global_batch_size=31", "--set", "max_decode_length=10", "--set", "precision=fp32"),
    "transformer": ("--set", "hidden_size=16", "--set", "filter_size=32", "--set", "layers=1",
                    "--set", "toy_pairs=900", "--set", "dropout=0", "--set", "global_batch_size=300",
                    "--set", "precision=fp32"),
}  # fmt: skip
FILES = {"gnmt": ("train.tok.clean.bpe.32000", "newstest2014.tok.bpe.32000"), "transformer": ("train", "newstest2014")}
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
    arguments = ("--seed", "3", "--target", "1.0", "--set", "max_epochs=2", "--set", "stats_interval_seconds=0",
                 *SMALL[benchmark_name])  # fmt: skip
    losses, bleus = [], []
    for run in (launch(benchmark_name, *arguments), launch_process(benchmark_name, *arguments, ranks=2)):
        assert run.returncode == 0, run.stderr
        lines = log_lines(run.stdout)
        losses.append([line["value"]["loss"] for line in lines if line["key"] == "tracked_stats"])
        bleus.append([line["value"] for line in lines if line["key"] == "eval_accuracy"])
    assert len(losses[0]) >= 20
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


def write_wmt(benchmark_name, folder, pairs=300):
    """A folder in the layout of WMT with the toy language in it."""
    source, target = toy_language(pairs)
    train, evaluation = FILES[benchmark_name]
    reference = evaluation.split(".", maxsplit=1)[0]
    parts = {f"{train}.en": source[:-50], f"{train}.de": target[:-50],
             f"{evaluation}.en": source[-50:], f"{reference}.de": target[-50:]}  # fmt: skip
    for name, lines in parts.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    if benchmark_name == "gnmt":
        words = sorted({word for line in source + target for word in line.split()})
        (folder / "vocab.bpe.32000").write_text("\n".join(words) + "\n")
    else:
        letters = sorted({letter for line in source + target for letter in line} - {" "})
        quoted = ", ".join(f'"{letter}": {number}' for number, letter in enumerate(["Ġ", *letters]))
        (folder / "vocab.json").write_text(f"{{{quoted}}}")
        (folder / "merges.txt").write_text("#version: 0.2\n")


@both
def test_text_in_the_layout_of_wmt(benchmark_name, launch, log_lines, tmp_path):
    write_wmt(benchmark_name, tmp_path)
    run = launch(benchmark_name, "--data", str(tmp_path), "--set", "max_epochs=1", *SMALL[benchmark_name],
                 "--set", "vocab_size=400")  # fmt: skip
    assert run.returncode == 0, run.stderr
    values = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert values["eval_samples"] == 50
    assert 200 < values["train_samples"] <= 250


@both
def test_text_in_the_layout_of_multi30k(benchmark_name, launch, log_lines, tmp_path):
    source, target = toy_language(300)
    for name, lines in {"train.en": source[:-50], "train.de": target[:-50],
                        "test_2016_flickr.en": source[-50:], "test_2016_flickr.de": target[-50:]}.items():  # fmt: skip
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    run = launch(benchmark_name, "--data", str(tmp_path), "--set", "max_epochs=1", *SMALL[benchmark_name],
                 "--set", "vocab_size=700", "--set", "max_sequence_length=50")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert {line["key"]: line["value"] for line in log_lines(run.stdout)}["eval_samples"] == 50


@both
def test_text_that_is_wrong_inside_ends_the_run_with_one_sentence(benchmark_name, launch, tmp_path):
    write_wmt(benchmark_name, tmp_path)
    train = tmp_path / f"{FILES[benchmark_name][0]}.de"
    settings = ("--data", str(tmp_path), *SMALL[benchmark_name], "--set", "vocab_size=400")

    def refusal(content):
        train.write_bytes(content)
        run = launch(benchmark_name, *settings)
        assert (run.returncode, run.stdout) == (2, "")  # before the clock starts
        assert run.stderr.count("\n") == 1
        return run.stderr

    good = train.read_bytes()
    words = refusal(good + b"puh\n")
    assert f"{train.with_suffix('.en')} has 250 lines and {train} has 251: line n of one must be" in words
    assert f"{train}, line 3: empty; remove the line from both" in refusal(b"a\nb\n\n" + good)
    assert f"{train}, line 251: not UTF-8" in refusal(good + b"\xff\n")
    if benchmark_name == "transformer":
        lines = good.decode().splitlines()
        assert f"{train}, line 7: the vocabulary can't express the character '漢'" in refusal(
            "\n".join([*lines[:6], "漢 puh", *lines[7:]]).encode()
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gnmt", "--preset", "full"), "the full preset needs text: give --data DIR; expected train.tok.clean.bpe.32000.en,"),
        (("transformer", "--preset", "full"), "the full preset needs text: give --data DIR; expected train.en, train.de,"),
        (("gnmt", "--data", "/nowhere"), "--data /nowhere is not a folder; expected train.tok"),
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
    assert "newstest2014" in run.stderr
    assert "test_2016_flickr.de (Multi30k)" in run.stderr
    (tmp_path / "test_2016_flickr.en").write_text("one\n")
    run = launch(benchmark_name, "--data", str(tmp_path))
    assert f"--data {tmp_path} has no train.de, test_2016_flickr.de (or with .gz);" in run.stderr


def test_ranks_without_a_sentence_are_refused(launch, monkeypatch):
    two = Ranks(rank=0, world_size=2, device=torch.device("cpu"), cores=1)
    monkeypatch.setattr("podium_benchmarks.core.dist.join", lambda: two)
    run = launch("gnmt", "--set", "global_batch_size=1")
    assert (run.returncode, run.stdout) == (2, "")
    assert "gnmt: global_batch_size 1 leaves some of 2 ranks without a sentence" in run.stderr
