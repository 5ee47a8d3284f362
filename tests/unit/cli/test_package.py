"""``podium package``: the tree of each round, and why there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from podium.rules.system import FIELDS
from tests.unit.cli.logs import changed, mllog, v05_log, v06_log, without, write

SYSTEM = dict.fromkeys(FIELDS, "") | {
    "submitter": "acme", "division": "closed", "status": "onprem", "system_name": "Box", "number_of_nodes": "1",
    "accelerators_per_node": "8",
}  # fmt: skip
ENTRY = {"division": "closed", "status": "onprem", "hardware": "box", "framework": "PyTorch", "interconnect": "",
         "nodes": [], "os": "Linux", "libraries": "", "compilers": ""}  # fmt: skip


def v07_log(seconds=60.0, quality=0.76, status="success"):
    """A complete v0.7 log of ResNet."""
    return [
        *(mllog(f"submission_{k}", v, -90) for k, v in (
            ("benchmark", "resnet"), ("org", "acme"), ("division", "closed"), ("status", "onprem"), ("platform", "box"))),
        mllog("cache_clear", True, -80),
        mllog("init_start", None, -70),
        *(mllog(k, v, -60) for k, v in (
            ("global_batch_size", 256), ("opt_name", "sgd"), ("sgd_opt_base_learning_rate", 0.1),
            ("sgd_opt_end_learning_rate", 0.0001), ("sgd_opt_learning_rate_decay_poly_power", 2),
            ("sgd_opt_learning_rate_decay_steps", 100), ("sgd_opt_weight_decay", 0.0001), ("sgd_opt_momentum", 0.9),
            ("model_bn_span", 32), ("opt_learning_rate_warmup_epochs", 5), ("train_samples", 1281167),
            ("eval_samples", 50000))),
        mllog("init_stop", None, -10),
        mllog("run_start"),
        mllog("block_start", None, 1, first_epoch_num=1, epoch_count=4),
        mllog("eval_start", None, seconds - 2, epoch_num=4),
        mllog("eval_accuracy", quality, seconds - 1, epoch_num=4),
        mllog("eval_stop", None, seconds - 1, epoch_num=4),
        mllog("block_stop", None, seconds - 1, first_epoch_num=1),
        mllog("run_stop", None, seconds, status=status),
    ]  # fmt: skip


@pytest.fixture
def package(podium_json, tmp_path):
    """Packages logs in a folder of a round; gives exit code, document and the package's folder."""

    def run(runs, folder, system=SYSTEM, *options, code=True):
        write(tmp_path / "results" / folder, runs)
        (tmp_path / "box.json").write_text(json.dumps(system))
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code/train.py").write_text("print('seed')\n")
        if code:
            options = (*options, "--code", tmp_path / "code")
        out = tmp_path / "package"
        exit_code, document = podium_json(
            "package", tmp_path / "results", "--system", tmp_path / "box.json", "--out", out, *options
        )
        return exit_code, document, out

    return run


TIMES = (60, 70, 80, 90, 100)


