"""A new round is one YAML file: among the built-in ones, or in a folder that the operator is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import podium
from podium.api import TryId
from podium.launch import launch_for
from podium.launch.contract import command
from podium.reconcile import CreateJob, Emit, decide
from podium.rounds import load_rounds
from podium.rules import check_spec, goal_for
from tests.unit.cli.logs import v07_run, write
from tests.unit.cli.test_own_submissions import RUN, SYSTEM, TRAINER
from tests.unit.reconcile import examples as ex

ROUND = """
name: v9.9
description: A round that somebody adds
log_format: mllog
first_epoch: 1
clock: {start: run_start, stop: run_stop, model_creation_timed: false, max_init_seconds: 600}
benchmarks:
  digits:
    {title: Digits, trainer: resnet, model: small, dataset: digits, quality: [{metric: top1, target: 0.9}], runs: 3,
     eval_every: 1 epoch, tunable: {
       global_batch_size: {id: v9.9.digits.batch, source: "rules:1", type: integer, rule: {kind: range, minimum: 1}},
       folds: {id: v9.9.digits.folds, source: "rules:2", type: integer, rule: {kind: oneOf, values: [3, 5]}}}}
  folding:
    {title: Folding, model: large, dataset: proteins, quality: [{metric: lddt, target: 0.8}], runs: 4, drop_slowest: 0,
     eval_every: 1 epoch}
"""
NO_TRAINER = "Podium has no trainer for v9.9 folding"


def run_file(folder: Path, name: str, **spec: Any) -> Path:
    document = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkRun",
        "metadata": {"name": name},
        "spec": {
            "round": "v9.9",
            "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
            "data": {"persistentVolumeClaim": {"claimName": "data"}},
            **spec,
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a Python in which the round is built in; gives what it printed."""
    root = tmp_path_factory.mktemp("package")
    shutil.copytree(podium.__path__[0], root / "podium", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "podium/rounds/v9.9.yaml").write_text(ROUND)
    paths = os.pathsep.join([str(root), str(Path(__file__).parents[3])])

    def run(*words: str | Path, code: int = 0) -> str:
        environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_it_is_listed_and_shown(python: Callable[..., str]) -> None:
    listed = {round_["name"]: round_ for round_ in json.loads(python("-m", "podium", "round", "list", "--json"))}
    assert list(listed) == [*load_rounds(), "v9.9"], "oldest first"
    assert listed["v9.9"]["benchmarks"] == ["digits", "folding"]
    assert listed["v9.9"]["abilities"]["run"] == "with your image; digits with Podium's trainer"
    shown = python("-m", "podium", "round", "show", "v9.9")
    assert "lddt >= 0.8" in shown
    assert "3 or 5" in shown


def test_runs_of_it_are_validated(python: Callable[..., str], tmp_path: Path) -> None:
    image = {"template": {"image": "registry.example/folding:1", "command": ["fold"]}}
    for file, code, words in (
        (run_file(tmp_path, "digits", benchmark="digits", hyperparameters={"folds": 5}), 0, "would be admitted to v9.9 digits"),
        (run_file(tmp_path, "tuned", benchmark="digits", hyperparameters={"folds": 4}), 1, "4 is not allowed; allowed: 3 or 5"),
        (run_file(tmp_path, "folding", benchmark="folding"), 1, f"{NO_TRAINER} set template.image to an image that implements it"),
        (run_file(tmp_path, "image", benchmark="folding", **image), 0, "would be admitted to v9.9 folding"),
    ):  # fmt: skip
        assert words in " ".join(python("-m", "podium", "validate", file, code=code).split())
    refused = python("-m", "podium", "run", "--local", tmp_path / "folding.yaml", "--data", tmp_path, code=2)
    assert NO_TRAINER in refused


def test_the_crd_knows_it(python: Callable[..., str]) -> None:
    document = yaml.safe_load(python("-m", "podium.api.crd"))
    spec = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"]["round"]["enum"] == [*load_rounds(), "v9.9"]
    assert spec["properties"]["hyperparameters"]["properties"]["folds"] == {"type": "integer"}
    (rule,) = (r for r in spec["x-kubernetes-validations"] if "no trainer" in r["message"])
    assert rule["rule"].startswith("has(self.template.image) || !((self.round + '/' + self.benchmark) in [")
    assert '"v9.9/folding"' in rule["rule"]


def test_the_reference_has_it(python: Callable[..., str]) -> None:
    page = python("-c", "from tools.docs.rounds import page; print(page())")
    assert "| v9.9 | yes, with your image; digits with Podium's trainer | yes |" in page
    assert "`v9.9.digits.folds`" in page
    assert "v9.9.digits.batch" in python("-c", "from tools.docs.rules import page; print(page())")


