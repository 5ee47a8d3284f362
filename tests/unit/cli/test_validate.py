"""``podium validate``: what the operator would say of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from podium.api import BenchmarkRunSpec, ConditionType
from podium.reconcile import decide
from podium.rounds import load_rounds
from tests.unit.controller.test_sweeps import Api, again
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.test_sweep import TEMPLATE, UID


def run_file(tmp_path, **spec):
    document = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkRun",
        "metadata": {"name": "mine"},
        "spec": {
            "round": "v0.6",
            "benchmark": "resnet",
            "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
            "data": {"persistentVolumeClaim": {"claimName": "imagenet"}},
            **spec,
        },
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_an_admissible_run(podium_json, podium_text, tmp_path):
    path = run_file(tmp_path, hyperparameters={"global_batch_size": 256})
    assert podium_json("validate", path) == (0, [{"name": "mine", "file": str(path), "findings": []}])
    code, text = podium_text("validate", path)
    assert (code, "mine would be admitted to v0.6 resnet, closed division" in " ".join(text.split())) == (0, True)


def test_a_run_whose_result_cannot_be_submitted(podium_text, tmp_path):
    path = run_file(tmp_path, benchmark="ncf")
    code, text = podium_text("validate", path)
    said = "admitted to v0.6 ncf, closed division; v0.6 suspended ncf: its result cannot be submitted"
    assert (code, said in " ".join(text.split())) == (0, True), text
    small = run_file(tmp_path, benchmark="ncf", division="open", preset="tiny")
    assert "suspended" not in podium_text("validate", small)[1]


def test_a_closed_run_that_names_no_submitter_is_told_where_to_name_one(podium_text, tmp_path):
    said = (
        "closed division; its logs will name no submitter: to submit the result, set spec.submission.org and .status "
        "first, unless the chart's values do (trainer.submission)"
    )
    assert said in " ".join(podium_text("validate", run_file(tmp_path))[1].split())
    named = podium_text("validate", run_file(tmp_path, submission={"org": "ACME"}))[1]
    assert "submitter" not in named
    opened = podium_text("validate", run_file(tmp_path, division="open", preset="tiny"))[1]
    assert "submitter" not in opened


def test_a_field_in_the_wrong_place_is_shown_the_right_one(podium_json, tmp_path):
    """The division is one of the run, not of its submission."""
    _, (document,) = podium_json("validate", run_file(tmp_path, submission={"org": "ACME", "division": "closed"}))
    (finding,) = document["findings"]
    assert (finding["where"], finding["message"], finding["remedy"]) == (
        "spec.submission.division", "unknown field", "set spec.division",
    )  # fmt: skip


@pytest.mark.parametrize("division", ["closed", "open"])
def test_the_way_out_of_a_missing_data_set_is_one_that_the_division_has(podium_json, tmp_path, division):
    _, (document,) = podium_json("validate", run_file(tmp_path, data=None, division=division))
    (finding,) = document["findings"]
    assert finding["remedy"] == "set one of them" + (", or use preset: tiny" if division == "open" else "")


@pytest.mark.parametrize(
    ("spec", "rule", "where", "message"),
    [
        (
            {"round": "v0.4"},
            "spec.round.unknown",
            "spec.round",
            f"unknown round 'v0.4'; choose one of {', '.join(load_rounds())}",
        ),
        (
            {"hyperparameters": {"opt_name": "adam"}},
            "v0.6.resnet.optimizer",
            "spec.hyperparameters.opt_name",
            "'adam' is not allowed; allowed: sgd or lars; the nearest allowed value is sgd",
        ),
        (
            {"hyperparameters": {"opt_name": "sgd", "opt_learning_rate_decay_boundary_epochs": [30, -1]}},
            "v0.6.resnet.schedule",
            "spec.hyperparameters.opt_learning_rate_decay_boundary_epochs",
            "[30, -1] is not allowed; allowed: numbers, each 0 or more; the nearest allowed value is [30, 0]",
        ),
        (
            {"hyperparameters": {"opt_name": "sgd", "opt_learning_rate_decay_boundary_epochs": [30, "x"]}},
            "v0.6.resnet.schedule",
            "spec.hyperparameters.opt_learning_rate_decay_boundary_epochs",
            "'x' is not a number",
        ),
        (
            {"round": "v0.5", "hyperparameters": {"opt_base_learning_rate": 0.33, "global_batch_size": 1664}},
            "v0.5.resnet.rate",
            "spec.hyperparameters.opt_base_learning_rate",
            (
                "0.33 is not allowed; allowed: 0.1 or 0.128, times a whole number, or 0.65 or 0.832 (for 1664 samples), "
                "times one; the nearest allowed value is 0.3"
            ),
        ),
        (
            {"round": "v0.5", "hyperparameters": {"opt_momentum": 0.8}},
            "spec.hyperparameters.closed",
            "spec.hyperparameters.opt_momentum",
            (
                "not tunable in the closed division of v0.5 resnet, where it is 0.9; tunable: global_batch_size, "
                "opt_base_learning_rate, opt_learning_rate_decay_boundary_epochs, opt_learning_rate_warmup_epochs, "
                "opt_learning_rate_warmup_factor"
            ),
        ),
        (
            {"hyperparameters": {"opt_learning_rate_decay_boundary_epochs": [30, 60, 80]}},
            "v0.6.resnet.schedule",
            "spec.hyperparameters.opt_learning_rate_decay_boundary_epochs",
            "is only for sgd, but opt_name is lars",
        ),
        (
            {"hyperparameters": {"opt_name": "sgd", "lars_epsilon": 0}},
            "v0.6.resnet.lars_epsilon",
            "spec.hyperparameters.lars_epsilon",
            "is only for lars, but opt_name is sgd",
        ),
        (
            {"division": "outOfTheBox", "hyperparameters": {"global_batch_size": 64, "opt_base_learning_rate": 0.512}},
            "spec.hyperparameters.outOfTheBox",
            "spec.hyperparameters.opt_base_learning_rate",
            "not tunable out of the box; leave it out: such a run may set only global_batch_size",
        ),
        (
            {"division": "outOfTheBox", "hyperparameters": {"global_batch_size": 0}},
            "v0.6.resnet.batch",
            "spec.hyperparameters.global_batch_size",
            "0 is not allowed; allowed: integer, 1 or more; the nearest allowed value is 1",
        ),
        (
            {"division": "outOfTheBox", "preset": "tiny"},
            "spec.preset.closed",
            "spec.preset",
            "tiny is not the benchmark itself; use it with division: open, or use preset: full",
        ),
        (
            {"division": "outOfTheBox", "quality": {"target": "0.5"}},
            "spec.quality.closed",
            "spec.quality.target",
            "a closed run stops at the round's target; remove quality, or use division: open",
        ),
        (
            {"division": "open", "quality": {"target": "0.5/0.4"}},
            "spec.quality.metrics",
            "spec.quality.target",
            "resnet has 1 quality metric(s), top1; '0.5/0.4' has 2",
        ),
        (
            {"division": "open", "hyperparameters": {"opt_momentum": -1}},
            "spec.hyperparameters.value",
            "spec.hyperparameters.opt_momentum",
            "-1 is not a valid value; use number, 0 or more",
        ),
    ],
)
def test_findings_are_the_operators(podium_json, tmp_path, spec, rule, where, message):
    code, (document,) = podium_json("validate", run_file(tmp_path, **spec))
    assert code == 1
    (finding,) = document["findings"]
    assert (finding["rule"], finding["where"], finding["message"]) == (rule, where, message)


def test_the_operators_condition_says_the_same(podium_json, tmp_path):
    """Reason and words of the Admitted condition are those of the command."""
    settings = {"global_batch_size": 1216, "opt_learning_rate_decay_boundary_steps": [4000, 5000], "max_samples": 0}
    path = run_file(tmp_path, round="v0.5", benchmark="ssd", hyperparameters=settings)
    _, (document,) = podium_json("validate", path)
    spec = BenchmarkRunSpec.model_validate(yaml.safe_load(path.read_text())["spec"])
    run = replace(ex.run(), spec=spec)
    status = decide(run, ex.observed(), load_rounds(), ex.T0).status
    condition = status.condition(ConditionType.ADMITTED)
    assert condition.status == "False"
    assert len(document["findings"]) == 2
    for finding in document["findings"]:
        assert f"{finding['where']}: {finding['message']}; {finding['remedy']}" in condition.message
    assert "the nearest allowed value is [4210, 5263]; training_rules.adoc:263" in condition.message


def test_several_runs_in_one_file(podium_json, podium_text, tmp_path):
    """A whole round is one file; every run in it is checked."""
    right = run_file(tmp_path).read_text()
    wrong = run_file(tmp_path, preset="tiny").read_text().replace("mine", "other")
    path = tmp_path / "round.yaml"
    path.write_text(f"---\n{right}---\n{wrong}---\n")
    code, documents = podium_json("validate", path)
    assert code == 1
    assert [(d["name"], [f["rule"] for f in d["findings"]]) for d in documents] == [
        ("mine", []), ("other", ["spec.preset.closed"]),
    ]  # fmt: skip
    assert f"{path}: other: spec.preset.closed" in " ".join(podium_text("validate", path)[1].split())
    path.write_text(f"{right}---\n{right}")
    assert podium_text("validate", path) == (2, f"{path}: 2 runs have metadata.name: mine; give each a different name")
    path.write_text(f"kind: Pod\n---\n{right}---\nkind: BenchmarkRun\n")
    said = f"{path}, object 3 of 3: expected apiVersion: podium.dev/v1alpha1 and kind: BenchmarkRun or BenchmarkSweep"
    assert podium_text("validate", path) == (2, said)


def test_files_and_folders_at_once(podium_json, podium_text, tmp_path):
    """As kubectl apply -f takes them; what is for other controllers is not Podium's to check."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "volume.yaml").write_text("apiVersion: v1\nkind: PersistentVolumeClaim\n---\n- a list\n")
    (folder / "README.md").write_text("{ no YAML")
    (folder / "gnmt.yml").write_text("apiVersion: v1\nkind: Secret\n---\n" + run_file(tmp_path).read_text())
    (folder / "nested").mkdir()
    sweep = sweep_file(tmp_path)
    code, documents = podium_json("validate", folder, sweep)
    assert code == 0
    assert [(one["name"], one["file"]) for one in documents] == [
        ("mine", str(folder / "gnmt.yml")), ("fleet.of-64", str(sweep)),
    ]  # fmt: skip
    said = f"{folder / 'volume.yaml'}: it has no BenchmarkRun and no BenchmarkSweep"
    assert podium_text("validate", folder / "volume.yaml") == (2, said)


