"""Starting trainers as a pod does, and reading what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def run_trainer(
    benchmark: str, *arguments: str, ranks: int = 1, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a trainer, under torchrun if there is more than one rank, without PODIUM_* variables but those given."""
    command = [sys.executable, "-m"]
    if ranks > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command += [f"podium_benchmarks.{benchmark}", *arguments]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}
    paths = [str(REPOSITORY / "benchmarks"), inherited.get("PYTHONPATH", "")]
    # One thread per rank: the same order of additions whatever the number of ranks, and no quarrel over cores.
    inherited |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, timeout=200, check=False
    )


def parse_log(stdout: str) -> list[dict[str, Any]]:
    """The MLPerf lines of a log; anything else on standard output is a mistake."""
    token = ":::MLLOG "
    assert all(line.startswith(token) for line in stdout.splitlines()), stdout
    return [json.loads(line.removeprefix(token)) for line in stdout.splitlines()]


@pytest.fixture(scope="session")
def launch() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts a trainer in a process of its own."""
    return run_trainer


@pytest.fixture(scope="session")
def log_lines() -> Callable[[str], list[dict[str, Any]]]:
    """Parses the standard output of a trainer."""
    return parse_log


@pytest.fixture(scope="session")
def resnet_log() -> str:
    """One short run of the tiny ResNet."""
    run = run_trainer("resnet", "--seed", "7", "--target", "0.5", "--set", "precision=fp32")
    assert run.returncode == 0, run.stderr
    return run.stdout
