"""Runs a trainer in a process of its own, and measures its time and memory."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY / "benchmarks")}


@dataclass(frozen=True)
class TimedRun:
    """A run that has ended."""

    wall_seconds: float  # from starting the process to its end
    cpu_seconds: float  # of the process and its children: other work on the machine changes it less than the wall time
    peak_memory_bytes: int  # resident, of the largest process
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


def timed_run(benchmark: str, *arguments: str, ranks: int = 1, threads: int | None = None) -> TimedRun:
    """Run to the end, under torchrun if there are several ranks; raises CalledProcessError if the trainer fails."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
    command = [sys.executable, "-m", *torchrun, f"podium_benchmarks.{benchmark}", *arguments]
    environment = ENVIRONMENT | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    start = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in output.splitlines()]
    return TimedRun(wall_seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, lines)


def environment() -> dict[str, Any]:
    """What the numbers of a machine without a GPU depend on."""
    cpu = next(row for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name"))
    commit = subprocess.run(["git", "log", "-1", "--format=%h", "--", "benchmarks"], cwd=REPOSITORY, capture_output=True, text=True,
                            check=False)  # fmt: skip
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cpu": cpu.partition(": ")[2],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
    }


def keep(out: Path, part: str, name: str, result: dict[str, Any]) -> None:
    """Put one result into a part of the file, beside those of other benchmarks."""
    content = json.loads(out.read_text()) if out.exists() else {}
    content[part] = dict(sorted((content.get(part, {}) | {name: result}).items()))
    out.write_text(json.dumps(dict(sorted(content.items())), indent=2) + "\n")
