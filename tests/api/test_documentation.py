"""Manifests and kubectl commands of the documentation against a real API server."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter

import pytest
import yaml

from tests.cluster import tools
from tests.cluster.fixtures import ROOT, since
from tests.docs.blocks import DOCS, blocks, commands

CLOUD = DOCS / "tutorial/gpu-cloud.md"
OF_OTHERS = ("eksctl.io/", "kueue.x-k8s.io/")  # for programs that this cluster does not have
_NEWER = since(34, "resource.k8s.io/v1")
MANIFESTS = [
    (page, block)
    for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    for block in blocks(page, "yaml")
    if block.text.startswith("apiVersion:")
    and not any(one["apiVersion"].startswith(OF_OTHERS) for one in yaml.safe_load_all(block.text))
]


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(
            page, block, id=f"{page.stem}-{block.title}", marks=_NEWER if "resource.k8s.io/v1" in block.text else ()
        )
        for page, block in MANIFESTS
    ],
)
def test_a_manifest_is_accepted(kubectl, namespace, page, block):
    kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=block.text)


def test_kubectl_commands_of_the_cloud_tutorial(kubeconfig, namespace, tmp_path):
    """As they stand, but that nothing is created, nobody waits, and the namespace is one that is there."""
    for block in blocks(CLOUD, "yaml"):
        (tmp_path / block.title).write_text(block.text)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kubectl").symlink_to(tools.find("kubectl"))
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path, "HMAC_KEY": "a", "HMAC_SECRET": "b"}
    done = Counter()
    for command in filter(re.compile("kubectl ").match, commands(CLOUD)):
        if not re.search(r" wait | rollout |--watch| get persistentvolumeclaim ", command):  # of what would be there
            again = _harmless(command, namespace)
            made = subprocess.run(
                ["bash", "-c", again], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, check=False
            )
            assert made.returncode == 0, f"{again}\n{made.stderr.decode()}"
            done += Counter(re.findall(r" (apply|create|get) ", command))
    assert done == {"apply": 4, "create": 4, "get": 1}


def _harmless(command: str, namespace: str) -> str:
    command = re.sub(r"--namespace \w+", f"--namespace {namespace}", command)
    return re.sub(r" (apply|create namespace|create secret generic) ", r" \1 --dry-run=server ", command)
