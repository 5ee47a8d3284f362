"""Where the pods of a try run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import AttemptState, Failure
from podium.launch import TrainerDefaults, build_job
from podium.launch.placement import nodes_to_avoid
from tests.unit.launch.test_manifests import launch
from tests.unit.reconcile import examples as ex

AWAY = {"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}
RACK = TrainerDefaults(topology_key="example.com/rack")
REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))


def failed(node, reason="NodeLost", class_="disruption", index=1, try_=0):
    failure = Failure.model_validate({"class": class_, "reason": reason, "node": node})
    return ex.attempt(index, AttemptState.FAILED, try_, reason=reason, failure=failure)


def pod(defaults=None, attempts=(), **spec):

    one = launch(**spec)
    return build_job(replace(one, avoid=nodes_to_avoid(attempts)), defaults or TrainerDefaults())["spec"]["template"][
        "spec"
    ]


@pytest.mark.parametrize(
    ("attempts", "avoided"),
    [
        ([], ()),
        ([failed("n1")], ()),
        ([failed("n1"), failed("n1", index=2)], ("n1",)),
        ([failed("n1"), failed("n2"), failed("n2"), failed("n1")], ("n1", "n2")),
        ([failed("n1", "DeviceError", "infrastructure"), failed("n1")], ("n1",)),
        ([failed("n1", "Error", "program"), failed("n1")], ()),  # the program's fault
        ([failed("n1", "PreemptionByScheduler"), failed("n1")], ()),
        ([failed("n1", "ErrImagePull", "infrastructure")] * 2, ()),  # it would not be found elsewhere either
        ([failed(None), failed(None)], ()),
        ([ex.attempt(1, AttemptState.FAILED)] * 2, ()),
    ],
)
def test_nodes_that_failed_twice(attempts, avoided):
    assert nodes_to_avoid(attempts) == avoided


def test_later_tries_avoid_them():
    terms = pod(attempts=[failed("n1"), failed("n1")])["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [AWAY]}]


def test_they_are_avoided_in_every_term_of_the_run():
    """Terms are alternatives: a node that one of them allows is allowed."""
    own = {
        "nodeAffinity": {
            REQUIRED: {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]},
                ]
            }
        },
        "podAntiAffinity": {REQUIRED: [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "noisy"}}}]},
    }
    found = pod(attempts=[failed("n1"), failed("n1")], template={"affinity": own})["affinity"]
    assert found["podAntiAffinity"] == own["podAntiAffinity"]
    first, second = found["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert first == {"matchExpressions": [{"key": "gpu", "operator": "Exists"}], "matchFields": [AWAY]}
    assert second["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["n7"]}, AWAY]
    assert pod(template={"affinity": own})["affinity"] == own


def test_one_pod_on_a_node():
    (spread,) = pod(system={"name": "s", "nodes": 8})["topologySpreadConstraints"]
    labels = spread.pop("labelSelector")["matchLabels"]
    assert spread == {
        "maxSkew": 1, "minDomains": 8, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"
    }  # fmt: skip
    assert labels == {"podium.dev/run-uid": ex.run().uid, "podium.dev/attempt": "2", "podium.dev/try": "1"}


def test_a_single_pod_may_share_and_so_may_trials():
    assert "topologySpreadConstraints" not in pod(system={"name": "s", "nodes": 1})
    assert "topologySpreadConstraints" not in pod(TrainerDefaults(share_nodes=True))


def test_pods_prefer_one_domain_of_the_administrators_label():
    (near,) = pod(RACK)["affinity"]["podAffinity"][PREFERRED]
    assert near["podAffinityTerm"]["topologyKey"] == "example.com/rack"
    assert near["podAffinityTerm"]["labelSelector"]["matchLabels"]["podium.dev/try"] == "1"
    assert "affinity" not in pod(RACK, system={"name": "s", "nodes": 1})


@pytest.mark.parametrize(
    ("deadlines", "staged", "seconds"),
    [
        ({"pending": "10m", "init": "5m", "run": "1h"}, False, 600 + 300 + 3600 + 900),
        ({"pending": "10m", "stage": "2h", "init": "5m", "run": "1h"}, True, 2 * 600 + 7200 + 300 + 3600 + 900),
        ({"run": "999999h"}, False, 2**31 - 1),
    ],
)
def test_kubernetes_ends_a_job_that_the_operator_forgot(deadlines, staged, seconds):
    data = {"persistentVolumeClaim": {"claimName": "digits"}, **({"stage": {}} if staged else {})}
    defaults = TrainerDefaults.model_validate({"stage": {"image": "podium-operator:1"}})
    job = build_job(launch(deadlines=deadlines, data=data), defaults)
    assert job["spec"]["activeDeadlineSeconds"] == seconds


def test_device_claims_stand_beside_accelerators():
    claims = [{"name": "nic", "resourceClaimTemplateName": "rdma"}]
    found = pod(template={"resourceClaims": claims}, system={"name": "s", "nodes": 1, "acceleratorsPerNode": 8})
    assert found["resourceClaims"] == claims
    assert found["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "8"}, "claims": [{"name": "nic"}]}


def test_the_queue_gets_its_priority_class():
    job = build_job(launch(queueName="gpus", queuePriorityClass="urgent"), TrainerDefaults())
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "urgent"


def test_an_image_cannot_ask_for_devices_that_the_run_does_not_have():
    variables = {entry["name"]: entry.get("value") for entry in pod()["containers"][0]["env"]}
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "void"
    found = pod(system={"name": "s", "nodes": 1, "acceleratorsPerNode": 8})["containers"][0]["env"]
    assert "NVIDIA_VISIBLE_DEVICES" not in {entry["name"] for entry in found}


@pytest.mark.parametrize("resource", ["cpu", "memory", "pods", "hugepages-2Mi", "attachable-volumes.kubernetes.io/x"])
def test_an_image_gets_no_devices_because_a_run_calls_something_else_its_accelerators(resource):
    system = {"name": "s", "nodes": 1, "acceleratorsPerNode": 1, "acceleratorResource": resource}
    variables = {entry["name"]: entry.get("value") for entry in pod(system=system)["containers"][0]["env"]}
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_variables_from_the_administrators_secrets():
    token = {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "key"}}}
    defaults = TrainerDefaults(secrets={"wandb": (token,), "other": ({"name": "OTHER"},)})
    variables = pod(defaults, template={"secrets": ["wandb"]})["containers"][0]["env"]
    assert token in variables
    assert "OTHER" not in {entry["name"] for entry in variables}


def test_app_armor_is_asked_for_only_where_every_node_has_it():
    assert "appArmorProfile" not in pod()["securityContext"]
    assert pod(TrainerDefaults(app_armor=True))["securityContext"]["appArmorProfile"] == {"type": "RuntimeDefault"}