def test_lists_of_numbers_are_values(podium_json, tmp_path):
    """MiniGo of the 0.6.0 checker has a learning rate for each stretch between its boundaries."""
    settings = {"opt_base_learning_rate": [0.32, 0.032], "opt_learning_rate_decay_boundary_steps": [12500]}
    assert podium_json("validate", run_file(tmp_path, benchmark="minigo", hyperparameters=settings))[0] == 0
    code, (document,) = podium_json("validate", run_file(tmp_path, hyperparameters={"opt_base_learning_rate": [0.3]}))
    assert (code, document["findings"][0]["message"]) == (1, "[0.3] is not a number")


def test_anything_goes_in_the_open_division(podium_json, tmp_path):
    settings = {"opt_base_learning_rate": 0.3333, "opt_momentum": 0.1, "opt_name": "adam", "max_epochs": 3}
    path = run_file(tmp_path, round="v0.5", division="open", hyperparameters=settings, quality={"target": "0.5"})
    assert podium_json("validate", path)[0] == 0


@pytest.mark.parametrize(
    ("spec", "where", "message"),
    [
        ({"nodes": 3}, "spec.nodes", "unknown field"),
        ({"system": {"name": "box"}}, "spec.system.nodes", "is missing"),
        ({"system": {"name": "box", "nodes": 1}}, "spec.system.acceleratorsPerNode", "a closed run needs accelerators"),
        (
            {"data": None},
            "spec.data.persistentVolumeClaim.claimName",
            "the full preset reads its data set from a claim, or from the bucket in data.stage.from",
        ),
        (
            {"template": {"env": [{"name": "PET_NNODES"}]}},
            "spec.template.env",
            "PET_NNODES is reserved for the operator",
        ),
    ],
)
def test_what_the_api_server_would_refuse(podium_json, tmp_path, spec, where, message):
    code, (document,) = podium_json("validate", run_file(tmp_path, **spec))
    assert code == 1
    assert [(f["where"], f["message"]) for f in document["findings"]] == [(where, message)]


