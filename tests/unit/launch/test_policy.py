"""What a run may ask of its pods. The refusals themselves are in tests/api/test_tenancy.py, on a real API server."""

from __future__ import annotations

import pytest

from podium.launch import TrainerDefaults
from tests.unit.reconcile import examples as ex

OPEN = {
    "images": ["registry.example/team/*"],
    "imagePullSecrets": ["team"],
    "annotations": ["example.com/*"],
    "priorityClasses": ["batch"],
    "queuePriorityClasses": ["urgent"],
    "tolerations": ["dedicated"],
    "writableClaims": ["lab/scratch-*"],
    "resourceClaimTemplates": ["rdma"],
    "env": ["NVIDIA_DRIVER_CAPABILITIES"],
}


def refusal(allow=OPEN, namespace="lab", secrets=None, **spec):
    defaults = {"image": "podium-trainer:1", "allow": allow, "secrets": secrets or {}}
    return TrainerDefaults.model_validate(defaults).refusal(namespace, ex.spec(**spec))


def accelerators(resource):
    return {"system": {"name": "s", "nodes": 1, "acceleratorsPerNode": 1, "acceleratorResource": resource}}


def template(**fields):
    return {"template": fields}


def claim(name):
    return {"data": {"persistentVolumeClaim": {"claimName": name, "readOnly": False}}}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        template(image="podium-trainer:1"),  # the administrator's own
        template(image="registry.example/team/a:1"),
        template(imagePullSecrets=[{"name": "team"}]),
        template(annotations={"example.com/a": "b"}),
        template(priorityClassName="batch"),
        {"queueName": "q", "queuePriorityClass": "urgent"},
        template(tolerations=[{"key": "dedicated", "operator": "Exists"}]),
        claim("scratch-1"),
        template(resourceClaims=[{"name": "x", "resourceClaimTemplateName": "rdma"}]),
        template(env=[{"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute"}]),
        template(env=[{"name": "OMP_NUM_THREADS", "value": "1"}, {"name": "NCCL_DEBUG", "value": "INFO"}]),
        template(nodeSelector={"pool": "a"}, resources={"limits": {"memory": "1Ti"}}),
        {"data": {"persistentVolumeClaim": {"claimName": "anything"}}},
    ],
)
def test_what_is_listed_or_harmless_is_allowed(spec):
    assert refusal(**spec) == ""


@pytest.mark.parametrize(
    "spec",
    [
        template(image="registry.example/teams/a:1"),
        template(image="evil.example/registry.example/team/a:1"),
        template(image="podium-trainer:2"),
        template(imagePullSecrets=[{"name": "team"}, {"name": "other"}]),
        template(annotations={"example.com/a": "b", "other.example/a": "b"}),
        template(priorityClassName="batch-high"),
        {"queueName": "q", "queuePriorityClass": "Urgent"},
        template(tolerations=[{"key": "dedicated"}, {"operator": "Exists"}]),
        claim("scratch"),
        claim("other"),
        template(resourceClaims=[{"name": "rdma", "resourceClaimTemplateName": "admin"}]),
        template(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]),
        template(env=[{"name": "nvidia_visible_devices", "value": "all"}]),
        template(env=[{"name": "LD_LIBRARY_PATH", "value": "/x"}]),
        template(env=[{"name": "MTHREADS_VISIBLE_DEVICES", "value": "all"}]),
        template(env=[{"name": "DOCKER_RESOURCE_GPU", "value": "all"}]),
        template(env=[{"name": "CUDA_DISABLE_CONTROL", "value": "true"}]),
        template(secrets=["wandb"]),
        accelerators("rdma/hca"),
        accelerators("cpu"),
    ],
)
def test_what_is_not_listed_is_refused(spec):
    assert refusal(**spec)


def test_a_run_adds_to_the_administrators_node_selector_but_does_not_replace_it():
    defaults = TrainerDefaults.model_validate({"image": "i", "pod": {"nodeSelector": {"pool": "benchmarks"}}})
    assert defaults.refusal("lab", ex.spec(**template(nodeSelector={"pool": "benchmarks", "zone": "a"}))) == ""
    said = "spec.template.nodeSelector: 'pool' must be 'benchmarks', as the administrator set it; remove it"
    assert defaults.refusal("lab", ex.spec(**template(nodeSelector={"pool": "production"}))) == said


def test_only_resources_that_bring_devices_are_accelerators():
    """With any other, nothing would keep an image from opening every GPU of the node."""
    assert (
        refusal(allow={}, **accelerators("nvidia.com/mig-1g.5gb"))
        == refusal(allow={}, **accelerators("amd.com/gpu"))
        == ""
    )
    assert refusal(allow={"acceleratorResources": ["devices.example/*"]}, **accelerators("devices.example/vgpu")) == ""
    for other in ("devices.kubevirt.io/kvm", "nvidia.com/hostdev", "gpu.intel.com/i915_monitoring"):
        assert "add it to trainer.allow.acceleratorResources" in refusal(allow={}, **accelerators(other))


def test_a_claim_of_another_namespace_is_another_claim():
    assert refusal(namespace="night", **claim("scratch-1"))


def test_kueues_topology_annotations_are_allowed_by_default():
    for name in ("podset-required-topology", "podset-preferred-topology", "podset-unconstrained-topology",
                 "podset-slice-required-topology", "podset-slice-size"):  # fmt: skip
        assert refusal(allow={}, **template(annotations={f"kueue.x-k8s.io/{name}": "rack"})) == ""


def test_all_refusals_are_reported_at_once():
    said = refusal(allow={}, **template(image="x:1", priorityClassName="p"))
    assert said.count("ask the administrator to add it to trainer.allow.") == 2


@pytest.mark.parametrize(
    "template", [{"env": [{"name": "X", "value": "AKIAIOSFODNN7EXAMPLE"}]}, {"args": ["AKIAIOSFODNN7EXAMPLE"]}]
)
def test_a_literal_credential_is_refused(template):
    assert "looks like a credential" in refusal(template=template)
