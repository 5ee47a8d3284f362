"""Specs that nobody would write: each is accepted or refused with a sentence, and the operator goes on.

`make fuzz` generates 10,000 (`PODIUM_FUZZ`); other runs of the tests make do with fewer.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from podium.controller.pods import BENCHMARK_RUNS
from podium.kube import Api, ApiError, connect
from tests.cluster.fixtures import kubectl_for
from tests.cluster.parts import Operator, until

SPECS = int(os.environ.get("PODIUM_FUZZ", "400"))
BATCH = 50
NAMESPACE = "generated"
ANYTHING = {key: ["*"] for key in ("images", "imagePullSecrets", "annotations", "priorityClasses", "tolerations", "env",
                                   "queuePriorityClasses", "writableClaims", "resourceClaimTemplates")}  # fmt: skip

text = st.text(max_size=12) | st.sampled_from(
    ["", "a", "x" * 64, "x" * 300, "A-b", "-a", "a/b", "a/b/c", "ünïcode", "0", "1", "true", "null", "../..", "$(PATH)", "\x00", "a\nb"]
)  # fmt: skip
number = st.integers(-2, 3) | st.sampled_from(
    [10**9, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**19, -(10**30), 0.5, 1e-300, 1e300]
)
scalar = text | number | st.booleans() | st.none()
junk = st.recursive(
    scalar, lambda some: st.lists(some, max_size=3) | st.dictionaries(text, some, max_size=3), max_leaves=6
)
quantity = (
    st.sampled_from(
        [
            "1",
            "1Gi",
            "65536Ki",
            ".5",
            "5.",
            "1e9",
            "1E3",
            "100u",
            "100m",
            "64ki",
            "1e99",
            "-1",
            "+1",
            "1 Gi",
            "0",
            "1Xi",
            "1e",
        ]
    )
    | number
)
duration = st.sampled_from(["1s", "30m", "1h30m", "0s", "999999h", "999999h999999m999999s", "1m1h", "h", "", "90"])
labels = st.dictionaries(text | st.sampled_from(["pool", "example.com/a"]), text, max_size=3)
requirement = st.fixed_dictionaries(
    {"key": text | st.just("pool"), "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "is"])},
    optional={"values": st.lists(text, max_size=2)},
)
node_term = st.fixed_dictionaries(
    {},
    optional={"matchExpressions": st.lists(requirement, max_size=2), "matchFields": st.lists(requirement, max_size=1)},
)
pod_term = st.fixed_dictionaries(
    {"topologyKey": text | st.just("zone")},
    optional={
        "labelSelector": st.fixed_dictionaries({}, optional={"matchLabels": labels}),
        "namespaces": st.lists(text),
    },
)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
affinity = st.fixed_dictionaries(
    {},
    optional={
        "nodeAffinity": st.fixed_dictionaries(
            {}, optional={REQUIRED: st.fixed_dictionaries({"nodeSelectorTerms": st.lists(node_term, max_size=2)})}
        ),
        "podAntiAffinity": st.fixed_dictionaries({}, optional={REQUIRED: st.lists(pod_term, max_size=2)}),
    },
)
template = st.fixed_dictionaries(
    {},
    optional={
        "image": text | st.sampled_from(["a:1", "a@sha256:0", "UPPER:1"]),
        "command": st.lists(text, max_size=3) | junk,
        "args": st.lists(text, max_size=3),
        "env": st.lists(st.fixed_dictionaries({"name": text | st.just("A")}, optional={"value": scalar}), max_size=3),
        "resources": st.fixed_dictionaries(
            {},
            optional={
                kind: st.dictionaries(st.sampled_from(["cpu", "memory", "example.com/x", "a b"]), quantity, max_size=2)
                for kind in ("requests", "limits")
            },
        ),
        "nodeSelector": labels,
        "tolerations": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "key": text,
                    "operator": st.sampled_from(["Exists", "Equal", "Like"]),
                    "value": text,
                    "effect": st.sampled_from(["NoSchedule", "NoExecute", ""]),
                    "tolerationSeconds": number,
                },
            ),
            max_size=2,
        ),
        "affinity": affinity | junk,
        "priorityClassName": text,
        "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": text}), max_size=2),
        "sharedMemory": quantity,
        "annotations": labels,
        "resourceClaims": st.lists(
            st.fixed_dictionaries({"name": text | st.just("c"), "resourceClaimTemplateName": text | st.just("t")}),
            max_size=2,
        ),
        "secrets": st.lists(text, max_size=2),
        "unknown": junk,
    },
)
fields = {
    "round": st.sampled_from(["v0.6", "v0.5", "v9.9", ""]),
    "benchmark": st.sampled_from(["resnet", "ncf", "minigo", "my-model", "Bad Name"]) | text,
    "division": st.sampled_from(["closed", "open", "outOfTheBox", "none"]),
    "preset": st.sampled_from(["tiny", "full", "huge"]),
    "attempts": number,
    "parallelAttempts": number,
    "maxRetries": number,
    "hyperparameters": st.dictionaries(
        st.sampled_from(["global_batch_size", "opt_name", "opt_base_learning_rate", "mine"]) | text, junk, max_size=3
    ),
    "data": st.sampled_from(
        [
            {"persistentVolumeClaim": {"claimName": "c"}},
            {"persistentVolumeClaim": {"claimName": "Not A Name", "readOnly": False}},
            {"persistentVolumeClaim": {"claimName": "c"}, "stage": {}},
            {"stage": {"from": "s3://bucket/x"}},
            {"stage": {}},
            {},
        ]
    ),
    "deadlines": st.dictionaries(st.sampled_from(["pending", "stage", "queued", "init", "run", "walk"]), duration, max_size=4),
    "template": template,
    "queueName": text,
    "queuePriorityClass": text,
    "quality": st.fixed_dictionaries({"target": st.sampled_from(["0.5", "0.5/0.4", "1/2/3", "x", "-1", "1e9"])}),
    "pricing": st.fixed_dictionaries({"perNodeHour": st.sampled_from(["1.5", "1", "-1", "1e9"])}) | junk,
    "ttlSecondsAfterFinished": st.sampled_from([-1, 3600, 10**9, 10**19, 0.5]),  # not deleted at once
    "managedBy": st.none(),
    "unknown": junk,
}  # fmt: skip


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A spec that is valid but for a few of its fields, or all wrong."""
    spec: dict[str, Any] = {"round": "v0.6", "benchmark": "resnet", "division": "open", "preset": "tiny"}
    spec["system"] = {
        "name": "lab",
        "nodes": draw(st.sampled_from([1, 1, 2])),
        "acceleratorsPerNode": draw(st.sampled_from([0, 8])),
    }
    for name in draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=4)):
        spec[name] = draw(fields[name])
    if draw(st.integers(0, 9)) == 0:
        spec[draw(st.sampled_from(sorted([*fields, "system"])))] = draw(junk)
    return spec


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("generated")
    kubectl_for(kubeconfig)("create", "namespace", NAMESPACE)
    stage = {"image": "operator:1", "allowedPrefixes": ["s3://bucket"]}
    (folder / "trainer.yaml").write_text(yaml.safe_dump({"allow": ANYTHING, "stage": stage}))
    options = ["--results-url", str(folder / "results"), "--trainer-defaults", str(folder / "trainer.yaml")]
    process = Operator(kubeconfig, folder, [*options, "--namespace", NAMESPACE], {})
    process.start()
    yield process
    process.stop()
    kubectl_for(kubeconfig)("delete", "namespace", NAMESPACE, "--wait=false")


