"""The chart installed: a release of Helm with its operators as pods, and what a run needs around it."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import images
from tests.cluster.charts import CHART, helm
from tests.cluster.fixtures import ROOT, Kubectl
from tests.cluster.parts import ACCESS_KEY, REGION, S3, SECRET_KEY

SELECTOR = "app.kubernetes.io/name=podium,app.kubernetes.io/component=operator"
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True)
class Release:
    """The release `podium` in `namespace`, for runs in `runs`; both namespaces admit restricted pods only."""

    kubectl: Kubectl
    kubeconfig: Path
    namespace: str
    runs: str

    def helm(self, command: str, *words: object) -> str:
        return helm(command, "podium", *words, "--namespace", self.namespace, kubeconfig=self.kubeconfig)

    def install(self, values: Path) -> str:
        """From nothing to operators that are ready. A CRD that was applied by hand becomes the chart's."""
        return self.helm("install", CHART, "--values", values, "--wait", "--timeout", "120s", "--take-ownership")

    def upgrade(self, *settings: str) -> str:
        words = [word for setting in settings for word in ("--set-string", setting)]
        return self.helm("upgrade", CHART, "--reuse-values", "--wait", "--timeout", "120s", *words)

    def pods(self) -> list[dict[str, Any]]:
        """The operators that are not on their way out."""
        text = self.kubectl("-n", self.namespace, "get", "pods", "-l", SELECTOR, "-o", "json")
        return [pod for pod in json.loads(text)["items"] if "deletionTimestamp" not in pod["metadata"]]

    def logs(self) -> str:
        """The last words of the operators, for the report of a test that failed."""
        return self.kubectl("-n", self.namespace, "logs", "-l", SELECTOR, "--prefix", "--tail=40")

    def leaders(self) -> list[str]:
        """Names of the pods that say of themselves that they lead."""
        return [pod["metadata"]["name"] for pod in self.pods() if leads(pod)]


def leads(pod: dict[str, Any]) -> bool:
    """What the operator's own metric says; one that does not answer does not lead."""
    address = pod["status"].get("podIP")
    try:
        with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=1) as response:
            return "\npodium_leader 1.0\n" in response.read().decode()
    except OSError:
        return False


def kill_hard(release: Release, pod: dict[str, Any]) -> None:
    """SIGKILL to the operator's process, and the pod gone from the API at once: nothing can be handed over."""
    uid = pod["metadata"]["uid"]
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = uid in (process / "cgroup").read_text() and b"operator" in (process / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if ours:
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    assert killed, f"no process of pod {pod['metadata']['name']} is on this machine"
    words = ("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0", "--wait=false")
    release.kubectl("-n", release.namespace, *words)


def values_file(folder: Path, image: str, s3: S3, bucket: str, trainer: dict[str, Any]) -> Path:
    """What an administrator writes: the images, the store, what training pods get."""
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "results": {
            "url": bucket,
            "endpoint": s3.endpoint,
            "region": REGION,
            "accessKeyId": ACCESS_KEY,
            "secretAccessKey": SECRET_KEY,
            "caCertificate": s3.ca.read_text(),
        },
        "resources": {"requests": {"cpu": "50m"}},
        "trainer": trainer,
    }
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def trainer_on_claims(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """The chart's `trainer`: the packages of this checkout, on claims, since restricted pods must not use a hostPath."""
    given = images.trainer_defaults(ROOT)
    pod: dict[str, Any] = dict(given["pod"])  # type: ignore[call-overload]
    for volume in pod["volumes"]:
        kubectl("apply", "-f", "-", stdin=_volume_and_claim(f"{namespace}-{volume['name']}", volume, namespace))
    pod["volumes"] = [
        {"name": volume["name"], "persistentVolumeClaim": {"claimName": volume["name"], "readOnly": True}}
        for volume in pod["volumes"]
    ]
    return {**given, "pod": pod}


def _volume_and_claim(name: str, volume: dict[str, Any], namespace: str) -> dict[str, Any]:
    access = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    persistent = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"podium-test": namespace}},
        "spec": {**access, "capacity": {"storage": "1Gi"}, "hostPath": volume["hostPath"]},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": volume["name"], "namespace": namespace},
        "spec": {**access, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [persistent, claim]}
