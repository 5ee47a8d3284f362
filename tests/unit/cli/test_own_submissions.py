"""Podium's own results as submissions: run, check, package and review, without a finding on the way."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap

import pytest
import yaml
from typer.testing import CliRunner

from podium.cli.main import app
from podium.rules.system import FIELDS
from podium.submissions import files_of

# What a legal implementation of v0.6's ResNet prints, in a second.
TRAINER = textwrap.dedent(
    """
    import json, os, sys, time
    env = os.environ
    def log(key, value=None, **metadata):
        body = {"namespace": "", "time_ms": int(time.time() * 1000), "event_type": "POINT_IN_TIME", "key": key}
        print(":::MLLOG " + json.dumps({**body, "value": value, "metadata": metadata}), flush=True)
    if env["PET_NODE_RANK"] != "0":
        sys.exit(0)
    log("submission_benchmark", "resnet")
    log("submission_org", env["PODIUM_SUBMISSION_ORG"])
    log("submission_division", env["PODIUM_DIVISION"])
    log("submission_status", env["PODIUM_SUBMISSION_STATUS"])
    log("submission_platform", env["PODIUM_PLATFORM"])
    log("submission_poc_name", "A. Person")
    log("submission_entry", env["PODIUM_PLATFORM"])
    log("cache_clear", True)
    log("init_start")
    log("seed", int(env["PODIUM_SEED"]))
    for key, value in json.loads(SETTINGS).items():
        log(key, value)
    log("init_stop")
    log("run_start")
    log("train_samples", 1281167)
    log("eval_samples", 50000)
    seed = int(env["PODIUM_SEED"])
    for first, count, quality in ((1, 1, 0.1), (2, 4, 0.5), (6, 4, 0.765)):
        log("block_start", first_epoch_num=first, epoch_count=count)
        for epoch in range(first, first + count):
            log("epoch_start", epoch_num=epoch)
            time.sleep(0.02)
            log("epoch_stop", epoch_num=epoch)
        log("eval_start", epoch_num=epoch)
        log("eval_accuracy", quality - seed % 1000 / 200000, epoch_num=epoch)
        log("eval_stop", epoch_num=epoch)
        log("block_stop", first_epoch_num=first)
    log("run_stop", status="success")
    """
)
SETTINGS = {
    "global_batch_size": 3264, "opt_name": "sgd", "opt_base_learning_rate": 1.6, "opt_learning_rate_warmup_epochs": 5,
    "opt_learning_rate_decay_boundary_epochs": [30, 60, 80], "opt_weight_decay": 0.0001, "label_smoothing": 0.0,
    "model_bn_span": 408,
}  # fmt: skip
RUN = {
    "round": "v0.6", "benchmark": "resnet", "division": "closed", "submission": {"org": "ACME", "status": "onprem"},
    "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
    "template": {"image": "acme/resnet:1"},
}  # fmt: skip
SYSTEM = dict.fromkeys(FIELDS, "") | {
    "submitter": "ACME", "division": "closed", "status": "Available on-premise", "system_name": "box",
    "number_of_nodes": "1", "host_processors_per_node": "2", "accelerators_per_node": "8",
}  # fmt: skip


def stored(folder, trainer=TRAINER, **spec):
    """The folder of a result of five attempts."""
    program = trainer.replace("SETTINGS", repr(json.dumps(SETTINGS)))
    spec = {**RUN, **spec, "template": {"image": "acme/resnet:1", "command": [sys.executable, "-c", program]}}
    document = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": "mine"}, "spec": spec}
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    done = CliRunner().invoke(app, ["run", "--local", str(folder / "run.yaml"), "--out", str(folder / "result")])
    assert done.exit_code == 0, done.output
    return folder / "result"


@pytest.fixture(scope="session")
def closed_result(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("closed"))


@pytest.fixture
def closed(closed_result, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(closed_result, tmp_path / "result")


@pytest.fixture
def package(podium_json, tmp_path):
    """Packages a result; gives exit code, document and the package's folder."""

    def run(result, system=SYSTEM):
        (tmp_path / "box.json").write_text(json.dumps(system))
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code/train.py").write_text("print('seed')\n")
        options = ("--system", tmp_path / "box.json", "--out", tmp_path / "package", "--code", tmp_path / "code")
        return *podium_json("package", result, *options), tmp_path / "package"

    return run


def rules(document):
    return {finding["rule"] for finding in document["findings"]}


