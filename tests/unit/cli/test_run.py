"""``podium run`` as a stranger meets it: mistakes, and whole runs of a trainer that is a few lines of Python."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime

import pytest
import yaml

from podium.cli.errors import UsageError
from podium.cli.run import set_aside
from tests.unit.cli.conftest import assert_harmless

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
        (f"{yaml.safe_dump(document())}---\n{yaml.safe_dump(document())}", (), "give each a different name"),
        (document(nodes=3), (), "spec.nodes: unknown field"),
        (document(benchmark="resnet", hyperparameters={"opt_base_lerning_rate": 1}), (), "did you mean opt_base_learning_rate?"),  # codespell:ignore lerning
        (document(benchmark="resnet", quality=None, division="closed"), (), "use it with division: open, or use preset: full"),
        (document(), (), "'my-model'"),
        (document(template={"image": "mine:1"}), (), "set template.command to the program to run locally"),
        (document(template=own(""), data={"persistentVolumeClaim": {"claimName": "x"}}), (), "with --data DIR"),
        (document(template=own("")), ("--data", "/no/such"), "--data /no/such: no such folder"),
        (document(benchmark="resnet", preset="full"), (), "name its folder with --data DIR, or use preset: tiny, which"),
        (document(benchmark="resnet", preset="full", quality=None, division="closed"), (), "with --data DIR\n"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(podium, content, options, sentence):
    code, output = podium(content, *options)
    assert (code, sentence in output, "Traceback" in output) == (2, True, False), output


def test_a_data_set_is_read_whether_or_not_the_run_names_one(podium, tmp_path):
    (tmp_path / "ratings").mkdir()
    program = f"import os\nassert os.environ['PODIUM_DATA_DIR'] == {str(tmp_path / 'ratings')!r}\n{TRAINER}"
    for data in ({}, {"data": {"persistentVolumeClaim": {"claimName": "ml-20m"}}}):
        run = document(template=own(program.replace("QUALITY", "0.7")), attempts=1, **data)
        code, output = podium(run, "--data", str(tmp_path / "ratings"))
        assert code == 0, output


def test_without_local_the_way_into_a_cluster_is_named(podium):
    code, output = podium(document(template=own("")), local=False)
    assert code == 2
    assert "in a cluster: kubectl apply -f" in output


def test_the_command_of_a_file_is_shown_before_it_runs(podium, tmp_path):
    """Somebody else may have written the file; what stands in it cannot steer the terminal."""
    program = "print('it ran')\n" + "#" * 2000 + "\x1b]0;owned\x07\n" + TRAINER.replace("QUALITY", "0.7")
    run = document(template={**own(program), "args": ["--last"]}, attempts=1)
    code, output = podium(run)
    words = " ".join(output.split())
    assert code == 0, output
    assert f"Each attempt runs: {sys.executable} -c 'print('\"'\"'it ran'\"'\"') ###" in words
    assert re.search(r"# \.\.\. .*' --last ", words)
    assert words.index("Each attempt runs") < words.index("Converged")
    assert_harmless(output)


def test_a_program_that_hangs_is_ended_once_it_has_been_silent(podium):
    hangs = TRAINER.replace(
        'log("eval_accuracy", QUALITY, epoch_num=1)', 'print("all_reduce", flush=True); time.sleep(100)'
    )
    run = document(template=own(hangs), attempts=1, deadlines={"silence": "2s"}, system={"name": "laptop", "nodes": 1})
    code, output = podium(run)
    words = " ".join(output.split())
    assert code == 1, output
    assert "rank 0 has printed nothing for 2s (spec.deadlines.silence); last output: all_reduce" in words


def test_a_custom_program_runs_to_a_score(podium, tmp_path):
    out = tmp_path / "result"
    code, output = podium(document(template=own(TRAINER.replace("QUALITY", "0.7"))), "--out", str(out))
    assert code == 0, output
    assert "attempt 3: epoch 1: quality 0.7 of 0.6" in output
    assert f"mine: 3 attempts on this machine; Ctrl-C stops\nResult folder: {out}\n" in output
    assert re.search(r"^Score: 0\.\d\d s time to train", output, re.MULTILINE), "in seconds below a minute"
    assert re.search(r"^Complete: 0\.\d\d s time to train", output, re.MULTILINE)
    assert f"Result: {out}" in output
    result = json.loads((out / "result.json").read_text())
    assert [a["state"] for a in result["attempts"]] == ["Converged"] * 3
    assert len({a["seed"] for a in result["attempts"]}) == 3
    assert len(result["score"]["dropped"]) == 2
    check = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out, check=False)
    assert check.returncode == 0
    code, output = podium(document(template=own("")), "--out", str(out))
    assert (code, "already contains a result: choose another folder" in output) == (2, True)


@pytest.mark.parametrize(
    ("sign", "name"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP (the terminal was closed)")],
)
def test_a_run_that_is_stopped_leaves_no_trainer_behind_and_can_be_repeated(tmp_path, sign, name):
    """By Ctrl-C, by a terminal that is closed, by `timeout`, CI or a service manager: what was measured is stored."""
    flag = tmp_path / "pid"
    slow = f"import os, pathlib, time\npathlib.Path({str(flag)!r}).write_text(str(os.getpid()))\ntime.sleep(100)"
    file, out = tmp_path / "run.yaml", tmp_path / "r"
    command = [sys.executable, "-m", "podium", "run", "--local", file, "--out", out]

    def write(program):
        file.write_text(yaml.safe_dump(document(template=own(program), system={"name": "laptop", "nodes": 1})))

    write(slow)
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (flag.exists() and flag.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.send_signal(sign)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert f"stopped by {name}: ending the processes" in output
    assert f"stopped by {name}; what was measured is in {out}" in output
    result = json.loads((out / "result.json").read_text())
    (attempt,) = result["attempts"]
    assert (result["outcome"], result["message"]) == ("Aborted", f"stopped by {name}")
    assert (attempt["state"], attempt["reason"], attempt["message"]) == ("Aborted", "Interrupted", f"stopped by {name}")
    with pytest.raises(ProcessLookupError):
        os.kill(int(flag.read_text()), 0)

    write(TRAINER.replace("QUALITY", "0.7"))
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    (aside,) = tmp_path.glob("r.interrupted-*Z")
    assert f"moved the interrupted result to {aside}" in again.stdout
    assert json.loads((aside / "result.json").read_text())["outcome"] == "Aborted"
    assert json.loads((out / "result.json").read_text())["outcome"] == "Complete"


NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("files", "moved"),
    [
        ({}, False),
        ({"notes.txt": "mine"}, False),
        ({"result.json": '{"outcome": "Aborted"}'}, True),
        ({"attempts/001/result.txt": ""}, True),  # killed before it could write a result
    ],
)
def test_only_an_interrupted_result_is_set_aside(tmp_path, files, moved):
    folder = tmp_path / "r"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    aside = set_aside(folder, NOW)
    assert aside == (tmp_path / "r.interrupted-20260301T123005Z" if moved else None)
    place = aside or folder
    assert {name: (place / name).read_text() for name in files} == files


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"outcome": "Complete"}', "already contains a result: choose another folder, or move this one"),
        ('{"outcome": "Failed"}', "already contains a result: choose another folder, or move this one"),
        ("{", "choose another folder with --out"),
        ("[]", "choose another folder with --out"),
    ],
)
def test_any_other_result_is_refused(tmp_path, content, sentence):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError, match=sentence):
        set_aside(tmp_path, NOW)


def test_an_attempt_below_the_target_is_the_dropped_slowest_only_once(podium, tmp_path):
    code, output = podium(document(template=own(TRAINER.replace("QUALITY", "0.5"))), "--out", str(tmp_path / "r"))
    assert code == 1
    assert "quality 0.5, target 0.6, although run_stop says success" in output
    assert "invalid: 3 attempts did not converge, at most 1 may be dropped as the slowest" in output


def test_a_crash_before_the_clock_starts_fails_the_run_at_once(podium, tmp_path):
    program = "print('no memory left')\nraise SystemExit(3)\n"
    spec = {"attempts": 5, "system": {"name": "laptop", "nodes": 1}, "template": own(program)}
    code, output = podium(document(**spec), "--out", str(tmp_path / "r"))
    assert code == 1
    assert "attempt 1 failed: ProgramFailed" in output
    (only,) = json.loads((tmp_path / "r/result.json").read_text())["attempts"]
    assert (only["try"], only["state"], only["reason"]) == (0, "Failed", "ProgramFailed")
    assert "exit code 3; last output: no memory left" in only["message"]
    assert (only["failure"]["class"], only["failure"]["exitCode"]) == ("program", 3)


def test_a_crash_after_the_clock_has_started_is_an_attempt_that_did_not_converge(podium, tmp_path):
    """It is never repeated: whoever could repeat bad attempts could choose among good ones."""
    crash_once = (
        f"import pathlib, sys\nflag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
        "if not flag.exists():\n    flag.touch()\n    sys.exit(3)\n"
    )
    program = TRAINER.replace("QUALITY", "0.7").replace('log("run_stop"', f'{crash_once}log("run_stop"')
    assert program != TRAINER.replace("QUALITY", "0.7"), program
    spec = {"attempts": 3, "system": {"name": "laptop", "nodes": 1}, "template": own(program)}
    code, output = podium(document(**spec), "--out", str(tmp_path / "r"))
    assert code == 0, output
    result = json.loads((tmp_path / "r/result.json").read_text())
    assert [(a["try"], a["reason"]) for a in result["attempts"]] == [
        (0, "ProgramExited"), (0, "TargetReached"), (0, "TargetReached")
    ]  # fmt: skip
