"""``podium run --local`` of programs whose log claims other times than those at which it was printed."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

CASES = Path(__file__).parents[4] / "shared/cases/logs"
PROGRAM = textwrap.dedent(
    """
    import json, os, sys, time
    start, stop, held = json.loads(os.environ["LIES"])
    held_back = []
    def log(key, value=None, later=0.0, **metadata):
        body = {"namespace": "", "time_ms": round((time.time() + later) * 1000), "event_type": "POINT_IN_TIME"}
        line = ":::MLLOG " + json.dumps({**body, "key": key, "value": value, "metadata": metadata})
        held_back.append(line) if held else print(line, flush=True)
    log("seed", int(os.environ["PODIUM_SEED"]))
    log("run_start", later=start)
    time.sleep(3.0)
    log("eval_accuracy", 0.8, later=min(stop, 0), epoch_num=1)
    log("run_stop", later=stop, status="success")
    print("\\n".join(held_back), flush=True)
    """
)


def run(folder, lies):
    spec = {
        "round": "v0.6", "benchmark": "mine", "division": "open", "attempts": 1,
        "quality": {"target": "0.75"}, "system": {"name": "cpu", "nodes": 1},
        "template": {
            "image": "mine:1", "command": [sys.executable, "-c", PROGRAM],
            "env": [{"name": "LIES", "value": json.dumps(lies)}],
        },
    }  # fmt: skip
    body = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "mine"}, "spec": spec}
    folder.mkdir()
    (folder / "run.yaml").write_text(yaml.safe_dump(body))
    return attempt_of(folder)


def attempt_of(folder):
    """Run what is in a folder; gives the record of the first attempt."""
    command = [sys.executable, "-m", "podium", "run", "--local", "run.yaml", "--out", "out"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )
    file = folder / "out/attempts/001/attempt.json"
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text())


LIES = {
    "honest": ((0, 0, False), "TargetReached", ""),
    "late start": ((2.5, 0, False), "ClockInvalid", r"run_start arrived 2\.\d s before its stamp"),
    "early stop": ((0, -2.9, False), "ClockInvalid", r"run_stop arrived [23]\.\d s after its stamp"),
    "late stop": ((0, 2.5, False), "ClockInvalid", r"run_stop arrived 2\.\d s before its stamp"),
    "an hour behind": ((-3600, -3600, False), "ClockInvalid", r"run_st(art|op) arrived 360\d\.\d s after its stamp"),
    "all at the end": ((0, 0, True), "ClockInvalid", r"run_start arrived 3\.\d s after its stamp"),
}


def test_what_was_seen_of_a_log_counts(tmp_path):
    with ThreadPoolExecutor(3) as runs:
        found = list(runs.map(lambda name: run(tmp_path / name, LIES[name][0]), LIES))
    for (name, (_, reason, text)), attempt in zip(LIES.items(), found, strict=True):
        assert attempt["reason"] == reason, (name, attempt["message"])
        assert re.search(text, attempt["message"]), (name, attempt["message"])
        seen = attempt["seen"]
        assert seen["runStop"]["received"] - seen["runStart"]["received"] == pytest.approx(
            0.0 if name == "all at the end" else 3.0, abs=0.5
        )
        assert abs(seen["nodeClockOffsetSeconds"]) < 0.5
        pod = attempt["pods"][0]
        ended = pod["finished"] or math.inf  # unknown if the machine is so busy that the program had not ended yet
        assert pod["started"] <= seen["runStart"]["received"] <= seen["runStop"]["received"] <= ended + 0.01


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_the_case(tmp_path):
    place = next(CASES.glob("21-*"))
    (tmp_path / "liar.py").write_bytes((place / "liar.py").read_bytes())
    body = yaml.safe_load((place / "run.yaml").read_text())
    body["spec"] |= {"round": body["spec"].pop("suite"), "attempts": 1}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(body))
    attempt = attempt_of(tmp_path)
    assert (attempt["state"], attempt["reason"], attempt["timeToTrainSeconds"]) == ("Invalid", "ClockInvalid", None)
    assert "the log says 3.0 s, the operator saw 12." in attempt["message"]
    assert re.search(r"run_start arrived [78]\.\d s before its stamp", attempt["message"])
