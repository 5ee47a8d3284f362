"""``podium run`` as a stranger meets it: mistakes, and whole runs of a trainer that is a few lines of Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
import yaml

TRAINER = textwrap.dedent(
    """
    import json, os, sys, time
    def log(key, value=None, **metadata):
        body = {"namespace": "", "time_ms": int(time.time() * 1000), "event_type": "POINT_IN_TIME", "key": key}
        print(":::MLLOG " + json.dumps({**body, "value": value, "metadata": metadata}), flush=True)
    if os.environ["PET_NODE_RANK"] != "0":
        sys.exit(0)
    log("seed", int(os.environ["PODIUM_SEED"]))
    log("run_start", max_epochs=2)
    log("eval_accuracy", QUALITY, epoch_num=1)
    log("run_stop", status="success")
    """
)


def document(**spec):
    spec = {
        "round": "v0.6",
        "benchmark": "my-model",
        "division": "open",
        "preset": "tiny",
        "attempts": 3,
        "quality": {"target": "0.6"},
        "system": {"name": "laptop", "nodes": 2},
        **spec,
    }
    metadata = {"name": "mine"}
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": metadata, "spec": spec}


def own(program):
    return {"image": "mine:1", "command": [sys.executable, "-c", program]}


@pytest.fixture
def podium(tmp_path):
    """Runs ``podium run`` on a document or a text; gives exit code and output."""

    def run(content, *options, local=True):
        file = tmp_path / "run.yaml"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        command = [sys.executable, "-m", "podium", "run", *(["--local"] if local else []), str(file), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("{", (), "is not valid YAML"),
        ("kind: Pod\napiVersion: v1\n", (), "expected apiVersion: podium.dev/v1alpha1 and kind: BenchmarkRun"),
        ("", (), "expected apiVersion: podium.dev/v1alpha1 and kind: BenchmarkRun"),
        (f"{yaml.safe_dump(document())}---\n{yaml.safe_dump(document())}", (), "give each a name of its own"),
        (document(nodes=3), (), "spec.nodes: there is no such field"),
        (document(benchmark="resnet", hyperparameters={"opt_base_lerning_rate": 1}), (), "did you mean opt_base_learning_rate?"),
        (document(benchmark="resnet", quality=None, division="closed"), (), "use division: open with it, or preset: full"),
        (document(), (), "'my-model'"),
        (document(template={"image": "mine:1"}), (), "a local run needs its command in template.command"),
        (document(template=own(""), data={"persistentVolumeClaim": {"claimName": "x"}}), (), "with --data DIR"),
        (document(template=own("")), ("--data", "/no/such"), "--data /no/such: no such folder"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(podium, content, options, sentence):
    code, output = podium(content, *options)
    assert (code, sentence in output, "Traceback" in output) == (2, True, False), output


def test_without_local_the_way_into_a_cluster_is_named(podium):
    code, output = podium(document(template=own("")), local=False)
    assert code == 2
    assert "in a cluster: kubectl apply -f" in output


def test_a_run_of_ones_own(podium, tmp_path):
    out = tmp_path / "result"
    code, output = podium(document(template=own(TRAINER.replace("QUALITY", "0.7"))), "--out", str(out))
    assert code == 0, output
    assert "attempt 3: epoch 1: quality 0.7 of 0.6" in output
    assert "Score:" in output
    assert f"Result: {out}" in output
    result = json.loads((out / "result.json").read_text())
    assert [a["state"] for a in result["attempts"]] == ["Converged"] * 3
    assert len({a["seed"] for a in result["attempts"]}) == 3
    assert len(result["score"]["dropped"]) == 2
    check = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out, check=False)
    assert check.returncode == 0
    code, output = podium(document(template=own("")), "--out", str(out))
    assert (code, "holds a result already: choose another folder" in output) == (2, True)


def test_a_run_that_is_told_to_stop_leaves_no_trainer_behind(tmp_path):
    """Ctrl-C, and the SIGTERM of `timeout`, of CI and of service managers: what was measured is stored."""
    flag = tmp_path / "pid"
    program = f"import os, pathlib, time\npathlib.Path({str(flag)!r}).write_text(str(os.getpid()))\ntime.sleep(100)"
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document(template=own(program), system={"name": "laptop", "nodes": 1})))
    command = [sys.executable, "-m", "podium", "run", "--local", file, "--out", tmp_path / "r"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (flag.exists() and flag.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.terminate()
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert f"aborted; what was measured is in {tmp_path / 'r'}" in output
    assert json.loads((tmp_path / "r/result.json").read_text())["outcome"] == "Aborted"
    with pytest.raises(ProcessLookupError):
        os.kill(int(flag.read_text()), 0)


def test_an_attempt_below_the_target_is_the_dropped_slowest_only_once(podium, tmp_path):
    code, output = podium(document(template=own(TRAINER.replace("QUALITY", "0.5"))), "--out", str(tmp_path / "r"))
    assert code == 1
    assert "quality 0.5, target 0.6, although run_stop says success" in output
    assert "invalid: 3 runs did not converge, 1 may be left out as the slowest" in output


def test_a_crash_is_tried_again_and_recorded(podium, tmp_path):
    crash_once = (
        f"import pathlib, sys\nflag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
        "if not flag.exists():\n    flag.touch()\n    print('no memory left')\n    sys.exit(3)\n"
    )
    program = crash_once + TRAINER.replace("QUALITY", "0.7")
    spec = {"attempts": 1, "system": {"name": "laptop", "nodes": 1}, "template": own(program)}
    code, output = podium(document(**spec), "--out", str(tmp_path / "r"))
    assert code == 0, output
    tries = json.loads((tmp_path / "r/result.json").read_text())["attempts"]
    assert [(a["try"], a["state"], a["reason"]) for a in tries] == [
        (0, "Failed", "PodFailed"),
        (1, "Converged", "TargetReached"),
    ]
    assert "exit code 3; last output: no memory left" in tries[0]["message"]
    assert (tmp_path / "r/attempts/001/tries/0/attempt.json").exists()
