"""Closed runs of Podium's own trainers, from `run` to `verify`; NCF of v0.5 is the smallest of them.

The trainer is replaced by one that prints what it has printed: a training to the target takes minutes.
"""

from __future__ import annotations

import json
import shutil
import textwrap

import pytest
import yaml
from typer.testing import CliRunner

from podium.cli.main import app
from podium.rounds import load_rounds

# What NCF printed when it reached the target of v0.5 in its first epoch, on the ratings of 64 users
PRINTED = textwrap.dedent(
    """
    import json, os, time
    env = os.environ
    def log(key, value=None, **metadata):
        body = {"namespace": "", "time_ms": time.time_ns() // 1_000_000, "event_type": "POINT_IN_TIME", "key": key}
        print(":::MLLOG " + json.dumps({**body, "value": value, "metadata": metadata}), flush=True)
    seed = int(env["PODIUM_SEED"])
    log("submission_benchmark", "ncf")
    log("submission_org", env.get("PODIUM_SUBMISSION_ORG", "podium"))
    log("submission_division", env["PODIUM_DIVISION"])
    log("submission_status", env.get("PODIUM_SUBMISSION_STATUS", "research"))
    log("submission_platform", env["PODIUM_PLATFORM"])
    log("number_of_ranks", 1)
    log("cache_clear", True, cleared=["data set"], files=1, files_kept=0)
    log("init_start")
    log("seed", seed)
    for key, value in {"global_batch_size": 64, "opt_name": "adam", "opt_base_learning_rate": 0.005,
                       "opt_adam_beta_1": 0.9, "opt_adam_beta_2": 0.999, "opt_adam_epsilon": 1e-8}.items():
        log(key, value)
    log("init_stop")
    log("run_start", max_epochs=30)
    log("train_samples", 7680)
    log("eval_samples", 64)
    log("block_start", first_epoch_num=1, epoch_count=1)
    log("epoch_start", epoch_num=1)
    time.sleep(0.05 + seed % 10 / 1000)
    log("tracked_stats", {"throughput": 27391.659, "loss": 0.5033}, epoch_num=1.0, samples_count=7680, step=120)
    log("epoch_stop", epoch_num=1)
    log("eval_start", epoch_num=1)
    log("eval_accuracy", 0.828125 - seed % 7 / 64, epoch_num=1)
    log("eval_stop", epoch_num=1)
    log("block_stop", first_epoch_num=1, epoch_count=1)
    log("run_stop", status="success", epoch_num=1)
    log("run_final")
    """
)
RUN = {
    "round": "v0.5", "benchmark": "ncf", "division": "closed", "attempts": 3,
    "submission": {"org": "ACME", "status": "onprem"}, "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 1},
    "hyperparameters": {"global_batch_size": 64, "opt_base_learning_rate": 0.005},
}  # fmt: skip


def run(folder, monkeypatch, **spec):
    """What `podium run --local` printed; the result is in folder/result."""
    trainer = folder / "path/podium_benchmarks/ncf"
    trainer.mkdir(parents=True)
    (trainer.parent / "__init__.py").touch()
    (trainer / "__init__.py").touch()
    (trainer / "__main__.py").write_text(PRINTED)
    (folder / "ml-20m").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder / "path"))
    spec = {key: value for key, value in {**RUN, **spec}.items() if value is not None}
    document = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "mine"}, "spec": spec}
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    options = ("--local", folder / "run.yaml", "--data", folder / "ml-20m", "--out", folder / "result")
    done = CliRunner().invoke(app, ["run", *map(str, options)])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A result that names its submitter, and one that does not, with what `run` printed."""
    with pytest.MonkeyPatch.context() as patch:
        named, unnamed = tmp_path_factory.mktemp("named"), tmp_path_factory.mktemp("unnamed")
        printed = run(named, patch), run(unnamed, patch, attempts=1, submission=None)
    return named / "result", unnamed / "result", *printed


@pytest.fixture
def result(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "result")


@pytest.fixture
def three_attempts(monkeypatch):
    """NCF of v0.5 asks for 100."""
    rounds = load_rounds()
    ncf = rounds["v0.5"].benchmarks["ncf"].model_copy(update={"runs": 3, "converged_runs": None, "max_failures": 1})
    v05 = rounds["v0.5"].model_copy(update={"benchmarks": {**rounds["v0.5"].benchmarks, "ncf": ncf}})
    for command in ("package", "review"):
        monkeypatch.setattr(f"podium.cli.{command}.load_rounds", lambda: {**rounds, "v0.5": v05})


def filled_in(described):
    """A description whose open fields are empty."""
    if isinstance(described, dict):
        return {key: filled_in(value) for key, value in described.items()}
    if isinstance(described, list):
        return [filled_in(value) for value in described]
    return "" if described.startswith("FILL IN: ") else described


def messages(document):
    return [(finding["rule"], finding["message"]) for finding in document["findings"]]


def test_an_untouched_closed_result_has_no_finding_but_the_number_of_attempts(podium_json, result, tmp_path):
    _, logs = podium_json("check", result)
    assert [log["findings"] for log in logs] == [[]] * 3
    few = [("package.score", "not official: 3 of the 100 attempts that the rules require")]
    assert messages(podium_json("review", result)[1]) == few
    assert podium_json("verify", result)[0] == 0
    code, written = podium_json("package", result, "--init", tmp_path / "box.json")
    assert (code, written["known"], "nodes[0].num_cores" in written["open"]) == (0, 12, True)


def test_the_package_of_a_closed_result_passes_its_review(podium_json, podium_text, three_attempts, result, tmp_path):
    """From the description that `--init` writes to `verify`, without --code: the trainer is Podium's."""
    code, text = podium_text("package", result, "--init", tmp_path / "box.json")
    described = json.loads((tmp_path / "box.json").read_text())
    assert (code, described["hardware"], described["submitter"], described["status"]) == (0, "box", "ACME", "onprem")
    assert described["nodes"][0]["num_accelerators"] == "1"
    assert "nodes[0].num_cores: cores of one processor as text" in text
    options = ("--system", tmp_path / "box.json", "--out", tmp_path / "package")
    code, document = podium_json("package", result, *options)
    assert (code, ("package.system.missing", "nodes[0].num_cores is not filled in") in messages(document)) == (1, True)
    (tmp_path / "box.json").write_text(json.dumps(filled_in(described)))
    code, document = podium_json("package", result, *options)
    assert (code, messages(document)) == (0, [])
    assert any("are in the format of v0.7" in note for note in document["notes"])
    assert podium_json("review", tmp_path / "package")[1]["findings"] == []
    assert podium_text("verify", tmp_path / "package")[0] == 0