def test_the_official_checker_accepts_a_v07_package(package, tmp_path):
    code, document, out = package([v07_log(t) for t in TIMES], "v0.7/acme/box/resnet")
    assert (code, document["findings"]) == (0, [])
    base = "acme/benchmarks/resnet"
    assert document["files"] == [
        f"{base}/box/README.md", f"{base}/box/box_own.json", f"{base}/box/init_datasets.sh",
        f"{base}/box/run_and_time.sh", f"{base}/box/setup.sh", f"{base}/implementations/own/train.py",
        *(f"acme/results/box/resnet/result_{i}.txt" for i in range(5)), "acme/systems/box.json",
    ]  # fmt: skip
    command = [sys.executable, "-m", "mlperf_logging.package_checker", "acme", "training", "0.7.0"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert "PACKAGE CHECKER FOUND NO ERRORS" in done.stderr


def test_the_description_is_the_given_one(package):
    """Not the one beside the results, which may be missing."""
    code, document, _ = package([v07_log(t) for t in TIMES], "v0.7/acme/results/box/resnet")
    assert (code, document["findings"]) == (0, [])


def test_a_tolerated_failure_is_packaged_and_two_are_not(package):
    runs = [v07_log(t) for t in TIMES[:4]] + [v07_log(50, 0.7, "aborted")]
    code, document, _ = package(runs, "v0.7/acme/box/resnet")
    assert (code, document["findings"]) == (0, [])


def test_of_more_attempts_than_the_round_asks_for_the_designated_ones_are_packaged(package):
    """MLCommons' package checker wants exactly as many logs; the command says which, and what they were called."""
    runs = [v07_log(t) for t in (50, *TIMES, 110)]
    code, document, out = package(runs, "v0.7/acme/box/resnet")
    assert (code, document["findings"]) == (0, [])
    (note,) = (note for note in document["notes"] if "scored are attempts" in note)
    assert note.startswith("resnet: scored are attempts 1, 2, 3, 4, 5: of all 5 consecutive ones")
    assert [Path(source).name for source in document["logs"].values()] == [f"result_{n}.txt" for n in range(1, 6)]
    assert (out / "acme/results/box/resnet/result_0.txt").read_text().splitlines() == runs[1]
    assert not (out / "acme/results/box/resnet/result_5.txt").exists()


def test_two_failures_are_refused(package):
    runs = [v07_log(t) for t in TIMES[:3]] + [v07_log(50, 0.7, "aborted")] * 2
    code, document, out = package(runs, "v0.7/acme/box/resnet")
    assert (code, document["files"], out.exists()) == (1, [], False)
    assert "invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest" in {
        f["message"] for f in document["findings"]
    }


def test_the_v06_tree(package):
    runs = [changed(v06_log(), "A. Person", f"Person {n}") for n in range(10)]
    code, document, out = package(runs, "v0.6/acme/box/transformer")
    assert (code, document["findings"]) == (0, [])
    assert (out / "acme/results/box/transformer/result_9.txt").read_text().splitlines() == runs[9]
    assert (out / "acme/benchmarks/transformer/box/run_and_time.sh").stat().st_mode & 0o111


def test_the_v05_tree(package):
    runs = [changed(v05_log(), "seed: 7", f"seed: {n}") for n in range(100)]
    code, document, out = package(runs, "v0.5/acme/box/ncf", ENTRY, "--org", "acme", "--email", "a@example.com")
    assert (code, document["findings"]) == (0, [])
    assert json.loads((out / "acme/submission.json").read_text()) == {"org": "acme", "poc_email": "a@example.com"}
    assert (out / "acme/results/box/entry.json").exists()
    assert (out / "acme/code/ncf/run_and_time_box.sh").exists()
    assert (out / "acme/results/box/ncf/result_99.txt").exists()


REFUSED = {
    "a field is missing": ({"system": {k: v for k, v in SYSTEM.items() if k != "cooling"}}, "package.system.missing"),
    "a number": ({"system": SYSTEM | {"accelerators_per_node": 8}}, "package.system.type"),
    "an invented division": ({"system": SYSTEM | {"division": "ajar"}}, "package.system.division"),
    "no implementation": ({"code": False}, "package.code"),
    "too few runs": ({"runs": 4}, "package.score"),
    "a log that breaks rules": ({"broken": True}, "mlperf.train_samples.required"),
}


@pytest.mark.parametrize(("made", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(package, made, rule):
    runs = [v07_log(t) for t in TIMES[: made.get("runs", 5)]]
    if made.get("broken"):
        runs[0] = [line for line in runs[0] if '"train_samples"' not in line]
    code, document, out = package(runs, "v0.7/acme/box/resnet", made.get("system", SYSTEM), code=made.get("code", True))
    assert (code, out.exists()) == (1, False)
    assert rule in {f["rule"] for f in document["findings"]}


def test_a_benchmark_that_its_round_suspended_is_refused(package):
    log = [line.replace('"transformer"', '"ncf"').replace("25.4", "0.64") for line in v06_log()]
    code, document, out = package([changed(log, "A. Person", f"Person {n}") for n in range(10)], "v0.6/acme/box/ncf")
    assert (code, out.exists()) == (1, False)
    assert [(f["rule"], f["message"], f["remedy"]) for f in document["findings"]] == [
        ("package.benchmark", "v0.6 suspended ncf and published no results for it", "run it under v0.5")
    ]


def test_wrong_use(package, tmp_path):
    assert package([without(v06_log(), "x")], "ssd", SYSTEM, "--org", "../up")[:2] == (
        2, "--org: '../up' is not a valid folder name; use letters, digits, -, _, + and .")  # fmt: skip
    (tmp_path / "package").mkdir()
    (tmp_path / "package/mine").touch()
    code, text, _ = package([v06_log()], "ssd")
    assert (code, "package is not empty: choose another folder" in text) == (2, True)
