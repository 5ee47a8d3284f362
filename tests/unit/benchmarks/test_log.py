"""What a run prints: MLPerf lines, in the order of the rules."""

import re

import pytest

OPENING = [
    "submission_benchmark", "submission_org", "submission_division", "submission_status", "submission_platform",
    "number_of_ranks", "cache_clear", "init_start", "seed", "global_batch_size", "opt_name", "opt_base_learning_rate",
    "opt_learning_rate_warmup_epochs", "opt_weight_decay", "label_smoothing", "model_bn_span",
    "sgd_opt_base_learning_rate", "sgd_opt_weight_decay", "sgd_opt_momentum", "sgd_opt_end_learning_rate",
    "sgd_opt_learning_rate_decay_poly_power", "init_stop", "run_start", "train_samples", "eval_samples",
    "sgd_opt_learning_rate_decay_steps",
]  # fmt: skip
EPOCH = "block_start epoch_start( tracked_stats)+ epoch_stop eval_start eval_accuracy eval_stop block_stop"


def test_keys_come_in_the_order_of_the_rules(resnet_log, log_lines):
    lines = log_lines(resnet_log)
    keys = [line["key"] for line in lines]
    assert keys[: len(OPENING)] == OPENING
    assert re.fullmatch(rf"({EPOCH} )+run_stop", " ".join(keys[len(OPENING) :]))
    assert [line["time_ms"] for line in lines] == sorted(line["time_ms"] for line in lines)
    assert list(lines[0]) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"]


def test_progress_and_quality(resnet_log, log_lines):
    lines = log_lines(resnet_log)
    by_key = {line["key"]: line for line in lines}
    assert by_key["run_start"]["metadata"]["max_epochs"] == 10
    assert by_key["train_samples"]["value"] == 1437
    assert by_key["eval_samples"]["value"] == 360
    evaluations = [line for line in lines if line["key"] == "eval_accuracy"]
    assert [line["metadata"]["epoch_num"] for line in evaluations] == list(range(1, len(evaluations) + 1))
    assert all(line["value"] < 0.5 for line in evaluations[:-1])
    assert evaluations[-1]["value"] >= 0.5
    assert by_key["run_stop"]["metadata"]["status"] == "success"
    last = by_key["tracked_stats"]
    assert last["metadata"]["samples_count"] == 1437 * len(evaluations)
    assert last["metadata"]["epoch_num"] == len(evaluations)
    assert last["value"]["throughput"] > 0


def test_the_official_checker_misses_nothing(resnet_log, official_complaints, log_lines):
    """It also insists on the official target, so the quality of this short run is replaced by one that reaches it."""
    lines = log_lines(resnet_log)
    for line in lines:
        if line["key"] == "eval_accuracy":
            line["value"] = 0.76
    assert official_complaints(lines) == []


def test_environment_names_the_submission_and_stands_in_for_flags(launch, log_lines):
    run = launch(
        "ncf",
        PODIUM_SUBMISSION_ORG="Example Lab", PODIUM_PLATFORM="two-cores", PODIUM_DIVISION="closed",
        PODIUM_SUBMISSION_STATUS="onprem", PODIUM_CACHE_CLEARED="node", PODIUM_SEED="41", PODIUM_TARGET="0.99",
        PODIUM_HYPERPARAMETERS='{"opt_base_learning_rate": "0.0015", "max_epochs": 1, "generated_users": 100}',
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = log_lines(run.stdout)
    values = {line["key"]: line["value"] for line in lines}
    assert [values[f"submission_{name}"] for name in ("benchmark", "org", "platform", "division", "status")] == [
        "ncf", "Example Lab", "two-cores", "closed", "onprem",
    ]  # fmt: skip
    assert (values["cache_clear"], values["seed"], values["opt_base_learning_rate"]) == (True, 41, 0.0015)
    assert lines[-1]["metadata"]["status"] == "aborted"
    assert lines[-1]["metadata"]["epoch_num"] == 1


RESNET_OF_THE_LOSSES = (
    "--set", "precision=fp32", "--set", "opt_base_learning_rate=0.04", "--set", "min_crop_area=0.5",
)  # fmt: skip


@pytest.mark.parametrize(
    ("module", "losses"),
    [
        ("resnet", [2.318740, 2.326018, 2.296783, 2.340497, 2.288227]),
        ("ncf", [0.711683, 0.701511, 0.691706, 0.682367, 0.674255]),
    ],
)
def test_golden_losses(module, losses, launch, log_lines):
    """fp32, one thread, seed 11: the first steps, as recorded when the trainer was last changed on purpose."""
    run = launch(module, "--seed", "11", "--set", "max_epochs=1", "--set", "stats_interval_seconds=0",
                 *RESNET_OF_THE_LOSSES if module == "resnet" else ())  # fmt: skip
    found = [line["value"]["loss"] for line in log_lines(run.stdout) if line["key"] == "tracked_stats"]
    assert found[:5] == pytest.approx(losses, rel=1e-3)
