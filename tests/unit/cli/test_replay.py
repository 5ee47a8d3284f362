"""A published result, replayed: its score, its package and what MLCommons' checkers say of it are those of the logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from podium.cli.errors import UsageError
from podium.cli.main import app
from podium.mllog import parse
from podium.rounds import load_rounds
from podium.rules.system import FIELDS
from podium.stores import open_store
from podium.submissions import gather
from tests.unit.cli.logs import lora_run, write

SPEED = 600
PUBLISHED = Path(os.environ.get("PODIUM_TEST_RESULTS") or "no such folder") / "training_results_v5.1"
ENTRY = "Supermicro/results/8xMI355X_2xEPYC_9575F/llama2_70b_lora"
SYSTEM = dict.fromkeys(FIELDS, "") | {
    "submitter": "ACME", "division": "closed", "status": "Available on-premise", "system_name": "box",
    "number_of_nodes": "1", "host_processors_per_node": "2", "accelerators_per_node": "8",
}  # fmt: skip


def seconds(folder: Path) -> float:
    (part,) = gather([open_store(str(folder))], load_rounds(), "v5.1")
    assert part.entry.score.seconds is not None, part.entry.findings
    return part.entry.score.seconds


def made_up(folder: Path) -> Path:
    runs = (lora_run(at=86400 * 2200 + 3600 * n, seed=n, noise=0.0002 * (n * 7 % 13) - 0.002,
                     evaluations=5 + n % 3) for n in range(10))  # fmt: skip
    return write(folder / "logs/llama2_70b_lora", runs)


def published(folder: Path) -> Path:
    if not PUBLISHED.exists():
        pytest.skip("the results of v5.1 are not here: set PODIUM_TEST_RESULTS")
    git = ("git", "-C", PUBLISHED)
    (folder / "logs").mkdir()
    for n in range(10):
        content = subprocess.run([*git, "show", f"HEAD:{ENTRY}/result_{n}.txt"], capture_output=True, check=True).stdout
        (folder / f"logs/result_{n}.txt").write_bytes(content)
    return folder / "logs"


@pytest.mark.parametrize("logs_of", [made_up, published])
@pytest.mark.timeout(300)
def test_ten_replays_are_the_result_that_they_replay(tmp_path, podium_json, logs_of):
    logs = logs_of(tmp_path)
    names = [str(logs / f"result_{n}.txt") for n in range(10)]
    command = [sys.executable, "-m", "podium", "replay", "--speed", str(SPEED), *names]
    spec = {"round": "v5.1", "benchmark": "llama2_70b_lora", "division": "closed", "parallelAttempts": 10,
            "submission": {"org": "ACME", "status": "onprem"},
            "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
            "template": {"image": "acme/lora:1", "command": command}}  # fmt: skip
    document = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "lora"}, "spec": spec}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document))
    result = tmp_path / "result"
    done = CliRunner().invoke(app, ["run", "--local", str(tmp_path / "run.yaml"), "--out", str(result)])
    assert done.exit_code == 0, done.output
    assert seconds(result) * SPEED == pytest.approx(seconds(logs), rel=1e-6)

    code, checked = podium_json("check", result)
    assert (code, [log["findings"] for log in checked]) == (0, [[]] * 10), "nor has MLCommons' compliance checker any"
    (tmp_path / "box.json").write_text(json.dumps(SYSTEM))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("seed = 1\n")
    out = tmp_path / "package"
    options = ("--system", tmp_path / "box.json", "--out", out, "--code", tmp_path / "code")
    code, packaged = podium_json("package", result, *options)
    assert (code, packaged["findings"]) == (0, [])
    checker = [sys.executable, "-m", "mlperf_logging.package_checker", "ACME", "training", "5.1.0"]
    said = subprocess.run(checker, cwd=out, capture_output=True, text=True, check=False).stderr
    assert "PACKAGE CHECKER FOUND NO ERRORS" in said, said[-4000:]


def replay(*words: object, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["replay", "--speed", "1000000", *map(str, words)], env=environment)
    return done.exit_code, str(done.exception) if isinstance(done.exception, UsageError) else done.stdout


def test_outside_a_run_the_values_are_those_of_the_log(tmp_path):
    logs = write(tmp_path, [lora_run(seed=5)])
    events, problems = parse(replay(logs / "result_0.txt")[1])
    before, _ = parse((logs / "result_0.txt").read_text())
    assert problems == []
    told = [(event.key, event.metadata) for event in events]
    assert told == [(event.key, event.metadata) for event in before]
    assert {event.value for event in events if event.key in ("seed", "submission_org")} == {5, "acme"}


def test_each_attempt_has_its_log_and_only_node_0_prints(tmp_path):
    logs = sorted(write(tmp_path, [lora_run(seed=5), lora_run(seed=6)]).iterdir())
    assert '"key": "seed", "value": 6,' in replay(*logs, PODIUM_ATTEMPT="2")[1]
    assert '"key": "seed", "value": 7,' in replay(*logs, PODIUM_ATTEMPT="2", PODIUM_SEED="7")[1]
    assert replay(*logs, PET_NODE_RANK="1") == (0, "")
    message = "attempt 3 has no log: 2 given; name one for each attempt"
    assert replay(*logs, PODIUM_ATTEMPT="3") == (1, message)


def test_what_is_no_log_is_named(tmp_path):
    (tmp_path / "empty.txt").touch()
    assert replay(tmp_path / "empty.txt")[1].endswith("empty.txt has no MLPerf lines: name a log of a result")
    assert replay(tmp_path / "none.txt")[1].endswith("none.txt: No such file or directory")
