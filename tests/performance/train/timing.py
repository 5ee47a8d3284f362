"""Runs a trainer in a process of its own and times it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}


@dataclass(frozen=True)
class TimedRun:
    """A run that has ended."""

    wall_seconds: float  # from starting the process to its end
    lines: list[dict[str, Any]]  # of its MLPerf log

    @property
    def reached(self) -> bool:
        """Whether it reached its target."""
        return self.lines[-1]["metadata"]["status"] == "success"

    @property
    def qualities(self) -> list[Any]:
        """What each evaluation found."""
        return [line["value"] for line in self.lines if line["key"] == "eval_accuracy"]

    @property
    def clock_seconds(self) -> float:
        """Time to train, as the log says it."""
        times = {line["key"]: line["time_ms"] for line in self.lines}
        return (times["run_stop"] - times["run_start"]) / 1000


def timed_run(benchmark: str, seed: int, *arguments: str, ranks: int = 1, threads: int | None = None) -> TimedRun:
    """Run to the end, under torchrun if there are several ranks; raises CalledProcessError if the trainer fails."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
    command = [sys.executable, "-m", *torchrun, f"podium_benchmarks.{benchmark}", "--seed", str(seed), *arguments]
    environment = ENVIRONMENT | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_seconds = time.perf_counter() - start
    return TimedRun(wall_seconds, [json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()])
