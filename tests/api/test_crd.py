"""The API server takes what is right and says of what is wrong what to write instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from podium.api.crd import render
from podium.cli.main import app

ROOT = Path(__file__).resolve().parents[2]

CLOSED: dict[str, Any] = {
    "round": "v0.6",
    "benchmark": "resnet",
    "system": {"name": "dgx", "nodes": 2, "acceleratorsPerNode": 8},
    "data": {"persistentVolumeClaim": {"claimName": "imagenet"}},
}
OPEN: dict[str, Any] = {
    "round": "v0.6",
    "benchmark": "resnet",
    "division": "open",
    "preset": "tiny",
    "system": {"name": "laptop", "nodes": 1},
}


def run(spec: dict[str, Any], name: str = "digits") -> dict[str, Any]:
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": spec}


def test_the_committed_crd_is_the_generated_one():
    assert (ROOT / "crds/podium.dev_benchmarkruns.yaml").read_text() == render()


@pytest.mark.parametrize(
    "spec",
    [
        CLOSED,
        OPEN,
        {**CLOSED, "hyperparameters": {"global_batch_size": 3264, "opt_base_learning_rate": 6.5, "opt_name": "lars"}},
        {**OPEN, "template": {"image": "me/mine:1"}, "hyperparameters": {"global_batch_size": 96, "width": 8}},
        {**OPEN, "benchmark": "my-model", "template": {"image": "me/mine:1"}, "quality": {"target": "0.5"}},
        {**CLOSED, "division": "outOfTheBox", "hyperparameters": {"global_batch_size": 1024}},
        {
            **CLOSED,
            "benchmark": "minigo",
            "hyperparameters": {
                "opt_base_learning_rate": [0.32, 0.032],
                "opt_learning_rate_decay_boundary_steps": [12500],
            },
        },
        {**CLOSED, "benchmark": "maskrcnn", "division": "open", "quality": {"target": "0.30/0.25"}},
        {**OPEN, "benchmark": "minigo", "hyperparameters": {"published_start": False}},
        {**CLOSED, "data": {"stage": {"from": "s3://datasets/imagenet/v1.2/"}}},
        {**CLOSED, "data": {**CLOSED["data"], "stage": {}}, "deadlines": {"stage": "4h"}},
        {**OPEN, "template": {"resources": {"limits": {"cpu": 2, "memory": "4Gi"}}, "affinity": {"podAffinity": {}}}},
    ],
)
def test_accepted(kubectl, namespace, spec, tmp_path):
    kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=run(spec))
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run(spec)))
    assert CliRunner().invoke(app, ["validate", str(file)]).exit_code == 0


def test_the_examples_are_accepted(kubectl, namespace):
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        kubectl("-n", namespace, "apply", "--dry-run=server", "-f", example)


REFUSED = [
    (
        {**CLOSED, "benchmark": "resnet50"},
        (
            "benchmark: choose one of resnet, ssd, maskrcnn, gnmt, transformer, ncf, minigo; any other name needs "
            "division: open, template.image and quality.target"
        ),
    ),
    ({**CLOSED, "round": "v0.9"}, 'spec.round: Unsupported value: "v0.9": supported values: "v0.5", "v0.6"'),
    (
        {**CLOSED, "quality": {"target": "0.5"}},
        "quality.target: a closed run stops at the round's target; remove quality, or use division: open",
    ),
    ({**CLOSED, "preset": "tiny"}, "preset: tiny is not the benchmark itself; use it with division: open"),
    (
        {**CLOSED, "hyperparameters": {"opt_momentum": 0.8, "global_batch_size": 64}},
        (
            "hyperparameters: not tunable in the closed division of v0.6/resnet: opt_momentum ; tunable: "
            "global_batch_size, label_smoothing, lars_epsilon,"
        ),
    ),
    (
        {**CLOSED, "benchmark": "minigo", "hyperparameters": {"published_start": False}},
        "hyperparameters: not tunable in the closed division of v0.6/minigo: published_start ; tunable: global_batch_size,",
    ),
    (
        {**CLOSED, "division": "outOfTheBox", "hyperparameters": {"opt_name": "lars"}},
        "hyperparameters: an out-of-the-box run may set only global_batch_size and keeps the reference's other values",
    ),
    (
        {**CLOSED, "division": "outOfTheBox", "quality": {"target": "0.5"}},
        "quality.target: a closed run stops at the round's target",
    ),
    (
        {**CLOSED, "division": "Closed"},
        'spec.division: Unsupported value: "Closed": supported values: "closed", "open", "outOfTheBox"',
    ),
    ({**CLOSED, "hyperparameters": {"global_batch_size": "big"}}, "spec.hyperparameters.global_batch_size"),
    ({**CLOSED, "system": {"name": "dgx", "nodes": 0}}, "spec.system.nodes: Invalid value: 0"),
    ({**CLOSED, "system": {"name": "dgx", "nodes": 2}}, "system.acceleratorsPerNode: a closed run needs accelerators"),
    (
        {key: value for key, value in CLOSED.items() if key != "data"},
        "or from the bucket in data.stage.from; set one of them, or use division: open with preset: tiny",
    ),
    (
        {**CLOSED, "data": {}},
        "data: name one source, either a claim in persistentVolumeClaim or a bucket in stage.from",
    ),
    ({**CLOSED, "data": {"stage": {}}}, "data: name one source"),
    ({**CLOSED, "data": {**CLOSED["data"], "stage": {"from": "s3://datasets/x"}}}, "data: name one source, either"),
    ({**CLOSED, "data": {"stage": {"from": "s3://datasets/../secret"}}}, "spec.data.stage.from"),
    ({**CLOSED, "data": {"stage": {"from": "file:///etc"}}}, "spec.data.stage.from"),
    (
        {**CLOSED, "data": {"stage": {"from": "s3://x/y", "endpoint": "http://me"}}},
        'unknown field "spec.data.stage.endpoint"',
    ),
    ({**OPEN, "attempts": 101}, "spec.attempts"),
    ({**OPEN, "deadlines": {"init": "20 minutes"}}, "spec.deadlines.init"),
    (
        {**OPEN, "template": {"env": [{"name": "PET_NNODES", "value": "3"}]}},
        "template.env: names that start with PET_ or PODIUM_ are reserved for the operator",
    ),
    ({**OPEN, "template": {"hostNetwork": True}}, 'unknown field "spec.template.hostNetwork"'),
    ({**OPEN, "sytem": {}}, 'unknown field "spec.sytem"'),  # codespell:ignore sytem
]


@pytest.mark.parametrize("spec", [spec for spec, _ in REFUSED], ids=[sentence[:40] for _, sentence in REFUSED])
def test_what_the_api_server_refuses_podium_validate_refuses_too(tmp_path, spec):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run(spec)))
    done = CliRunner().invoke(app, ["validate", str(file), "--json"])
    assert done.exit_code == 1
    (document,) = json.loads(done.stdout)
    assert document["findings"]


@pytest.mark.parametrize(("spec", "sentence"), REFUSED, ids=[sentence[:40] for _, sentence in REFUSED])
def test_refused(kubectl, namespace, spec, sentence):
    said = kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=run(spec), refused=True)
    assert sentence in said


@pytest.mark.parametrize("name", ["a" * 51, "9lives", "dots.in.it"])
def test_a_name_that_cannot_be_a_dns_label_is_refused(kubectl, namespace, name):
    said = kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=run(OPEN, name), refused=True)
    assert "metadata.name: use at most 50 lowercase letters, digits and dashes, starting with a letter" in said


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"benchmark": "ncf"}, "benchmark"),
        ({"attempts": 3}, "attempts"),
        ({"hyperparameters": {"global_batch_size": 32}}, "hyperparameters"),
        ({"system": {"name": "laptop", "nodes": 2}}, "system"),
    ],
)
def test_a_run_is_immutable(kubectl, namespace, change, field):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    said = kubectl("-n", namespace, "apply", "-f", "-", stdin=run({**OPEN, **change}), refused=True)
    assert f"{field} is immutable; create a new BenchmarkRun to change it" in said


def test_but_it_can_be_suspended_and_given_a_time_to_live(kubectl, namespace):
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run({**OPEN, "suspend": True, "ttlSecondsAfterFinished": 60}))


def test_the_status_holds_everything_that_the_operator_writes(kubectl, namespace):
    from podium.controller.status_writer import status_document
    from podium.reconcile import decide
    from podium.rounds import load_rounds
    from tests.unit.reconcile import examples as ex

    done = ex.status(*[ex.converged(i, 40 + i) for i in range(1, 6)])
    result = {"uri": "s3://results/lab/digits", "sha256": "0" * 64}
    from podium.api import Result

    status = decide(ex.run(done, attempts=5), ex.observed(result=Result(**result)), load_rounds(), ex.T0).status
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN))
    patch = {"status": status_document(status)}
    path = "benchmarkrun/digits"
    kubectl("-n", namespace, "patch", path, "--subresource=status", "--type=merge", "-p", yaml.safe_dump(patch))
    stored = yaml.safe_load(kubectl("-n", namespace, "get", path, "-o", "yaml"))["status"]
    assert stored == status_document(status)
    kubectl("-n", namespace, "wait", "--for=condition=Complete", path, "--timeout=10s")
    table = kubectl("-n", namespace, "get", "benchmarkruns").splitlines()
    assert table[0].split() == ["NAME", "BENCHMARK", "ATTEMPT", "QUALITY", "SCORE", "COMPLETE", "AGE"]
    assert table[1].split()[:6] == ["digits", "resnet", "5/5", "0.95", "0.7167", "True"]
    wide = kubectl("-n", namespace, "get", "benchmarkruns", "-o", "wide").splitlines()
    assert wide[0].split()[7:] == ["STATE", "TARGET", "ROUND", "DIVISION", "SYSTEM", "RESULT"]
    assert wide[1].split()[7:] == ["Finished", "0.9", "v0.6", "open", "laptop", "s3://results/lab/digits"]


def test_long_values_fit_terminals_of_80_and_200_columns(kubectl, namespace):
    """Mask R-CNN has two qualities, the longest of them all."""
    name = "maskrcnn-eval"
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run({**CLOSED, "benchmark": "maskrcnn"}, name))
    status = {
        "progress": {"attempt": "5/5", "quality": "0.3812/0.3422", "target": "0.377/0.339"},
        "score": {"timeToTrainMinutes": "207.4834", "valid": True, "official": True},
        "result": {"uri": f"s3://podium-results/training/mlperf/{name}-1a2b3c4d", "sha256": "0" * 64},
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": "Initializing",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind in ("Running", "Complete")
        ],
    }
    path = f"benchmarkrun/{name}"
    kubectl(
        "-n", namespace, "patch", path, "--subresource=status", "--type=merge", "-p", yaml.safe_dump({"status": status})
    )
    lines = kubectl("-n", namespace, "get", "benchmarkruns").splitlines()
    assert max(map(len, lines)) <= 80, "\n".join(lines)
    wide = kubectl("-n", namespace, "get", "benchmarkruns", "-o", "wide").splitlines()
    assert max(map(len, wide)) <= 200, "\n".join(wide)


def test_kubectl_explains_every_field(kubectl):
    said = " ".join(kubectl("explain", "benchmarkrun.spec.quality").split())
    assert "Replaces the round's target; open division only." in said
    assert 'target <string> -required- Target of the quality metric, such as "0.60"' in said
    assert "One time-to-train benchmark under MLPerf Training rules." in kubectl("explain", "benchmarkrun")