def test_a_run_of_it_becomes_a_package(python: Callable[..., str], tmp_path: Path) -> None:
    """Run, score, check, package, review: the round's file is all that was added."""
    program = TRAINER.replace('"resnet"', '"folding"').replace("SETTINGS", repr(json.dumps({"global_batch_size": 8})))
    template = {"image": "acme/folding:1", "command": [sys.executable, "-c", program.replace("0.765", "0.85")]}
    run = run_file(tmp_path, "fold", benchmark="folding", submission=RUN["submission"], template=template)
    (tmp_path / "box.json").write_text(json.dumps(SYSTEM))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print('seed')\n")
    result, package = tmp_path / "result", tmp_path / "package"
    python("-m", "podium", "run", "--local", run, "--data", tmp_path, "--out", result)
    (score,) = json.loads(python("-m", "podium", "score", result, "--json"))
    assert (score["round"], score["runs"], score["official"]) == ("v9.9", 4, True)
    python("-m", "podium", "check", result)
    words = ("--system", tmp_path / "box.json", "--code", tmp_path / "code", "--out", package)
    python("-m", "podium", "package", result, *words)
    assert (package / "ACME/results/box/folding/result_3.txt").exists()
    python("-m", "podium", "review", package)


def test_results_of_it_are_scored_checked_reviewed_and_reported(python: Callable[..., str], tmp_path: Path) -> None:
    logs = [v07_run("folding", seconds, 0.81) for seconds in (60, 120, 180, 240)]
    for log in logs:
        log[3] = log[3].replace('"epoch_num"', '"tracked": "lddt", "epoch_num"')
    write(tmp_path / "v9.9/acme/results/box/folding", logs)
    scored = json.loads(python("-m", "podium", "score", tmp_path, "--json"))
    assert [(entry["round"], entry["benchmark"], entry["minutes"]) for entry in scored] == [("v9.9", "folding", 3.0)]
    checked = json.loads(python("-m", "podium", "check", tmp_path, "--json", code=1))
    assert {log["round"] for log in checked} == {"v9.9"}
    for command_, code in (("review", 1), ("variance", 0), ("history", 0)):
        assert "Traceback" not in python("-m", "podium", command_, tmp_path, code=code)
    python("-m", "podium", "report", tmp_path, "--out", tmp_path / "page.html")
    assert "folding" in (tmp_path / "page.html").read_text()


@pytest.fixture
def rounds(tmp_path: Path) -> Any:
    """As of ``podium operator --rounds FOLDER``."""
    (tmp_path / "v9.9.yaml").write_text(ROUND)
    return load_rounds(tmp_path)


def test_the_operator_runs_it(rounds: Any) -> None:
    run = ex.run(round="v9.9", benchmark="digits", hyperparameters={"folds": 5})  # a key that only this round has
    assert check_spec(run.spec, rounds) == ()
    decision = decide(run, ex.observed(), rounds, ex.T0)
    assert [type(action) for action in decision.actions] == [CreateJob]
    assert goal_for(ex.spec(round="v9.9", benchmark="digits", quality=None, attempts=None), rounds).attempts == 3
    launch = launch_for(run, TryId(attempt=1, number=0), 7, rounds)
    assert command(launch)[:3] == ["torchrun", "-m", "podium_benchmarks.resnet"]


def test_a_benchmark_without_trainer_and_image_is_refused_before_anything_starts(rounds: Any) -> None:
    """It was launched three times: No module named podium_benchmarks.folding."""
    decision = decide(ex.run(round="v9.9", benchmark="folding"), ex.observed(), rounds, ex.T0)
    assert [type(action) for action in decision.actions] == [Emit]
    assert NO_TRAINER in str(decision.status.conditions)
    image = {"image": "registry.example/folding:1"}
    assert check_spec(ex.spec(round="v9.9", benchmark="folding", template=image), rounds) == ()


def test_every_trainer_that_a_built_in_round_names_exists() -> None:
    trainers = pytest.importorskip("podium_benchmarks").TRAINERS
    named = {benchmark.trainer for round_ in load_rounds().values() for benchmark in round_.benchmarks.values()}
    assert named - {None} <= {*trainers}


BROKEN = {
    "another round's name": (ROUND.replace("name: v9.9", "name: v0.6", 1), "name is v0.6; name the file v0.6.yaml"),
    "a name that is not a round's": (ROUND.replace("name: v9.9", "name: vNext", 1), "name"),
    "a trainer that is not a module": (ROUND.replace("trainer: resnet", 'trainer: "resnet -c"'), "benchmarks.digits.trainer"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_would_do_something_else_is_refused(tmp_path: Path, case: str) -> None:
    text, words = BROKEN[case]
    (tmp_path / "v9.9.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        load_rounds(tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        load_rounds(tmp_path / "nowhere")