def test_lines_that_both_formats_have_are_asked_for(podium_json, result):
    log = result / "attempts/001/result.txt"
    kept = [line for line in log.read_text().splitlines(keepends=True)
            if not any(f'"{key}"' in line for key in ("cache_clear", "eval_samples", "run_final"))]  # fmt: skip
    log.write_text("".join(kept))
    _, logs = podium_json("check", result)
    assert [f["rule"] for f in logs[0]["findings"]] == [
        "v0.5.run_final.once", "v0.5.cache_clear.required", "v0.5.eval_samples.required",
    ]  # fmt: skip


def test_epochs_of_a_closed_result_count_from_one(podium_json, result):
    """Those of v0.5's own format count from 0."""
    _, (found,) = podium_json("variance", result)
    assert found["epochs"]["mean"] == 1.0


# ---- without a submitter ----


def test_a_run_without_a_submitter_says_so_before_it_trains(made):
    _, _, named, unnamed = made
    sentence = (
        "its logs will name no submitter: to submit the result, set spec.submission.org and .status first attempt 1"
    )
    assert (sentence in unnamed, "submitter" in named) == (True, False)


def test_a_result_without_a_submitter_is_named_once_with_the_place_to_write_it(podium_json, made, tmp_path):
    _, result, _, _ = made
    code, logs = podium_json("check", result)
    (finding,) = (finding for log in logs for finding in log["findings"])
    assert (code, finding["rule"], finding["remedy"]) == (
        1,
        "log.submitter",
        ("set spec.submission.org and spec.submission.status in the run file, or trainer.submission "
                            "in the chart's values, and run it again: logs must not be edited"),
    )  # fmt: skip
    podium_json("package", result, "--init", tmp_path / "box.json")
    described = json.loads((tmp_path / "box.json").read_text())
    assert described["submitter"].startswith("FILL IN: ")
    (tmp_path / "box.json").write_text(json.dumps({**filled_in(described), "submitter": "ACME", "status": "onprem"}))
    _, document = podium_json("package", result, "--system", tmp_path / "box.json", "--out", tmp_path / "package")
    assert sorted({rule for rule, _ in messages(document)}) == ["log.submitter", "package.score"]


def test_an_open_result_needs_no_submitter(podium_json, tmp_path, monkeypatch):
    printed = run(tmp_path, monkeypatch, attempts=1, submission=None, division="open", quality={"target": "0.6"})
    assert "submitter" not in printed
    assert podium_json("check", tmp_path / "result")[0] == 0


# ---- what a newcomer or an adversary does to it ----


def test_a_result_that_is_not_finished_or_lost_its_result_json_is_one_finding(podium_json, result, tmp_path):
    """Its round would be guessed by its date, and dozens of findings follow from that."""
    (result / "result.json").unlink()
    (tmp_path / "box.json").write_text('{"submitter": "ACME"}')
    rule = ("score.document", "is missing: the run has not ended, or the file was removed")
    _, (scored,) = podium_json("score", result)
    assert messages(scored)[0] == rule
    _, logs = podium_json("check", result)
    assert [found for log in logs for found in messages(log)] == [rule]
    code, document = podium_json("package", result, "--system", tmp_path / "box.json", "--out", tmp_path / "package")
    assert (code, messages(document)) == (1, [rule])
    reviewed = messages(podium_json("review", result)[1])
    assert reviewed.count(rule) == 1


def test_an_attempt_that_was_copied_in_from_another_run_is_named(podium_json, result, made):
    shutil.copytree(made[1] / "attempts/001", result / "attempts/004")
    named = ("score.files", "attempt 4 is not in result.json; it is counted")
    assert named in messages(podium_json("score", result)[1][0])
    assert named in [found for log in podium_json("check", result)[1] for found in messages(log)]
    assert named in messages(podium_json("review", result)[1])