def test_a_name_that_no_pod_could_bear(podium_text, tmp_path):
    path = run_file(tmp_path)
    path.write_text(path.read_text().replace("mine", "My_Run"))
    code, text = podium_text("validate", path)
    assert (code, "use at most 50 lowercase letters, digits and dashes, starting with a letter" in text) == (1, True)


def test_a_file_that_is_no_text_is_wrong_use(podium_text, tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe")
    code, text = podium_text("validate", tmp_path / "run.yaml")
    assert (code, "is not valid UTF-8" in text) == (2, True)


def test_a_value_nested_without_end_is_reported_in_a_line(podium_json, tmp_path):
    """Nine aliases deep, ten wide: written out it would fill the memory. The last one holds itself."""
    lines = ["a0: &a0 [1, 1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    file = tmp_path / "run.yaml"
    text = run_file(tmp_path).read_text()
    for value, sentence in (
        ("*a29", "contains more than 100,000 values with aliases expanded"),
        ("{x: *a29}", "contains more than 100,000 values with aliases expanded"),
        ("&self [*self]", "contains &self inside itself; remove the recursive alias"),
    ):
        before = [] if "self" in value else lines
        file.write_text("\n".join([*before, f"{text}  hyperparameters: {{opt_base_learning_rate: {value}}}\n"]))
        assert podium_json("validate", file) == (2, f"{file} {sentence}")


def sweep_file(tmp_path, **spec):
    document = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkSweep",
        "metadata": {"name": "fleet.of-64"},
        "spec": {"over": "nodes", "nodes": {"selector": {"pool": "gpu"}}, "template": TEMPLATE, **spec},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_sweep(podium_json, podium_text, tmp_path):
    path = sweep_file(tmp_path)
    assert podium_json("validate", path) == (0, [{"name": "fleet.of-64", "file": str(path), "findings": []}])
    code, text = podium_text("validate", path)
    said = "fleet.of-64 would be made into runs of v0.6 resnet, open division, over nodes"
    assert (code, said in " ".join(text.split())) == (0, True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"template": {**TEMPLATE, "round": "v0.4"}}, "spec.template.round: unknown round 'v0.4'; choose one of"),
        ({"template": {**TEMPLATE, "flavor": "red"}}, "spec.template.flavor: unknown field"),
        ({"verdict": {"tolerance": "3"}}, "spec.verdict.tolerance: 3 is not a ratio below 1"),
        ({"flavor": "red"}, "spec.flavor: unknown field"),
        (
            {"over": "nodeCounts"},
            "spec: over: set the list that it names (nodes, nodeCounts or variants), and no other",
        ),
    ],
)
async def test_the_findings_on_a_sweep_are_the_operators(podium_json, tmp_path, change, sentence):
    path = sweep_file(tmp_path, **change)
    code, (document,) = podium_json("validate", path)
    assert code == 1
    (finding,) = document["findings"]
    said = f"{finding['where']}: {finding['message']}" + (f"; {finding['remedy']}" if finding["remedy"] else "")
    assert said.startswith(sentence)
    api = Api()
    api.sweep["spec"] = yaml.safe_load(path.read_text())["spec"]
    await again(api)._work(UID)
    failed = api.sweep["status"]["conditions"][1]
    assert (failed["type"], failed["status"], failed["message"]) == ("Failed", "True", said)


def test_runs_and_sweeps_in_one_file(podium_json, tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text(f"{sweep_file(tmp_path).read_text()}---\n{run_file(tmp_path).read_text()}")
    code, documents = podium_json("validate", path)
    assert (code, [document["name"] for document in documents]) == (0, ["fleet.of-64", "mine"])
