"""What a person reads who asks for something that can't be run: one sentence, before any log line."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from podium_benchmarks import benchmark
from podium_benchmarks.core import cli
from podium_benchmarks.resnet import BENCHMARK as RESNET


def refusal(name, *arguments, **environment):
    """The sentence with which a request is refused."""
    trainer = benchmark(name)

    def ask():
        request = cli.parse(trainer, arguments, environment)
        trainer.load("data").check_data(cli.configure(trainer, request), request.settings.data_dir)

    with pytest.raises(cli.UsageError) as refused:
        ask()
    return str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "huge"], "--preset 'huge' is unknown; choose one of tiny, full"),
        (["--seed", "-1"], "--seed '-1' is not a whole number between 0 and 2^63 - 1"),
        (["--target", "75.9"], "--target '75.9' is not a number above 0 and up to 1"),
        (["--set", "width"], "--set 'width' is not KEY=VALUE"),
        (["--set", "global_batch=8"], "unknown hyperparameter 'global_batch'; did you mean global_batch_size? known"),
        (["--set", "target=0.5"], "unknown hyperparameter 'target'"),
        (["--set", "zzz=8"], "unknown hyperparameter 'zzz'; known are blocks, compile, decay_end_epoch,"),
        (["--set", "global_batch_size=many"], "hyperparameter global_batch_size must be a whole number, not 'many'"),
        (["--set", "global_batch_size=0"], "global_batch_size must be above 0, not 0"),
        (["--set", "global_batch_size=2.5"], "hyperparameter global_batch_size must be a whole number, not 2.5"),
        (["--set", "opt_name=adam"], "opt_name must be one of sgd, lars, not 'adam'"),
        (["--set", "blocks=1,1"], "blocks must be four numbers of at least 1, not (1, 1)"),
        (["--set", "model_bn_span=7"], "model_bn_span must be a rank's shard of the batch (64, or 0), the shards of"),
        (["--preset", "full"], "only the 10 digits to learn, but num_classes is 1000: give --data DIR; expected"),
        (["--data", "/nowhere"], "--data /nowhere is not a folder; expected DIR/train/<class>/*.jpg"),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3"),
    ],
)
def test_refusals(arguments, words):
    assert words in refusal("resnet", *arguments)


def test_a_boolean_is_true_or_false():
    words = "hyperparameter frozen_backbone must be a boolean (true or false), not 7"
    assert words in refusal("maskrcnn", "--set", "frozen_backbone=7")


def test_refusals_of_the_environment():
    assert "PODIUM_HYPERPARAMETERS is not JSON" in refusal("ncf", PODIUM_HYPERPARAMETERS="{")
    assert "is not a JSON object: [1]" in refusal("ncf", PODIUM_HYPERPARAMETERS="[1]")
    wrong = json.dumps({"opt_base_learning_rate": None})
    assert "opt_base_learning_rate must be a number, not None" in refusal("ncf", PODIUM_HYPERPARAMETERS=wrong)


def test_folders_that_are_no_data_set(tmp_path):
    assert "has no folder train/; expected DIR/train/<class>/*.jpg" in refusal("resnet", "--data", str(tmp_path))
    for part, name in (("train", "cat"), ("val", "dog")):
        (tmp_path / part / name).mkdir(parents=True)
    assert "different classes, for example ['cat', 'dog']" in refusal("resnet", "--data", str(tmp_path))
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "cat")
    assert "or, in the open division, add --set num_classes=1" in refusal("resnet", "--data", str(tmp_path))
    assert "has no ratings.csv; expected DIR/ratings.csv" in refusal("ncf", "--data", str(tmp_path))


def test_a_refused_run_prints_one_line_on_rank_0_and_exits_with_2(launch, launch_process):
    run = launch_process("resnet", "--set", "widht=3")  # codespell:ignore widht
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert run.stderr.startswith(
        "resnet: unknown hyperparameter 'widht'; did you mean width? known are "
    )  # codespell:ignore widht
    other = launch("resnet", "--set", "widht=3", RANK="1", WORLD_SIZE="2")  # codespell:ignore widht
    assert (other.returncode, other.stdout, other.stderr) == (2, "", "")


def test_flags_win_over_the_environment():
    environment = {
        "PODIUM_SEED": "1",
        "PODIUM_TARGET": "0.5",
        "PODIUM_HYPERPARAMETERS": '{"width": 4, "max_epochs": 2}',
    }
    request = cli.parse(RESNET, ["--seed", "9", "--set", "width=16"], environment)
    assert (request.settings.seed, request.target) == (9, 0.5)
    config = cli.configure(RESNET, request)
    assert (config.width, config.max_epochs, config.target) == (16, 2, 0.5)


def test_hyperparameters_may_carry_the_optimizer_in_front_as_in_v0_7_logs():
    given = ["sgd_opt_weight_decay=3e-4", "lars_opt_weight_decay=7e-5", "lars_opt_end_learning_rate=0.5"]
    request = cli.parse(RESNET, [word for setting in given for word in ("--set", setting)], {})
    config = cli.configure(RESNET, request)
    assert (config.opt_weight_decay, config.opt_end_learning_rate) == (3e-4, 0.5)
    assert config.weight_decay == 3e-4
    assert dataclasses.replace(config, opt_name="lars").weight_decay == 7e-5


def test_the_full_ncf_needs_ratings():
    words = "the full preset needs ratings: give --data DIR; expected DIR/ratings.csv with the columns userId,movieId"
    assert words in refusal("ncf", "--preset", "full")


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, cli.OPENMP_SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_threads_sleep_soon_while_they_wait_for_each_other(given, spins):
    """As OpenMP itself reports: with a busy neighbor, spinning made a step on two cores seven times slower."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "PODIUM_"))}
    run = subprocess.run(
        [sys.executable, "-m", "podium_benchmarks.gnmt", "--data", "/nowhere"],
        env=inherited | given | {"OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert f"GOMP_SPINCOUNT = '{spins}'" in run.stderr
