"""Logs of made-up runs in the three formats, for the tests of the commands."""

from __future__ import annotations

import json
from pathlib import Path

START = 1_560_000_000.0  # June 2019


def mllog(key, value=None, at=0.0, start=START, **metadata):
    """A v0.7 line, `at` seconds after `start`."""
    body = {"namespace": "", "time_ms": int((start + at) * 1000), "event_type": "POINT_IN_TIME", "key": key}
    return ":::MLLOG " + json.dumps({**body, "value": value, "metadata": {"file": "train.py", "lineno": 1, **metadata}})


def mll(key, value=None, at=0.0, **metadata):
    """A v0.6 line."""
    body = {"value": value, "metadata": {"file": "train.py", "lineno": 1, **metadata}}
    return f":::MLL {START + at:.3f} {key}: {json.dumps(body)}"


def mlp(benchmark, key, value="", at=0.0):
    """A v0.5 line; `value` is the text after the colon."""
    return f":::MLPv0.5.0 {benchmark} {START + at:.6f} (train.py:1) {key}" + (f": {value}" if value else "")


def v07_run(benchmark, seconds, quality, status="success", start=START):
    return [
        mllog("submission_benchmark", benchmark, -5, start),
        mllog("submission_org", "ACME", -5, start),
        mllog("run_start", None, 0, start),
        mllog("eval_accuracy", quality, seconds - 1, start, epoch_num=1),
        mllog("run_stop", None, seconds, start, status=status),
    ]


def v06_run(benchmark, seconds, quality, status="success"):
    return [
        mll("submission_benchmark", benchmark, -5),
        mll("run_start"),
        mll("eval_accuracy", quality, seconds - 1, epoch_num=1),
        mll("run_stop", None, seconds, status=status),
    ]


def v05_run(benchmark, seconds, quality, at=0.0, success="true"):
    return [
        mlp(benchmark, "run_start", "", at),
        mlp(benchmark, "eval_accuracy", json.dumps({"epoch": 0, "value": quality}), at + seconds - 1),
        mlp(benchmark, "run_stop", f'{{"success": {success}}}', at + seconds),
        mlp(benchmark, "run_final", "", at + seconds),
    ]


def write(folder: Path, runs) -> Path:
    """result_0.txt, result_1.txt, ... of `runs`, each a list of lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, lines in enumerate(runs):
        (folder / f"result_{index}.txt").write_text("\n".join(lines) + "\n")
    return folder
