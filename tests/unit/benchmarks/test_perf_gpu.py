"""`make perf-gpu` works where there is no GPU: it says so, or tries itself on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.performance.train.real_format import read_log

REPOSITORY = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(REPOSITORY / "tests" / "performance" / "train_gpu.py")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_where_to_run(tmp_path):
    run = subprocess.run([*COMMAND, "--out", str(tmp_path / "gpu.json")], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("there is no GPU that torch can use: run this on a machine that has one")
    assert not (tmp_path / "gpu.json").exists()


def test_tiny_tries_all_three_measurements_on_a_cpu(tmp_path):
    small = ["gnmt", "--tiny", "--out", str(tmp_path / "gpu.json")]
    run = subprocess.run([*COMMAND, *small], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "tokens a second (aim 150,000 on a GPU)" in run.stdout
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["environment"]["torch"] == torch.__version__.partition("+")[0]
    gnmt = content["results"]["gnmt"]
    assert (gnmt["preset"], gnmt["unit"], gnmt["aim"]) == ("tiny", "tokens", 150_000)
    assert gnmt["per_second"] > 0
    assert gnmt["real_format"].keys() == {
        "epoch_seconds", "samples_per_second", "evaluation_seconds", "tokens_per_second",
    }  # fmt: skip
    assert all(value > 0 for value in gnmt["real_format"].values())


def line(key, ms, value=None, **metadata):
    return {"key": key, "time_ms": ms, "value": value, "metadata": metadata}


def test_an_epoch_is_timed_without_the_evaluation_in_it():
    """And without the first epoch, which warms up; the evaluation is the last."""
    lines = [
        line("epoch_start", 0), line("tracked_stats", 9_000, {"data_wait_share": 0.9}, samples_count=1000),
        line("epoch_stop", 10_000), line("epoch_start", 10_000),
        line("tracked_stats", 11_000, {"data_wait_share": 0.2}, samples_count=1500),
        line("eval_start", 12_000), line("eval_stop", 15_000),
        line("tracked_stats", 16_000, {"data_wait_share": 0.4}, samples_count=2000),
        line("epoch_stop", 17_000), line("eval_start", 18_000), line("eval_stop", 20_500),
    ]  # fmt: skip
    assert read_log(lines) == {"epoch_seconds": 4.0, "samples_per_second": 250.0, "evaluation_seconds": 2.5,
                               "data_wait_share": 0.3}  # fmt: skip


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