async def created(api: Api, name: str, spec: dict[str, Any]) -> str:
    """Create a run. Returns the refusal of the API server, "" if it accepts the run."""
    body = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": spec}
    try:
        await api.create(BENCHMARK_RUNS, NAMESPACE, body)
    except ApiError as refused:
        error = refused
    else:
        return ""
    assert error.code in (400, 422), f"{error.code} {error}: {json.dumps(spec)}"
    return str(error)


async def batch(kubeconfig: Path, some: list[dict[str, Any]], number: int) -> list[str]:
    api = await connect(kubeconfig=str(kubeconfig))
    try:
        return await asyncio.gather(*(created(api, f"g{number}-{index}", spec) for index, spec in enumerate(some)))
    finally:
        await api.close()


def answers(kubeconfig: Path) -> dict[str, dict[str, Any]]:
    """What the operator says about each run: its conditions by type."""
    listed = json.loads(kubectl_for(kubeconfig)("-n", NAMESPACE, "get", "benchmarkruns", "-o", "json"))["items"]
    return {
        one["metadata"]["name"]: {c["type"]: c for c in one.get("status", {}).get("conditions", ())} for one in listed
    }


def settled(conditions: dict[str, Any]) -> bool:
    """Whether a run is refused with a sentence, or waits for its pods, or for a Job that is refused with a sentence."""
    failed, running = conditions.get("Failed", {}), conditions.get("Running", {})
    if failed.get("status") == "True":
        return len(failed["message"]) > 10
    return conditions.get("Admitted", {}).get("status") == "True" and bool(running.get("message"))


def test_every_spec_is_accepted_or_refused_with_a_sentence(kubeconfig, operator):
    count = {"batches": 0, "refused by the API server": 0, "refused by the operator": 0, "admitted": 0}

    @settings(
        max_examples=max(1, SPECS // BATCH),
        deadline=None,
        phases=[Phase.generate],  # a failure shows its spec; making it smaller would take hours
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(specs(), min_size=BATCH, max_size=BATCH))
    def generated(some: list[dict[str, Any]]) -> None:
        count["batches"] += 1
        refusals = asyncio.run(batch(kubeconfig, some, count["batches"]))
        assert all(len(said) > 20 for said in refusals if said)
        accepted = {f"g{count['batches']}-{i}": some[i] for i, said in enumerate(refusals) if not said}

        def unsettled() -> dict[str, Any]:
            found = answers(kubeconfig)
            return {
                name: (spec, found.get(name)) for name, spec in accepted.items() if not settled(found.get(name, {}))
            }

        try:
            until(lambda: not unsettled(), 60, "the operator answers")
        except AssertionError:
            pytest.fail(f"no answer: {json.dumps(unsettled(), indent=1)}\n{operator.log.read_text()[-3000:]}")
        found = answers(kubeconfig)
        failed = sum(found[name].get("Failed", {}).get("status") == "True" for name in accepted)
        count["refused by the API server"] += len(some) - len(accepted)
        count["refused by the operator"] += failed
        count["admitted"] += len(accepted) - failed
        assert "Traceback" not in operator.log.read_text()
        kubectl_for(kubeconfig)("-n", NAMESPACE, "delete", "benchmarkruns", "--all", "--wait=false")

    generated()
    print(count)
    assert all(count.values()), count
    assert "podium_build_info" in operator.metrics()