def test_an_untouched_closed_result_is_submitted_without_a_finding(podium_json, podium_text, closed, package):
    code, logs = podium_json("check", closed)
    assert (code, [log["findings"] for log in logs]) == (0, [[]] * 5)
    code, document, out = package(closed)
    assert (code, document["findings"]) == (0, [])
    code, document = podium_json("review", out)
    assert (code, document["findings"]) == (0, [])
    (score,) = document["scores"]
    assert any("complete ledger" in note for note in score["notes"])  # of the copy, which can be verified
    assert podium_text("verify", out)[0] == 0
    claimed = float(json.loads((closed / "result.json").read_text())["score"]["timeToTrainMinutes"])
    assert (score["round"], score["official"], score["minutes"]) == ("v0.6", True, pytest.approx(claimed, abs=1e-4))


def test_an_untouched_open_result_is_submitted_without_a_finding(podium_json, tmp_path, package):
    result = stored(tmp_path, division="open", quality={"target": "0.7"})
    assert podium_json("check", result)[0] == 0
    code, document, out = package(result, SYSTEM | {"division": "open"})
    assert (code, document["findings"]) == (0, [])
    code, document = podium_json("review", out)
    (score,) = document["scores"]
    assert (code, document["findings"], score["round"], score["valid"]) == (0, [], "v0.6", True)


def test_a_package_keeps_the_result_as_it_was_stored(closed, package):
    _, document, out = package(closed)
    kept = out / "ACME/podium/box/resnet"
    names = sorted(path.relative_to(closed).as_posix() for path in closed.rglob("*") if path.is_file())
    assert {"result.json", "run.yaml", "SHA256SUMS", "attempts/005/attempt.json", "attempts/005/logs/pod-0.log.gz"} <= {
        *names
    }
    assert names == sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())
    assert all((kept / name).read_bytes() == (closed / name).read_bytes() for name in names)
    assert document["files"] == sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_a_package_says_which_attempt_each_log_is(closed, package, podium_text, tmp_path):
    """MLCommons' tools count from 0."""
    _, document, out = package(closed)
    assert document["logs"] == {
        f"ACME/results/box/resnet/result_{number}.txt": f"attempts/00{number + 1}/result.txt" for number in range(5)
    }
    readme = (out / "ACME/benchmarks/resnet/box/README.md").read_text()
    assert readme.endswith("- `result_3.txt`: attempt 4\n- `result_4.txt`: attempt 5\n")
    shutil.rmtree(out)
    options = ("--system", tmp_path / "box.json", "--out", out, "--code", tmp_path / "code")
    _, text = podium_text("package", closed, *options)
    assert "ACME/results/box/resnet/result_4.txt is attempts/005/result.txt\n" in text.replace("\n ", " ")


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


CHANGES = {
    "a log is edited": (lambda result: edit(result / "attempts/002/result.txt", "A. Person", "B. Person"), "review.sums"),
    "an attempt is removed": (lambda result: shutil.rmtree(result / "attempts/003"), "review.runs.missing"),
    "the score is edited": (lambda result: edit(result / "result.json", '"timeToTrainMinutes": "0.0', '"timeToTrainMinutes": "0.'), "review.score"),
    "the run is not the one that ran": (lambda result: (result / "run.yaml").write_text("spec: {}\n"), "review.run"),
    "an attempt is a copy": (
        lambda result: shutil.copy(result / "attempts/001/result.txt", result / "attempts/002/result.txt"), "review.runs.same"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "rule"), CHANGES.values(), ids=CHANGES)
def test_what_review_refuses_package_refuses(podium_json, closed, package, change, rule):
    change(closed)
    _, reviewed = podium_json("review", closed)
    code, document, out = package(closed)
    named = {(finding["rule"], finding["where"]) for finding in document["findings"]}
    assert rule in rules(reviewed)
    assert {(finding["rule"], finding["where"]) for finding in reviewed["findings"]} <= named
    assert (code, out.exists()) == (1, False)


def test_a_log_of_a_package_is_the_one_that_was_stored(podium_json, closed, package):
    _, _, out = package(closed)
    edit(out / "ACME/results/box/resnet/result_3.txt", "A. Person", "B. Person")
    shutil.copy(out / "ACME/results/box/resnet/result_0.txt", out / "ACME/results/box/resnet/result_5.txt")
    (out / "ACME/results/box/resnet/result_1.txt").unlink()
    _, document = podium_json("review", out)
    found = {(f["rule"], f["where"], f["message"]) for f in document["findings"]}
    base = "ACME/results/box/resnet"
    assert {
        ("review.copy", f"{base}/result_3.txt",
         "is not ACME/podium/box/resnet/attempts/004/result.txt, the log that Podium stored"),
        ("review.copy", f"{base}/result_5.txt", "the result that Podium stored has no such attempt"),
        ("review.runs.missing", base, "attempt 2 is missing"),
    } <= found, found  # fmt: skip


