"""Reads the status of a BenchmarkRun as the API server has it."""

from __future__ import annotations

from tests.simulation.apiserver import Object


def is_terminal(status: Object) -> bool:
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions", ()))


def summary(status: Object) -> str:
    attempts = " ".join(
        f"{a['index']}.{a.get('try', 0)}={a['state']}{'/' + a['reason'] if a.get('reason') else ''}{'*' if a.get('stored') else ''}"
        for a in status.get("attempts", ())
    )
    true = ",".join(f"{c['type']}:{c['reason']}" for c in status.get("conditions", ()) if c["status"] == "True")
    why = next((c["message"] for c in status.get("conditions", ()) if c["type"] == "Running"), "")
    return f"[{attempts}] {true} {why}"
