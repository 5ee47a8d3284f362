"""Every mistake ends, in time, in a condition that names its cause and the way out."""

from __future__ import annotations

import json

import pytest

from tests.cluster.images import TRAINER
from tests.e2e.run_queries import Bucket, attempts, condition, ended, wait_for

DEADLINES = {"pending": "20s", "init": "20s", "run": "60s"}


def _printing(*lines, code=0):
    """A custom image that prints `lines`."""
    program = f"import time; [print(line, flush=True) for line in {list(lines)!r}]; raise SystemExit({code})"
    return {"image": TRAINER, "command": ["python3", "-c", program]}


def _mllog(key, value=None, seconds=0, **metadata):
    body = {"namespace": "", "time_ms": 4102444800000 + seconds * 1000, "event_type": "POINT_IN_TIME", "key": key}
    return ":::MLLOG " + json.dumps({**body, "value": value, "metadata": {"file": "mine.py", "lineno": 1, **metadata}})


OTHER_RANK_CRASHES = """
import os, time
if os.environ["PET_NODE_RANK"] == "0":
    print("waiting for rank 1")
    time.sleep(600)
time.sleep(5)
print("CUDA error: uncorrectable ECC error")
raise SystemExit(139)
"""
START, STOP = _mllog("run_start"), _mllog("run_stop", None, 9, status="success")
GOOD = _mllog("eval_accuracy", 0.7, 8, epoch_num=1)

CASES = {
    "no-claim": (
        {"data": {"persistentVolumeClaim": {"claimName": "imagenet"}}, "benchmark": "resnet"},
        "AttemptFailed",
        ['persistentvolumeclaim "imagenet" not found', "not all pods were running within 20s (spec.deadlines.pending)"],
    ),
    "no-image": (
        {"template": {"image": "localhost/no/such:1"}},
        "AttemptFailed",
        ["attempt 1 failed: PodCannotStart: pod podium-no-image-1-0-0-", "ErrImageNeverPull"],
    ),
    "no-lines": (
        {"template": _printing("hello", "world")},
        "AttemptFailed",
        (
            "NoMLPerfLog: rank 0 printed no MLPerf lines to stdout before it ended; "
            'the image must print lines such as \':::MLLOG {"key": "run_start", ...}\'; last output: hello | world'
        ),
    ),
    "silent": (
        {"template": {"image": TRAINER, "command": ["sleep", "600"]}},
        "AttemptFailed",
        "NoMLPerfLog: rank 0 printed no MLPerf lines to stdout within 20s of its start",
    ),
    "no-start": ({"template": _printing(GOOD, STOP)}, "ResultInvalid", "attempt 1: RunStartMissing"),
    "broken-json": (
        {"template": _printing(START, GOOD, ':::MLLOG {"key": "run_stop", "time_ms": ')},
        "ResultInvalid",
        "line 3 cannot be read: broken JSON",
    ),
    "crash": (
        {"template": _printing("Traceback: no such thing", code=3), "maxRetries": 1},
        "AttemptFailed",
        [
            "attempt 1 failed: ProgramFailed: pod podium-crash-1-0-0-",
            "exit code 3; last output: Traceback: no such thing",
        ],
    ),
    "crash-of-another-rank": (
        {
            "template": {"image": TRAINER, "command": ["python3", "-u", "-c", OTHER_RANK_CRASHES]},
            "system": {"name": "two", "nodes": 2},
        },
        "AttemptFailed",
        [
            "attempt 1 failed: ProgramFailed: pod podium-crash-of-another-rank-1-0-1-",
            "exit code 139; last output: CUDA error: uncorrectable ECC error; rank 0's last output: waiting for rank 1",
        ],
    ),
    "no-secret": (
        {"template": {**_printing("started"), "secrets": ["wandb"]}},
        "AttemptFailed",
        ["attempt 1 failed: PodCannotStart: pod podium-no-secret-1-0-0-", 'secret "wandb" not found'],
    ),
}
# what status.attempts[].failure has: class, reason, rank of the pod, exit code, signal, and the beginning of the message
FAILURES = {
    "crash": ("program", "Error", 0, 3, None, "Traceback: no such thing"),
    "crash-of-another-rank": ("program", "Error", 1, 139, 11, "CUDA error: uncorrectable ECC error"),
    "no-secret": ("infrastructure", "CreateContainerConfigError", 0, None, None, 'secret "wandb" not found'),
    "no-image": ("infrastructure", "ErrImageNeverPull", 0, None, None, 'Container image "localhost/no/such:1"'),
}


@pytest.mark.timeout(300)
def test_every_mistake_is_reported(kubectl, namespace, operator, s3):
    """All at once, as on a busy cluster; each ends by itself well within its deadlines."""
    operator.start()
    for name, (spec, _, _) in CASES.items():
        document = {
            "round": "v0.6",
            "benchmark": "my-model",
            "division": "open",
            "preset": "tiny",
            "attempts": 1,
            "quality": {"target": "0.6"},
            "system": {"name": "one", "nodes": 1},
            "deadlines": DEADLINES,
            **spec,
        }
        run = {
            "apiVersion": "podium.dev/v1alpha1",
            "kind": "BenchmarkRun",
            "metadata": {"name": name},
            "spec": document,
        }
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run)
    for name, (_, reason, message) in CASES.items():
        run = wait_for(kubectl, namespace, name, f"{name} has ended", ended, 120)
        failed = condition(run, "Failed")
        assert failed["reason"] == reason, (name, failed)
        for part in [message] if isinstance(message, str) else message:
            assert part in failed["message"], name
        if name in FAILURES:
            class_, word, rank, *rest, said = FAILURES[name]
            found = run["status"]["attempts"][0]["failure"]
            assert [found.get(key) for key in ("class", "reason", "exitCode", "signal")] == [class_, word, *rest], found
            assert found["pod"].startswith(f"podium-{name}-1-0-{rank}-"), found
            assert found["node"].startswith("node-"), found
            assert found["message"].startswith(said), found
        bucket = Bucket(s3, run["status"]["result"]["uri"])
        bucket.verify()
        assert len(bucket.json("result.json")["attempts"]) == len(attempts(run)) >= 1