def test_a_package_that_would_not_pass_its_review_is_not_made(closed, package, monkeypatch):
    def with_a_wrong_log(parts, submission):
        files = files_of(parts, submission)
        log = "ACME/results/box/resnet/result_2.txt"
        return files | {log: files[log].replace(b"A. Person", b"B. Person")}

    monkeypatch.setattr("podium.cli.package.files_of", with_a_wrong_log)
    code, document, out = package(closed)
    assert (code, rules(document), document["files"], out.exists()) == (1, {"review.copy"}, [], False)


# ---- the description of the system ----

NODE = {
    "capacity": {"cpu": "224", "memory": "2113407692Ki", "ephemeral-storage": "3750Gi", "nvidia.com/gpu": "8",
                 "rdma/hca_shared_devices_a": "63", "pods": "110"},
    "info": {"osImage": "Ubuntu 24.04.3 LTS", "kernelVersion": "6.8.0-1028-nvidia",
             "containerRuntimeVersion": "containerd://2.1.4", "architecture": "amd64"},
    "labels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559",
               "nvidia.com/cuda.driver.major": "580", "nvidia.com/cuda.driver.minor": "82",
               "nvidia.com/cuda.driver.rev": "07", "nvidia.com/gpu.clique": "a1.0",
               "node.kubernetes.io/instance-type": "p5.48xlarge"},
}  # fmt: skip
OTHER_GPU = {**NODE, "labels": {**NODE["labels"], "nvidia.com/gpu.product": "NVIDIA-H200"}}


def test_a_description_says_what_the_nodes_were(podium_text, closed, tmp_path):
    nodes = [{"name": "a", **NODE}, {"name": "b", **NODE}, {"name": "c", **OTHER_GPU}, {"name": "d", "unknown": "gone"}]
    (closed / "system.json").write_text(json.dumps({"name": "box", "nodesSeen": nodes}))
    edit(closed / "result.json", '"outcome"', '"pinned": {"image": "t:1", "imageDigest": "sha256:ab"}, "outcome"')
    code, text = podium_text("package", closed, "--init", tmp_path / "box.json")
    described = json.loads((tmp_path / "box.json").read_text())
    assert (code, list(described)) == (0, list(FIELDS))
    known = {field: value for field, value in described.items() if not value.startswith("FILL IN: ")}
    version = json.loads((closed / "result.json").read_text())["podium"]
    assert known == {
        "submitter": "ACME", "division": "closed", "status": "Available on-premise", "system_name": "box",
        "number_of_nodes": "1", "accelerators_per_node": "8", "host_processor_vcpu_count": "224",
        "host_memory_capacity": "2016 GiB", "host_storage_capacity": "3750 GiB",
        "host_networking": "63x rdma/hca_shared_devices_a, that of p5.48xlarge",
        "accelerator_model_name": "NVIDIA-H100-80GB-HBM3 / NVIDIA-H200", "accelerator_memory_capacity": "81559 MiB",
        "accelerator_interconnect": "NVLink", "operating_system": "Ubuntu 24.04.3 LTS",
        "other_software_stack": "driver 580.82.07, kernel 6.8.0-1028-nvidia, container runtime containerd://2.1.4, "
                                f"Podium {version}, image t:1@sha256:ab",
    }  # fmt: skip
    assert 'cooling: air or liquid, or ""' in text
    assert text.endswith("box.json: 15 fields from the run, 18 to fill in\n")
    code, text = podium_text("package", closed, "--init", tmp_path / "box.json")
    assert (code, "exists: remove it first" in text) == (2, True)


def test_a_description_must_be_filled_in(podium_json, podium_text, closed, package, tmp_path):
    podium_text("package", closed, "--init", tmp_path / "new.json")
    described = json.loads((tmp_path / "new.json").read_text())
    code, document, out = package(closed, described)
    left = [field for field, value in described.items() if value.startswith("FILL IN: ")]
    assert [f["message"] for f in document["findings"]] == [f"{field} is not filled in" for field in left]
    assert (code, out.exists()) == (1, False)
    code, document, out = package(closed, described | dict.fromkeys(left, ""))
    assert (code, document["findings"]) == (0, [])


def test_without_a_description_or_a_folder_the_options_are_named(podium_text, closed):
    code, text = podium_text("package", closed)
    assert (code, "--system" in text, "--init" in text) == (2, True, True)
