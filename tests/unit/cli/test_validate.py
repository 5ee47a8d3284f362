"""``podium validate``: what the operator would say of a run."""

from __future__ import annotations

import pytest
import yaml


def run_file(tmp_path, **spec):
    document = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkRun",
        "metadata": {"name": "mine"},
        "spec": {"suite": "v0.6", "benchmark": "resnet", "system": {"name": "box", "nodes": 1}, **spec},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_an_admissible_run(podium_json, podium_text, tmp_path):
    path = run_file(tmp_path, hyperparameters={"global_batch_size": 256})
    assert podium_json("validate", path) == (0, {"name": "mine", "file": str(path), "findings": []})
    code, text = podium_text("validate", path)
    assert (code, "mine would be admitted to v0.6 resnet, closed division" in " ".join(text.split())) == (0, True)


@pytest.mark.parametrize(
    ("spec", "rule", "where", "message"),
    [
        ({"suite": "v0.4"}, "spec.suite.unknown", "spec.suite", "unknown suite 'v0.4'; choose one of v0.5, v0.6"),
        (
            {"hyperparameters": {"opt_name": "adam"}},
            "spec.hyperparameters.value",
            "spec.hyperparameters.opt_name",
            "'adam' is not allowed; choose one of sgd, lars",
        ),
        (
            {"hyperparameters": {"opt_learning_rate_decay_boundary_epochs": [30, -1]}},
            "spec.hyperparameters.value",
            "spec.hyperparameters.opt_learning_rate_decay_boundary_epochs",
            "-1 is too small; use 0 or more",
        ),
        (
            {"hyperparameters": {"opt_learning_rate_decay_boundary_epochs": [30, "x"]}},
            "spec.hyperparameters.value",
            "spec.hyperparameters.opt_learning_rate_decay_boundary_epochs",
            "'x' is no number",
        ),
    ],
)
def test_findings_are_the_operators(podium_json, tmp_path, spec, rule, where, message):
    code, document = podium_json("validate", run_file(tmp_path, **spec))
    assert code == 1
    (finding,) = document["findings"]
    assert (finding["rule"], finding["where"], finding["message"]) == (rule, where, message)


def test_a_file_of_another_form_is_wrong_use(podium_text, tmp_path):
    code, text = podium_text("validate", run_file(tmp_path, nodes=3))
    assert (code, "spec.nodes: Extra inputs are not permitted" in text) == (2, True)
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe")
    code, text = podium_text("validate", tmp_path / "run.yaml")
    assert (code, "is no text in UTF-8" in text) == (2, True)
