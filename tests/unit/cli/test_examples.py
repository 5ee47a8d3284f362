"""The files in examples/: all admitted, those for a laptop cheap enough to say so, one of them run."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

import podium_benchmarks
from podium.api import BenchmarkRunSpec
from podium.launch.defaults import TrainerDefaults
from podium.rounds import load_rounds
from tests.cluster.fixtures import ROOT

FOLDER = ROOT / "examples"
TRAINED = [
    name for round_ in ("v0.6", "v5.1") for name, entry in load_rounds()[round_].benchmarks.items() if entry.trainer
]
EXAMPLES = sorted(file for file in FOLDER.glob("*.yaml") if "kind: BenchmarkRun\n" in file.read_text())


def specs(file):
    return {run["metadata"]["name"]: run["spec"] for run in yaml.safe_load_all((FOLDER / file).read_text())}


def spec(name):
    (only,) = specs(f"{name.replace('_', '-')}.yaml").values()
    return only


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_every_example_would_be_admitted(podium_json, example):
    code, documents = podium_json("validate", example)
    assert (code, [document["findings"] for document in documents]) == (0, [[]] * len(documents))


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_no_example_asks_for_more_than_the_chart_allows_unless_it_says_so(example):
    closed = TrainerDefaults()
    for run in specs(example.name).values():
        refusal = closed.refusal("lab", BenchmarkRunSpec.model_validate(run))
        lists = re.findall(r"trainer\.[a-zA-Z.]+[a-zA-Z]", refusal)
        assert lists or not refusal, refusal
        assert all(name in example.read_text() for name in lists), refusal


def test_names_are_unique_so_that_a_folder_can_be_applied_at_once():
    names = [name for example in EXAMPLES for name in specs(example.name)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_what_a_comment_points_to_is_there(example):
    for path in re.findall(r"(?:docs|examples)/[\w./-]+[a-z]", example.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("benchmark", TRAINED)
def test_every_benchmark_has_a_full_example_and_a_tiny_one(benchmark):
    full, tiny = spec(benchmark), spec(f"{benchmark}-tiny")
    assert (full["benchmark"], full["division"]) == (benchmark, "closed")
    assert full["system"]["acceleratorsPerNode"] >= 1
    assert full["data"]["persistentVolumeClaim"]["claimName"]
    assert (tiny["benchmark"], tiny["division"], tiny["preset"]) == (benchmark, "open", "tiny")
    assert ("data" in tiny, "acceleratorsPerNode" in tiny["system"]) == (False, False)


@pytest.mark.parametrize("benchmark", TRAINED)
def test_a_tiny_example_asks_for_the_presets_own_target(benchmark):
    """Which is what the measured seconds to quality are for (docs/performance)."""
    target = podium_benchmarks.benchmark(benchmark).presets["tiny"].target
    asked = spec(f"{benchmark}-tiny")["quality"]["target"].split("/")
    assert tuple(map(float, asked)) == (target if isinstance(target, tuple) else (target,))


def test_the_round_is_the_single_examples():
    """But for how long they may wait for each other."""
    runs = specs("round-v0.6.yaml")
    assert len(runs) == 5
    for run in runs.values():
        one = spec(run["benchmark"])
        assert run["round"] == "v0.6"
        assert run.pop("deadlines") == {**one.pop("deadlines", {}), "pending": "168h"}
        assert run == one


def test_an_image_of_ones_own_trains_to_a_valid_score(tmp_path):
    """The very program of the file, with this Python in place of the image's."""
    command = [sys.executable, "-m", "podium", "run", "--local", FOLDER / "bring-your-own-image.yaml"]
    done = subprocess.run(
        [*command, "--out", tmp_path / "result"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result/result.json").read_text())
    assert [attempt["state"] for attempt in result["attempts"]] == ["Converged"] * 5
    assert result["score"]["valid"]
