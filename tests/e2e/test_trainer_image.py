"""The trainers' image, torch and all, in a restricted pod. `make e2e-trainer`: too slow and large for every time."""

from __future__ import annotations

import os

import pytest

from tests.cluster import images
from tests.cluster.fixtures import needed_parts
from tests.e2e.releases import RESTRICTED

pytestmark = pytest.mark.skipif(
    os.environ.get("PODIUM_TEST_FULL_TRAINER") != "1", reason="builds an image of 6 GB: run `make e2e-trainer`"
)

SCRIPT = """
id -u
gcc --version | head -1
python -c 'import torch; print("nccl", torch.distributed.is_nccl_available(), torch.cuda.nccl.version())'
torchrun --nproc-per-node 2 -m podium_benchmarks.resnet --preset tiny --target 0.9 --seed 1
"""


@pytest.fixture(scope="module")
def image(node):
    if node is None:
        return os.environ["PODIUM_TEST_TRAINER_IMAGE"]
    with needed_parts():
        archive = images.full_trainer()
    node.load(archive)
    return images.FULL_TRAINER


@pytest.mark.timeout(3600)
def test_torchrun_trains_in_a_restricted_pod(kubectl, namespace, image):
    kubectl("label", "namespace", namespace, *(f"{name}={value}" for name, value in RESTRICTED.items()))
    container = {
        "name": "trainer",
        "image": image,
        "command": ["sh", "-euc", SCRIPT],
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}, "spec": spec}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod)
    kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/train", "--timeout=300s")
    said = kubectl("-n", namespace, "logs", "train")
    assert said.startswith("65532\ngcc ")
    assert "nccl True (2, " in said
    assert '"key": "run_stop"' in said
    assert '"status": "success"' in said
