"""The tutorial for a cluster as it stands in the documentation: the chart, the operator in pods, a benchmark, its result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster import images, tools
from tests.cluster.fixtures import ROOT, apply_crds
from tests.cluster.parts import REGION, S3
from tests.docs.blocks import DOCS, blocks

PAGE = DOCS / "tutorial/cluster.md"
# A registry and a kind are not at hand: what these sections bring is there already
NOT_RUN = {"A kind cluster, if you have none", "Images"}
FINDINGS = ("podium report",)  # three attempts instead of ten are a finding, exit code 1


@pytest.fixture
def shell(node, kubeconfig, kubectl, operator_image, s3, tmp_path):
    """Runs a command of the tutorial as its reader would: kubectl, helm and podium on PATH, a bucket in the environment."""
    if node is None:
        pytest.skip("KUBECONFIG is set: this test installs into a cluster of its own")
    kubectl("delete", "-f", ROOT / "crds")  # the chart brings them, as where nobody has seen them before
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kubectl").symlink_to(tools.find("kubectl"))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(_values(operator_image, s3)))
    # whoever has a registry names its images on the command line; here helm learns of them behind the reader's back
    helm = f'[ "$1" = install ] && set -- "$@" --values {tmp_path}/values.yaml\nexec {tools.find("helm")} "$@"\n'
    (programs / "helm").write_text(f"#!/bin/sh\n{helm}")
    (programs / "helm").chmod(0o755)
    environment = {
        **os.environ,
        **s3.environment,
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "KUBECONFIG": str(kubeconfig),
        "RESULTS_URL": s3.bucket("tutorial"),
        "RESULTS_ENDPOINT": s3.endpoint,
        "RESULTS_REGION": REGION,
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_REGION": REGION,
    }
    for name in ("examples", "helm"):
        (tmp_path / name).symlink_to(ROOT / name)

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == (1 if command.startswith(FINDINGS) else 0), f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    yield run
    kubectl("delete", "namespace", "lab", "podium", "--ignore-not-found", "--wait=false")
    apply_crds(kubeconfig)


def _values(operator_image: str, s3: S3) -> dict[str, object]:
    """The operator's image, trainers on the node's own with packages and sources of the host, and the store's authority."""
    repository, _, tag = operator_image.rpartition(":")
    image = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
    results = {"caCertificate": s3.ca.read_text()}
    return {"image": image, "trainer": images.trainer_defaults(ROOT), "results": results}


@pytest.mark.timeout(1200)
def test_the_tutorial_for_a_cluster(shell, kubectl):
    said = {}
    for block in blocks(PAGE, "console"):
        if block.section not in NOT_RUN:
            said |= {command: shell(command) for command in block.commands}
    assert {block.section for block in blocks(PAGE, "console")} > NOT_RUN
    heading, row = said["kubectl --namespace lab get benchmarkrun ncf-tiny"].splitlines()
    shown = dict(zip(heading.split(), row.split(), strict=True))
    assert (shown["NAME"], shown["ATTEMPT"], shown["COMPLETE"]) == ("ncf-tiny", "3/3", "True")
    assert "ncf-tiny" in said['podium history "$RESULTS_URL"']
    assert "Target of the quality metric" in said["kubectl explain benchmarkrun.spec.quality"]
    assert kubectl("-n", "podium", "get", "deployments", "-o", "name") == ""
    kubectl("get", "crd", "benchmarkruns.podium.dev")
