"""``podium borrow``: another result's hyperparameters in another run."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.cli.logs import mll, v06_run, write
from tests.unit.cli.test_validate import run_file

VALUES = {"global_batch_size": 2048, "opt_base_learning_rate": 4.5, "opt_name": "LARS", "model_bn_span": 32}


def result(tmp_path, benchmark="resnet", values=VALUES, last=None):
    """A result of five runs, the last of which may have other `last` values."""
    runs = []
    for index in range(5):
        own = {**values, **(last or {})} if index == 4 else values
        runs.append([*(mll(key, value, -9) for key, value in own.items()), *v06_run(benchmark, 60, 0.99)])
    return write(tmp_path / f"v0.6/acme/box/{benchmark}", runs)


def test_the_group_takes_the_place_of_the_runs_own(podium_json, tmp_path):
    run = run_file(tmp_path, hyperparameters={"global_batch_size": 256, "opt_learning_rate_warmup_epochs": 5})
    code, document = podium_json("borrow", result(tmp_path), "--to", run)
    assert (code, document["findings"]) == (0, [])
    assert document["run"]["spec"]["hyperparameters"] == {
        "global_batch_size": 256, "opt_base_learning_rate": 4.5, "opt_name": "lars", "model_bn_span": 32,
    }  # fmt: skip
    metadata = document["run"]["metadata"]
    assert metadata["name"] == "mine-borrowed"
    assert metadata["annotations"]["podium.dev/borrowed-result"] == "v0.6 acme box resnet"
    assert metadata["annotations"]["podium.dev/borrowed-from"].endswith("v0.6/acme/box/resnet")


def test_the_batch_size_is_optional_and_the_new_run_is_admissible(podium_text, podium_json, tmp_path):
    run, out = run_file(tmp_path), tmp_path / "new.yaml"
    assert podium_text("borrow", result(tmp_path), "--to", run, "--out", out, "--batch-size") == (0, "")
    assert yaml.safe_load(out.read_text())["spec"]["hyperparameters"]["global_batch_size"] == 2048
    assert podium_json("validate", out)[0] == 0
    assert podium_json("borrow", result(tmp_path), "--to", run, "--out", out)[0] == 2


@pytest.mark.parametrize(
    ("made", "rule", "message"),
    [
        ({"benchmark": "ssd"}, "borrow.benchmark", "the result is for ssd, the run for resnet"),
        (
            {"last": {"opt_base_learning_rate": 5}},
            "borrow.differs",
            "the attempts differ in opt_base_learning_rate: 4.5, 5",
        ),
        (
            {"values": {"opt_name": "rmsprop"}},
            "v0.6.resnet.optimizer",
            "'rmsprop' is not allowed; allowed: sgd or lars; the nearest allowed value is lars",
        ),
        (
            {"values": {"opt_name": "sgd", "opt_learning_rate": 3.2}},
            "borrow.rate",
            "the logs do not have opt_base_learning_rate; without it the group is incomplete",
        ),
        ({"values": {}}, "borrow.nothing", "no log of box has a hyperparameter that the run can set"),
    ],
)
def test_what_cannot_be_borrowed(podium_json, tmp_path, made, rule, message):
    folder = result(tmp_path, **made)
    code, document = podium_json("borrow", folder, "--to", run_file(tmp_path))
    assert (code, document["run"]) == (1, None)
    assert {f["rule"]: f["message"] for f in document["findings"]}.get(rule) == message
