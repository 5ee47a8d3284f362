"""The pod of a run whose data are staged passes Pod Security `restricted`."""

from __future__ import annotations

import pytest

from podium.api import TryId
from podium.launch import TrainerDefaults, build_job, launch_for
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex

CREDENTIALS = {"secretName": "reader", "serviceAccountName": "default"}


@pytest.mark.parametrize("data", [
    {"stage": {"from": "s3://datasets/imagenet"}},
    {"persistentVolumeClaim": {"claimName": "imagenet"}, "stage": {}},
])  # fmt: skip
def test_a_staged_pod_is_restricted(kubectl, namespace, data):
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    defaults = TrainerDefaults.model_validate({"stage": {"image": "operator:1", "credentials": CREDENTIALS}})
    launch = launch_for(ex.run(data=data), TryId(attempt=1, number=0), 1, load_rounds())
    template = build_job(launch, defaults)["spec"]["template"]
    # a Job's controller answers for this one
    annotations = {**template["metadata"].get("annotations", {}), "batch.kubernetes.io/job-completion-index": "0"}
    metadata = {**template["metadata"], "annotations": annotations, "name": "staged"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=pod)
    unlimited = {**pod, "spec": {**template["spec"], "hostNetwork": True}}
    said = kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=unlimited, refused=True)
    assert 'violates PodSecurity "restricted:latest"' in said
