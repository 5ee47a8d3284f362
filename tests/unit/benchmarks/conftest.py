"""Starting trainers and reading what they print."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import podium_benchmarks
from podium_benchmarks.core import cli

REPOSITORY = Path(__file__).resolve().parents[3]
Finished = subprocess.CompletedProcess[str]


def trainer_environment(**changes: str) -> dict[str, str]:
    """This process's environment without PODIUM_* variables and ranks; one thread per rank, as cores are shared."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}
    path = os.pathsep.join([str(REPOSITORY / "benchmarks"), inherited.get("PYTHONPATH", "")])
    return inherited | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | changes


def run_here(benchmark: str, *arguments: str, **environment: str) -> Finished:
    """Run a trainer as one rank in this process, which saves importing torch."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, trainer_environment(**environment), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.run(podium_benchmarks.benchmark(benchmark), arguments)
    return Finished(arguments, code, out.getvalue(), err.getvalue())


def run_process(benchmark: str, *arguments: str, ranks: int = 1) -> Finished:
    """Run a trainer as a pod does: in processes of its own, under torchrun if there is more than one rank."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
    command = [sys.executable, "-m", *torchrun, f"podium_benchmarks.{benchmark}", *arguments]
    return subprocess.run(command, env=trainer_environment(), capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="session")
def launch() -> Callable[..., Finished]:
    """Runs a trainer in this process."""
    return run_here


@pytest.fixture(scope="session")
def launch_process() -> Callable[..., Finished]:
    """Runs a trainer in processes of its own."""
    return run_process


@pytest.fixture(scope="session")
def log_lines() -> Callable[[str], list[dict[str, Any]]]:
    """Parses the MLPerf lines of a log; anything else on standard output is a mistake."""

    def parse(stdout: str) -> list[dict[str, Any]]:
        token = ":::MLLOG "
        assert all(line.startswith(token) for line in stdout.splitlines()), stdout
        return [json.loads(line.removeprefix(token)) for line in stdout.splitlines()]

    return parse


@pytest.fixture
def official_complaints(tmp_path: Path) -> Callable[..., list[str]]:
    """Checks MLPerf lines with MLCommons' checker, by default of v0.7, and returns its output's lines that complain."""

    def check(lines: list[dict[str, Any]], ruleset: str = "0.7.0") -> list[str]:
        file = tmp_path / "result_0.txt"
        file.write_text("".join(f":::MLLOG {json.dumps(line)}\n" for line in lines))
        words = ["mlperf_logging.compliance_checker", "--usage", "training", "--ruleset", ruleset]
        done = subprocess.run(
            [sys.executable, "-m", *words, str(file)], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        output = (done.stdout + done.stderr).splitlines()
        return [line for line in output if "Required" in line or "fail" in line]

    return check


@pytest.fixture(scope="session")
def resnet_log() -> str:
    """One short run of the tiny ResNet, evaluated after each epoch."""
    slow = ("--set", "opt_base_learning_rate=0.04", "--set", "epochs_between_evals=1", "--set", "eval_offset_epochs=0")
    run = run_here("resnet", "--seed", "7", "--target", "0.5", "--set", "precision=fp32", *slow)
    assert run.returncode == 0, run.stderr
    return run.stdout
