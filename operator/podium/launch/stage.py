"""The init container that copies the data set to the node's disk, and who decides what.

A run names a place (a claim of its namespace, or a bucket); everything else is the administrator's. The trainer never
sees the credentials: they are in the init container alone, and there only when it reads a bucket.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Self

from pydantic import Field, model_validator

from podium.api import BenchmarkRunSpec, Model

STAGE_CONTAINER = "stage"
REPORT_FILE = "/dev/termination-log"  # what a container writes there stands in the pod's status
_SOURCE_DIR = "/source"
_STAGE_DIR = "/stage"


class StageCredentials(Model):
    """Who reads the bucket: keys in a Secret of the run's namespace, or a service account (workload identity)."""

    secret_name: str | None = None  # with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and perhaps AWS_SESSION_TOKEN
    service_account_name: str | None = None


class StageDefaults(Model):
    """How data sets are copied to the nodes (Helm: ``trainer.stage``)."""

    image: str | None = None  # with the command `podium`; the default is the operator's own
    image_pull_policy: str | None = None
    # As in a pod, without its name. What survives the pod (hostPath) is a cache for all attempts on the same node
    volume: dict[str, Any] = Field(default_factory=lambda: {"emptyDir": {"sizeLimit": "500Gi"}})
    credentials: StageCredentials = StageCredentials()
    endpoint: str | None = None
    region: str | None = None
    allowed_prefixes: tuple[str, ...] = ()  # what a run may name in data.stage.from; none: no bucket at all
    workers: int = Field(default=16, ge=1, le=256)
    env: tuple[dict[str, Any], ...] = ()  # proxies, AWS_CA_BUNDLE
    volume_mounts: tuple[dict[str, Any], ...] = ()  # of the volumes of `trainer.pod`
    resources: dict[str, dict[str, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _on_disk(self) -> Self:
        if (self.volume.get("emptyDir") or {}).get("medium") == "Memory":
            raise ValueError("stage.volume: the rules forbid data that start in memory; use a disk of the node")
        return self

    def refusal(self, spec: BenchmarkRunSpec) -> str:
        """Why the data of `spec` cannot be staged; empty when they can."""
        if spec.data is None or spec.data.stage is None:
            return ""
        if self.image is None:
            return "data.stage: no image copies data in this cluster; the administrator sets trainer.stage.image"
        url = spec.data.bucket_url
        if url and not any(_below(url, prefix) for prefix in self.allowed_prefixes):
            allowed = ", ".join(self.allowed_prefixes) or "none"
            return (
                f"data.stage.from: {url} is not below a place that may be copied from ({allowed}); "
                "choose one, or ask the administrator to add it to trainer.stage.allowedPrefixes"
            )
        return ""


def stage_container(spec: BenchmarkRunSpec, namespace: str, defaults: StageDefaults) -> dict[str, Any]:
    """The init container: ``podium stage`` from the bucket or the claim into a folder of the stage volume."""
    assert spec.data is not None, "only data are staged"
    url = spec.data.bucket_url
    words = ["podium", "stage", url or _SOURCE_DIR, f"{_STAGE_DIR}/{stage_folder(spec, namespace)}"]
    words += ["--workers", str(defaults.workers), "--report", REPORT_FILE]
    words += ["--endpoint", defaults.endpoint] if url and defaults.endpoint else []
    words += ["--region", defaults.region] if url and defaults.region else []
    limit = (defaults.volume.get("emptyDir") or {}).get("sizeLimit")
    words += ["--limit", str(limit)] if limit else []
    mounts = [{"name": "stage", "mountPath": _STAGE_DIR}, *defaults.volume_mounts]
    if not url:
        mounts.append({"name": "source", "mountPath": _SOURCE_DIR, "readOnly": True})
    env = [*defaults.env, *(_keys(defaults.credentials) if url else ())]
    return {
        "name": STAGE_CONTAINER,
        "image": defaults.image,
        **({"imagePullPolicy": defaults.image_pull_policy} if defaults.image_pull_policy else {}),
        "command": words,
        **({"env": env} if env else {}),
        **({"resources": defaults.resources} if defaults.resources else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def stage_volumes(spec: BenchmarkRunSpec, defaults: StageDefaults) -> list[dict[str, Any]]:
    """The disk, and the claim that is copied from."""
    assert spec.data is not None, "only data are staged"
    volumes: list[dict[str, Any]] = [{"name": "stage", **defaults.volume}]
    if claim := spec.data.persistent_volume_claim:
        volumes.append({"name": "source", "persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}})
    return volumes


def stage_identity(spec: BenchmarkRunSpec, defaults: StageDefaults) -> dict[str, Any]:
    """The pod's service account, where one reads the bucket."""
    account = defaults.credentials.service_account_name
    named = spec.data is not None and spec.data.stage is not None and spec.data.bucket_url and account
    return {"serviceAccountName": account} if named else {}


def stage_folder(spec: BenchmarkRunSpec, namespace: str) -> str:
    """The folder of this source on the stage volume: a cache is identified by its source, a claim also by namespace."""
    assert spec.data is not None, "only data are staged"
    claim = spec.data.persistent_volume_claim
    place = spec.data.bucket_url or f"claim://{namespace}/{claim.claim_name if claim else ''}"
    readable = re.sub(r"[^a-z0-9]+", "-", place.rstrip("/").rpartition("/")[2].lower()).strip("-")[:32]
    return f"{readable}-{hashlib.sha256(place.rstrip('/').encode()).hexdigest()[:12]}".lstrip("-")


def _below(url: str, prefix: str) -> bool:
    return f"{url.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/")


def _keys(credentials: StageCredentials) -> list[dict[str, Any]]:
    if credentials.secret_name is None:
        return []
    keys = {"AWS_ACCESS_KEY_ID": False, "AWS_SECRET_ACCESS_KEY": False, "AWS_SESSION_TOKEN": True}
    return [
        {
            "name": key,
            "valueFrom": {
                "secretKeyRef": {
                    "name": credentials.secret_name,
                    "key": key,
                    **({"optional": True} if optional else {}),
                }
            },
        }
        for key, optional in keys.items()
    ]
