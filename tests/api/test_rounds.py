"""The API server takes a run of every benchmark of every round, and says what one of another round lacks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from podium.api import TryId, crd
from podium.launch import TrainerDefaults, build_job, build_service, launch_for
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

ROUNDS = load_rounds()
APPLIED = 262_144  # bytes: kubectl apply keeps the object in an annotation, and all annotations have this limit


def closed(round_: str, benchmark: str, **spec: Any) -> dict[str, Any]:
    name = f"{round_}-{benchmark}".replace(".", "-").replace("_", "-")
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkRun",
        "metadata": {"name": name},
        "spec": {
            "round": round_,
            "benchmark": benchmark,
            "system": {"name": "box", "nodes": 1, "acceleratorsPerNode": 8},
            "data": {"persistentVolumeClaim": {"claimName": "data"}},
            "template": {"image": "registry.example/mine:1"},
            **spec,
        },
    }


def dry_run(kubectl, namespace: str, *runs: dict[str, Any], **asked: Any) -> str:
    return kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(runs), **asked)


def test_every_benchmark_of_every_round_is_taken(kubectl, namespace: str) -> None:
    runs = [closed(name, benchmark) for name, round_ in ROUNDS.items() for benchmark in round_.benchmarks]
    said = dry_run(kubectl, namespace, *runs)
    assert said.count("created (server dry run)") == len(runs) == 117


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (closed("v0.6", "llama2_70b_lora"),
         "benchmark: choose one of resnet, ssd, maskrcnn, gnmt, transformer, ncf, minigo; any other name needs"),
        (closed("v5.1", "llama2_70b_lora", template={}), "benchmark: Podium has no trainer for it in this round"),
        (closed("v5.1", "llama2_70b_lora", hyperparameters={"lora_rank": 16}),
         "hyperparameters: not tunable in the closed division of v5.1/llama2_70b_lora: lora_rank ; tunable: global_batch"),
    ],
)  # fmt: skip
def test_what_a_round_does_not_have_is_refused(kubectl, namespace: str, run: dict[str, Any], message: str) -> None:
    said = dry_run(kubectl, namespace, run, refused=True)
    assert " ".join(message.split()) in " ".join(said.split())


def test_the_crd_can_be_applied() -> None:
    """Half of what kubectl apply can keep, so that as many rounds again have room."""
    assert len(json.dumps(crd.crd())) < APPLIED / 1.9


def test_the_objects_of_a_run_are_taken_whatever_its_benchmark(kubectl, namespace: str) -> None:
    """Names of benchmarks have underscores; names of objects must not."""
    run = ex.run(**closed("v6.1", "qwen35_397b_grpo")["spec"])
    launch = launch_for(run, TryId(attempt=1, number=0), 7, ROUNDS)
    for made in (build_job(launch, TrainerDefaults()), build_service(launch)):
        made["metadata"].pop("namespace", None)
        kubectl("-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=made)
