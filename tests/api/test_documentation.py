"""Manifests and kubectl commands of the documentation against a real API server."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest
import yaml

from tests.cluster import tools
from tests.cluster.fixtures import ROOT
from tests.docs.blocks import DOCS, blocks, commands

CLOUD = DOCS / "tutorial/gpu-cloud.md"
OF_OTHERS = {"eksctl.io/v1alpha5"}  # files for programs that speak to a cloud
MANIFESTS = [
    (page, block)
    for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    for block in blocks(page, "yaml")
    if block.text.startswith("apiVersion:") and yaml.safe_load(block.text)["apiVersion"] not in OF_OTHERS
]


@pytest.mark.parametrize(("page", "block"), MANIFESTS, ids=[f"{page.stem}-{block.title}" for page, block in MANIFESTS])
def test_a_manifest_is_accepted(kubectl, namespace, page, block):
    kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=block.text)


def test_kubectl_commands_of_the_cloud_tutorial(kubeconfig, kubectl, namespace, tmp_path):
    """As they stand, but that nothing is created and nobody waits; the namespace is one that is there."""
    for block in blocks(CLOUD, "yaml"):
        (tmp_path / block.title).write_text(block.text)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = Counter()
    for command in commands(CLOUD):
        words = command.split()
        if words[0] != "kubectl" or words[3:4] == ["wait"] or "rollout" in words or "--watch" in words:
            continue
        if "get" in words and "persistentvolumeclaim" in words:
            continue  # nothing was created
        again = command.replace("kubectl", str(tools.find("kubectl")), 1)
        again = again.replace("--namespace lab", f"--namespace {namespace}").replace(
            "--namespace podium", f"--namespace {namespace}"
        )
        again = again.replace("apply", "apply --dry-run=server").replace(
            "create namespace", "create --dry-run=client namespace"
        )
        again = again.replace("create secret generic", "create secret generic --dry-run=server")
        environment = {"KUBECONFIG": str(kubeconfig), "HMAC_KEY": "a", "HMAC_SECRET": "b", "PATH": "/usr/bin:/bin"}
        made = subprocess.run(
            ["bash", "-c", again], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, f"{again}\n{made.stderr}"
        done[words[1] if words[1] != "--namespace" else words[3]] += 1
    assert done["apply"] >= 4
    assert done["create"] >= 3
    assert done["get"] >= 1
