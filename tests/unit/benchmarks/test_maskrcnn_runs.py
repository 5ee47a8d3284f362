"""Mask R-CNN runs from the first log line to the last: alone, on two ranks, on a folder."""

import re

import pytest
from tests.unit.benchmarks.coco_folder import write_folder

from podium_benchmarks.core.scenes import make_scenes

OPENING = [
    "submission_benchmark", "submission_org", "submission_division", "submission_status", "submission_platform",
    "number_of_ranks", "cache_clear", "init_start", "seed", "global_batch_size", "opt_name", "opt_base_learning_rate", "opt_learning_rate_warmup_steps",
    "opt_learning_rate_warmup_method", "opt_learning_rate_warmup_factor", "opt_learning_rate_decay_steps",
    "opt_learning_rate_decay_factor", "opt_weight_decay", "opt_momentum", "num_image_candidates", "min_image_size", "max_image_size",
    "init_stop", "run_start", "train_samples", "eval_samples", "data_repairs",
]  # fmt: skip
EPOCH = "epoch_start( tracked_stats)+( eval_start eval_accuracy eval_stop)? epoch_stop"
NARROW = ("--set", "width=4", "--set", "fpn_channels=8", "--set", "box_features=16", "--set", "mask_channels=8",
          "--set", "min_image_size=64", "--set", "precision=fp32", "--set", "eval_scenes=3")  # fmt: skip
SMALL = (*NARROW, "--set", "train_scenes=6", "--set", "global_batch_size=4", "--seed", "5")
# 21 scenes in batches of 6, the last of 3: shards of 1 and 2. A small rate, as training amplifies rounding.
SHARED = (*NARROW, "--set", "train_scenes=21", "--set", "global_batch_size=6", "--set", "sync_bn=true",
          "--set", "max_epochs=5", "--seed", "3", "--set", "epochs_between_evals=5",
          "--set", "opt_base_learning_rate=0.0002", "--set", "opt_learning_rate_warmup_steps=0",
          "--set", "stats_interval_seconds=0")  # fmt: skip


def test_a_log_satisfies_the_rules_and_the_official_checker(launch, log_lines, official_complaints):
    run = launch("maskrcnn", *SMALL, "--set", "max_epochs=3", "--set", "epochs_between_evals=2",
                 "--set", "opt_learning_rate_decay_steps=80,100", "--set", "num_image_candidates=1000")  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    keys = [line["key"] for line in lines]
    assert keys[: len(OPENING)] == OPENING
    assert re.fullmatch(rf"({EPOCH} )+run_stop", " ".join(keys[len(OPENING) :]))
    evaluations = [line for line in lines if line["key"] == "eval_accuracy"]
    assert [line["metadata"]["epoch_num"] for line in evaluations] == [2, 3]
    assert all(line["value"].keys() == {"BBOX", "SEGM"} for line in evaluations)

    evaluations[-1]["value"] = {"BBOX": 0.38, "SEGM": 0.34}  # the official targets, which so short a run can't reach
    assert official_complaints(lines) == []


def test_one_and_two_ranks_give_the_same_loss_curve(launch, launch_process, log_lines):
    losses, qualities = [], []
    for run in (launch("maskrcnn", *SHARED), launch_process("maskrcnn", *SHARED, ranks=2)):
        assert run.returncode == 0, run.stderr
        lines = log_lines(run.stdout)
        losses.append([line["value"]["loss"] for line in lines if line["key"] == "tracked_stats"])
        qualities.append([line["value"]["BBOX"] for line in lines if line["key"] == "eval_accuracy"])
    assert len(losses[0]) == 20
    assert losses[0][-1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert qualities[1] == pytest.approx(qualities[0], abs=0.02)


def test_a_folder_trains_with_its_own_classes(tmp_path, launch, log_lines):
    make = {"size": 80, "classes": 4, "seed": 2}
    folder = write_folder(tmp_path / "coco", make_scenes(7, held_out=False, **make),
                          make_scenes(3, held_out=True, **make))  # fmt: skip
    run = launch("maskrcnn", *SMALL, "--data", str(folder), "--set", "max_epochs=1")
    assert run.returncode == 0, run.stderr
    values = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert (values["train_samples"], values["eval_samples"]) == (7, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "0.3"), "--target '0.3' is not box AP/mask AP, each a number above 0 and up to 1"),
        (("--target", "0.3/2"), "--target '0.3/2' is not box AP/mask AP"),
        (
            ("--preset", "full", "--data", "{folder}"),
            "a frozen backbone can't learn: put its weights into the data folder as resnet50-msra.pth",
        ),
        (("--set", "anchor_sizes=8,16"), "anchor_sizes must be 5 whole numbers above 0, not (8, 16)"),
        (("--set", "min_image_size=300"), "max_image_size must be at least min_image_size, which is 300, not 224"),
        (("--set", "num_classes=80"), "without --data there are only 3 digits to find, but num_classes is 80"),
    ],
)
def test_what_can_t_be_run_is_reported_before_anything_starts(arguments, message, tmp_path, launch):
    make = {"size": 80, "classes": 3, "seed": 2}
    folder = write_folder(tmp_path / "coco", *(make_scenes(1, held_out=part, **make) for part in (False, True)))
    run = launch("maskrcnn", *(argument.format(folder=folder) for argument in arguments))
    assert run.returncode == 2
    assert run.stderr.startswith(f"maskrcnn: {message}"), run.stderr
    assert "run_start" not in run.stdout


def test_both_targets_end_the_run(launch, log_lines):
    run = launch("maskrcnn", *SMALL, "--target", "1/1e-9", "--set", "max_epochs=1")
    assert log_lines(run.stdout)[-1]["metadata"]["status"] == "aborted"
