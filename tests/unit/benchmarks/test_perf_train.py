"""What `make perf-train` keeps of its runs."""

import importlib
import json

import pytest
from tests.unit.benchmarks.conftest import REPOSITORY


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests" / "performance" / "train"))
    return importlib.import_module("tiny")


def kept(file):
    return [
        (run["ranks"], run["seed"], run["wall_seconds"]) for run in json.loads(file.read_text())["tiny"]["ncf"]["runs"]
    ]


def test_a_run_takes_the_place_of_its_seed_and_ranks_in_the_same_commit(tiny, tmp_path, monkeypatch):
    file, here = tmp_path / "training.json", {"commit": "0a1b2c3"}
    monkeypatch.setattr(tiny, "environment", lambda: here)
    for ranks, seed, seconds in ((1, 2, 8.0), (1, 1, 9.0), (2, 1, 7.0), (1, 2, 6.0)):
        tiny.keep_run(file, "ncf", {"seed": seed, "ranks": ranks, "wall_seconds": seconds})
    assert kept(file) == [(1, 1, 9.0), (1, 2, 6.0), (2, 1, 7.0)]
    here["commit"] = "4d5e6f7"
    tiny.keep_run(file, "ncf", {"seed": 3, "ranks": 1, "wall_seconds": 5.0})
    assert kept(file) == [(1, 3, 5.0)]
    content = json.loads(file.read_text())["tiny"]["ncf"]
    assert (content["target"], content["aim_seconds"], content["environment"]) == (0.7, 20, {"commit": "4d5e6f7"})
