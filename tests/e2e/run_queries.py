"""Looking at a run from outside: what kubectl, the store and the pods say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from tests.cluster.fixtures import Kubectl
from tests.cluster.parts import S3, until

Run = dict[str, Any]


def get(kubectl: Kubectl, namespace: str, name: str) -> Run:
    run: Run = json.loads(kubectl("-n", namespace, "get", "benchmarkrun", name, "-o", "json"))
    run.setdefault("status", {})
    return run


def condition(run: Run, kind: str) -> dict[str, Any]:
    return next((c for c in run["status"].get("conditions", ()) if c["type"] == kind), {"status": "Unknown"})


def attempts(run: Run) -> list[tuple[int, int, str, str | None]]:
    """(attempt, try, state, reason) of every try."""
    return [(a["index"], a["try"], a["state"], a.get("reason")) for a in run["status"].get("attempts", ())]


def wait_for(
    kubectl: Kubectl, namespace: str, name: str, what: str, check: Callable[[Run], bool], seconds: float
) -> Run:
    """The run once `check` holds; when it never does, the failure shows the run's last status."""
    last: Run = {}

    def now() -> bool:
        nonlocal last
        last = get(kubectl, namespace, name)
        return check(last)

    try:
        until(now, seconds, what, every=0.5)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(last['status'], indent=1)}") from None
    return last


def ended(run: Run) -> bool:
    return "True" in (condition(run, "Complete")["status"], condition(run, "Failed")["status"])


def children(kubectl: Kubectl, namespace: str) -> list[str]:
    """Jobs and Services of the namespace."""
    return kubectl("-n", namespace, "get", "jobs,services", "-o", "name").split()


class Bucket:
    """A result folder read with boto3, not with the code under test."""

    def __init__(self, s3: S3, uri: str) -> None:
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")
        self._client = s3.client()

    def files(self) -> list[str]:
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix)
        return sorted(entry["Key"].removeprefix(f"{self._prefix}/") for entry in listed.get("Contents", ()))

    def read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{key}")["Body"].read()

    def json(self, key: str) -> Any:
        return json.loads(self.read(key))

    def verify(self) -> str:
        """Every file against SHA256SUMS, every file listed there; the digest of SHA256SUMS itself.

        Checkpoints are removed soon after the status says that the result is stored.
        """
        until(
            lambda: not [key for key in self.files() if key.startswith("checkpoints-")], 60, "no checkpoints are left"
        )
        sums = self.read("SHA256SUMS")
        listed = dict(line.split("  ")[::-1] for line in sums.decode().splitlines())
        assert sorted(listed) == [key for key in self.files() if key != "SHA256SUMS"], self.files()
        for key, digest in listed.items():
            assert hashlib.sha256(self.read(key)).hexdigest() == digest, key
        return hashlib.sha256(sums).hexdigest()
