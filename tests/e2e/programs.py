"""Small programs that run in pods in place of a trainer: they print MLPerf lines and take their time."""

from __future__ import annotations

from typing import Any

from tests.cluster.images import TRAINER

_HEAD = """
import json, socket, sys, time
def ml(key, value=None, at=None, **more):
    body = {"namespace": "", "time_ms": int((at or time.time()) * 1000), "event_type": "POINT_IN_TIME", "key": key}
    print(":::MLLOG " + json.dumps({**body, "value": value, "metadata": {"file": "mine.py", "lineno": 1, **more}}), flush=True)
"""


def training(seconds: int, again: int | None = None) -> str:
    """An evaluation each second, and in the last one the target. A try that follows another takes `again` seconds."""
    return f"""
seconds = {seconds} if "-1-0-" in socket.gethostname() else {again or seconds}
ml("run_start")
for epoch in range(1, seconds):
    time.sleep(1)
    ml("eval_accuracy", 0.5 + epoch / seconds / 4, epoch_num=epoch)
ml("eval_accuracy", 0.95, epoch_num=seconds)
ml("run_stop", status="success")
"""


def benchmark_run(name: str, program: str, *, template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A run of one attempt on one node that reaches its target at 0.9. Ranks other than 0 run the program, too."""
    document = {
        "round": "v0.6",
        "benchmark": "my-model",
        "division": "open",
        "attempts": 1,
        "maxRetries": 0,
        "quality": {"target": "0.9"},
        "system": {"name": "cpu", "nodes": 1},
        "template": {"image": TRAINER, "command": ["python3", "-u", "-c", _HEAD + program], **(template or {})},
        **spec,
    }
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": document}
