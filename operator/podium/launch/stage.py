"""Builds the init container that copies the data set to the node's disk.

A run sets the source (a claim in its namespace, or a bucket); the administrator sets everything else. The trainer never
sees the credentials: only the init container has them, and only if it reads a bucket.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Self

from pydantic import Field, model_validator

from podium.api import BenchmarkRunSpec, Model

STAGE_CONTAINER = "stage"
STAGE_FOLDER_CONTAINER = "stage-folder"
REPORT_FILE = "/dev/termination-log"  # what a container writes here appears in the pod's status
_SOURCE_DIR = "/source"
_STAGE_DIR = "/stage"
_FOLDER_DIGITS = 32  # too many to find another source for a folder, which runs of all namespaces use


class StageCredentials(Model):
    """Credentials for the bucket: keys in a Secret in the run's namespace, or a service account (workload identity)."""

    secret_name: str | None = None  # with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and optionally AWS_SESSION_TOKEN
    service_account_name: str | None = None


class StageDefaults(Model):
    """How data sets are copied to the nodes (Helm: ``trainer.stage``)."""

    image: str | None = None  # must contain the command `podium`; default: the operator's image
    image_pull_policy: str | None = None
    # As in a pod, without its name. A volume that outlives the pod (hostPath) caches data for all attempts on its node
    volume: dict[str, Any] = Field(default_factory=lambda: {"emptyDir": {"sizeLimit": "500Gi"}})
    credentials: StageCredentials = StageCredentials()
    endpoint: str | None = None
    region: str | None = None
    allowed_prefixes: tuple[str, ...] = ()  # allowed in data.stage.from; empty: no buckets
    workers: int = Field(default=16, ge=1, le=256)
    env: tuple[dict[str, Any], ...] = ()  # proxies, AWS_CA_BUNDLE
    volume_mounts: tuple[dict[str, Any], ...] = ()  # mounts of the volumes in `trainer.pod`
    resources: dict[str, dict[str, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _on_disk(self) -> Self:
        if (self.volume.get("emptyDir") or {}).get("medium") == "Memory":
            raise ValueError("stage.volume: the rules forbid data that starts in memory; use a disk of the node")
        return self

    def refusal(self, spec: BenchmarkRunSpec) -> str:
        """Return why the data of `spec` cannot be staged; empty if it can."""
        if spec.data is None or spec.data.stage is None:
            return ""
        if self.image is None:
            return (
                "spec.data.stage: no image for copying data is configured; "
                "ask the administrator to set trainer.stage.image"
            )
        url = spec.data.bucket_url
        if url and not any(_below(url, prefix) for prefix in self.allowed_prefixes):
            allowed = ", ".join(self.allowed_prefixes) or "none"
            return (
                f"spec.data.stage.from: {url} is not under an allowed prefix ({allowed}); "
                "use one of them, or ask the administrator to add it to trainer.stage.allowedPrefixes"
            )
        return ""


def stage_containers(spec: BenchmarkRunSpec, namespace: str, defaults: StageDefaults) -> list[dict[str, Any]]:
    """Build the init containers: one makes the folder of this source on the stage volume, one copies into it.

    What reads the source has that folder alone, so that it cannot change what other runs have copied. The kubelet would
    make the folder too, but as root.
    """
    folder = f"{_STAGE_DIR}/{stage_folder(spec, namespace)}"
    whole = {"name": "stage", "mountPath": _STAGE_DIR}
    make = _container(STAGE_FOLDER_CONTAINER, ["mkdir", "-p", folder], defaults)
    env = {"env": list(defaults.env)} if defaults.env else {}  # such as a PATH
    return [{**make, **env, "volumeMounts": [whole]}, _copying(spec, namespace, defaults)]


def _container(name: str, command: list[str], defaults: StageDefaults) -> dict[str, Any]:
    return {
        "name": name,
        "image": defaults.image,
        **({"imagePullPolicy": defaults.image_pull_policy} if defaults.image_pull_policy else {}),
        "command": command,
        **({"resources": defaults.resources} if defaults.resources else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _copying(spec: BenchmarkRunSpec, namespace: str, defaults: StageDefaults) -> dict[str, Any]:
    """Build the container that runs ``podium stage`` from the bucket or claim."""
    assert spec.data is not None, "nothing to stage without data"
    url, folder = spec.data.bucket_url, stage_folder(spec, namespace)
    words = ["podium", "stage", url or _SOURCE_DIR, f"{_STAGE_DIR}/{folder}"]
    words += ["--workers", str(defaults.workers), "--report", REPORT_FILE]
    words += ["--endpoint", defaults.endpoint] if url and defaults.endpoint else []
    words += ["--region", defaults.region] if url and defaults.region else []
    limit = (defaults.volume.get("emptyDir") or {}).get("sizeLimit")
    words += ["--limit", str(limit)] if limit else []
    own = {"name": "stage", "mountPath": f"{_STAGE_DIR}/{folder}", "subPath": folder}
    mounts: list[dict[str, Any]] = [own, *defaults.volume_mounts]
    if not url:
        mounts.append({"name": "source", "mountPath": _SOURCE_DIR, "readOnly": True})
    env = [*defaults.env, *(_keys(defaults.credentials) if url else ())]
    return {
        **_container(STAGE_CONTAINER, words, defaults),
        **({"env": env} if env else {}),
        "volumeMounts": mounts,
    }


def stage_volumes(spec: BenchmarkRunSpec, defaults: StageDefaults) -> list[dict[str, Any]]:
    """Return the volumes: the disk, and the claim to copy from."""
    assert spec.data is not None, "nothing to stage without data"
    volumes: list[dict[str, Any]] = [{"name": "stage", **defaults.volume}]
    if claim := spec.data.persistent_volume_claim:
        volumes.append({"name": "source", "persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}})
    return volumes


def stage_identity(spec: BenchmarkRunSpec, defaults: StageDefaults) -> dict[str, Any]:
    """Return the pod's service account if one reads the bucket."""
    account = defaults.credentials.service_account_name
    named = spec.data is not None and spec.data.stage is not None and spec.data.bucket_url and account
    return {"serviceAccountName": account} if named else {}


def stage_folder(spec: BenchmarkRunSpec, namespace: str) -> str:
    """Return the folder of this source on the stage volume: caches are keyed by source, claims also by namespace."""
    assert spec.data is not None, "nothing to stage without data"
    claim = spec.data.persistent_volume_claim
    place = spec.data.bucket_url or f"claim://{namespace}/{claim.claim_name if claim else ''}"
    readable = re.sub(r"[^a-z0-9]+", "-", place.rstrip("/").rpartition("/")[2].lower()).strip("-")[:32]
    return f"{readable}-{hashlib.sha256(place.rstrip('/').encode()).hexdigest()[:_FOLDER_DIGITS]}".lstrip("-")


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
