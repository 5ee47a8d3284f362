"""SSD runs from the first log line to the last: alone, on two ranks, on a folder, on a broken one."""

import re

import pytest
from tests.unit.benchmarks.coco_folder import write_folder

from podium_benchmarks.core.scenes import make_scenes

OPENING = [
    "submission_benchmark", "submission_org", "submission_division", "submission_status", "submission_platform",
    "number_of_ranks", "cache_clear", "init_start", "seed", "global_batch_size", "opt_name", "opt_base_learning_rate", "opt_learning_rate_warmup_steps",
    "opt_learning_rate_warmup_factor", "opt_learning_rate_decay_boundary_steps", "opt_weight_decay", "opt_momentum", "model_bn_span", "max_samples",
    "init_stop", "run_start", "train_samples", "eval_samples", "data_repairs",
]  # fmt: skip
EPOCH = "epoch_start( tracked_stats)+( eval_start eval_accuracy eval_stop)? epoch_stop"
SMALL = ("--set", "width=4", "--set", "train_scenes=6", "--set", "eval_scenes=3", "--set", "global_batch_size=4",
         "--set", "precision=fp32", "--seed", "5")  # fmt: skip
# 21 scenes in batches of 6, the last of 3: shards of 1 and 2. A small rate, as training amplifies rounding.
SHARED = ("--set", "width=4", "--set", "train_scenes=21", "--set", "eval_scenes=3", "--set", "global_batch_size=6",
          "--set", "model_bn_span=6", "--set", "precision=fp32", "--set", "max_epochs=5", "--seed", "3",
          "--set", "epochs_between_evals=5", "--set", "opt_base_learning_rate=0.0002",
          "--set", "opt_learning_rate_warmup_steps=0", "--set", "stats_interval_seconds=0")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """7 training and 3 evaluation photos with four classes."""
    make = {"size": 320, "classes": 4, "seed": 2}
    return write_folder(tmp_path_factory.mktemp("ssd") / "coco", make_scenes(7, held_out=False, **make),
                        make_scenes(3, held_out=True, **make))  # fmt: skip


def test_a_log_satisfies_the_rules_and_the_official_checker(launch, log_lines, official_complaints):
    run = launch("ssd", *SMALL, "--set", "max_epochs=3", "--set", "epochs_between_evals=2",
                 "--set", "opt_learning_rate_decay_boundary_steps=80,100")  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    keys = [line["key"] for line in lines]
    assert keys[: len(OPENING)] == OPENING
    assert re.fullmatch(rf"({EPOCH} )+run_stop", " ".join(keys[len(OPENING) :]))
    evaluations = [line for line in lines if line["key"] == "eval_accuracy"]
    assert [line["metadata"]["epoch_num"] for line in evaluations] == [2, 3]
    stats = [line["value"] for line in lines if line["key"] == "tracked_stats"]
    assert all(0 <= value["data_wait_share"] <= 1 and value["throughput"] > 0 for value in stats)
    values = {line["key"]: line["value"] for line in lines}
    assert (values["train_samples"], values["eval_samples"], values["model_bn_span"]) == (6, 3, 4)

    evaluations[-1]["value"] = 0.24  # the checker insists on the official target, which so short a run can't reach
    assert official_complaints(lines) == []


def test_one_and_two_ranks_give_the_same_loss_curve(launch, launch_process, log_lines):
    losses, qualities = [], []
    for run in (launch("ssd", *SHARED), launch_process("ssd", *SHARED, ranks=2)):
        assert run.returncode == 0, run.stderr
        lines = log_lines(run.stdout)
        losses.append([line["value"]["loss"] for line in lines if line["key"] == "tracked_stats"])
        qualities.append([line["value"] for line in lines if line["key"] == "eval_accuracy"])
    assert len(losses[0]) == 20
    assert losses[0][-1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert qualities[1] == pytest.approx(qualities[0], abs=0.02)


def test_a_folder_trains_with_its_own_classes(folder, launch, log_lines):
    run = launch("ssd", *SMALL, "--data", str(folder), "--set", "max_epochs=1")
    assert run.returncode == 0, run.stderr
    values = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert (values["train_samples"], values["eval_samples"]) == (7, 3)


def test_a_broken_photo_ends_the_run_with_one_sentence(folder, launch_process):
    photo = folder / "train2017" / "000000000004.jpg"
    pixels = photo.read_bytes()
    photo.write_bytes(pixels[:900])
    run = launch_process("ssd", *SMALL, "--data", str(folder))
    photo.write_bytes(pixels)
    assert run.returncode == 2
    assert re.fullmatch(r"ssd: \S+/train2017/000000000004\.jpg can't be decoded \(.*\): replace the file\n", run.stderr)
    assert "run_stop" not in run.stdout
