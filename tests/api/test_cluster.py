"""The control plane that the other tests of this folder trust."""

from __future__ import annotations

import json
import os

from tests.cluster import tools


def test_the_api_server_is_of_the_version_that_is_built(kubectl):
    version = json.loads(kubectl("get", "--raw=/version"))["gitVersion"]
    if not any(os.environ.get(name) for name in ("KUBECONFIG", "KUBEBUILDER_ASSETS")):
        assert version == tools.kubernetes_version()
    assert version.startswith("v1.")


def test_controllers_work(kubectl, namespace):
    """A Job of no completions needs the Job controller and no node."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "none"},
        "spec": {
            "completions": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none.invalid/c"}]}},
        },
    }
    kubectl("-n", namespace, "apply", "-f", "-", stdin=job)
    kubectl("-n", namespace, "wait", "--for=condition=Complete", "job/none", "--timeout=30s")


def test_the_crd_is_served(kubectl, namespace):
    assert kubectl("-n", namespace, "get", "benchmarkruns", "-o", "name") == ""
