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


def test_the_page_has_the_figures_of_the_file(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests" / "performance" / "train"))
    page = importlib.import_module("page")
    text = (page.FOLDER / "training.md").read_text()
    content = json.loads((page.FOLDER / "training.json").read_text())
    assert page.filled(text, content) == text
    content["tiny"]["ncf"]["runs"][0]["cpu_seconds"] = 1234.5
    content["ranks"]["gnmt"]["largest_of_all"] = 3e-7
    content["memory"]["ncf"]["steps"][-1]["peak_memory_mb"] = 98_765
    content["clock"]["ssd"]["rows"][0] |= {"seconds": 0.01234, "plain": 4567.8}
    changed = set(page.filled(text, content).splitlines()) - set(text.splitlines())
    assert [row.split(" | ")[0] for row in sorted(changed)] == ["| GNMT", "| NCF", "| NCF", "| SSD"]
    assert all(
        any(figure in row for row in changed) for figure in ("to 1,234 (1)", "3.0e-7", "98.8 GB", "0.012 | 4,568")
    )
