"""The operator's image, built by images/build.py: what is in it, and that it runs where nothing may be written."""

from __future__ import annotations

import json
import tarfile

import pytest

from tests.cluster import images
from tests.cluster.fixtures import ROOT, needed_parts
from tests.e2e.releases import RESTRICTED

MAX_BYTES = 250_000_000  # of all layers, unpacked, with the base

# what a person may type; the log in it needs MLCommons' checker, which the image leaves out
SCRIPT = """
podium --help
printf '%s\\n' ':::MLLOG {"namespace": "", "time_ms": 1, "event_type": "POINT_IN_TIME", "key": "submission_benchmark", "value": "resnet", "metadata": {}}' > result_0.txt
podium check --round v0.7 result_0.txt && exit 1
echo > /opt/podium/x && exit 1
id -u
"""


@pytest.fixture(scope="module")
def archive():
    with needed_parts():
        path = images.operator()
    with tarfile.open(path) as tar:
        yield tar


def read(archive, name):
    return json.load(archive.extractfile(name))


def test_it_is_small_and_holds_the_operator_alone(archive):
    [manifest] = read(archive, "manifest.json")
    size = sum(archive.getmember(layer).size for layer in manifest["Layers"])
    print(f"{size / 1e6:.0f} MB in {len(manifest['Layers'])} layers")
    assert size < MAX_BYTES
    with tarfile.open(fileobj=archive.extractfile(manifest["Layers"][-1])) as layer:
        paths = layer.getnames()
        [bill] = [path for path in paths if path.endswith("sbom.cdx.json")]
        bill_of_materials = json.load(layer.extractfile(bill))
    packages = {path.split("site-packages/")[1].split("/")[0] for path in paths if "site-packages/" in path}
    assert {"podium", "kopf", "boto3"} <= packages
    assert not packages & {"torch", "numpy", "pandas", "scipy", "mlperf_logging", "pip"}
    listed = {
        f"{component['name'].lower().replace('_', '-')}=={component['version']}"
        for component in bill_of_materials["components"]
    }
    pinned = {
        pin.partition(" ")[0]
        for pin in (ROOT / "images/operator/requirements.txt").read_text().splitlines()
        if "==" in pin
    }
    assert not listed - pinned, "the bill of materials names what is locked"
    assert bill_of_materials["metadata"]["component"]["name"] == "podium-operator"
    assert {"kopf", "boto3", "kubernetes"} <= {name.partition("==")[0] for name in listed}


def test_it_says_what_it_is(archive):
    [manifest] = read(archive, "manifest.json")
    config = read(archive, manifest["Config"])["config"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["podium"], ["operator"])
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"] == "podium-operator"
    assert labels["version"] == "e2e"
    assert len(labels["revision"]) == 40 or labels["revision"] == "unknown"


def test_it_runs_as_nobody_with_a_read_only_root(kubectl, namespace, operator_image):
    kubectl("label", "namespace", namespace, *(f"{name}={value}" for name, value in RESTRICTED.items()))
    container = {
        "name": "podium",
        "image": operator_image,
        "command": ["sh", "-c", SCRIPT],
        "workingDir": "/tmp",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    kubectl(
        "-n",
        namespace,
        "apply",
        "-f",
        "-",
        stdin={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "look"}, "spec": spec},
    )
    kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/look", "--timeout=60s")
    said = kubectl("-n", namespace, "logs", "look")
    assert "Time-to-train benchmarks under MLPerf Training rules." in said
    assert "MLCommons' compliance checker is missing: pip install 'podium-operator[cli]'" in said
    assert said.endswith("65532\n")
