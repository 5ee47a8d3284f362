"""`make perf-gpu` works where there is no GPU: it says so, or tries itself on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(REPOSITORY / "tests" / "performance" / "train_gpu.py")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_where_to_run(tmp_path):
    run = subprocess.run([*COMMAND, "--out", str(tmp_path / "gpu.json")], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("there is no GPU that torch can use: run this on a machine that has one")
    assert not (tmp_path / "gpu.json").exists()


def test_on_a_cpu_it_measures_without_applying_the_aim(tmp_path):
    small = ["ssd", "--device", "cpu", "--images", "1", "--seconds", "0.01", "--out", str(tmp_path / "gpu.json")]
    run = subprocess.run([*COMMAND, *small], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "images a second (aim 1,500 on a GPU)" in run.stdout
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["environment"]["device"] == "cpu"
    ssd = content["results"]["ssd"]
    assert ssd["parameters"] == 19_972_534
    assert 0 < ssd["slowest"] <= ssd["per_second"] <= ssd["fastest"]
