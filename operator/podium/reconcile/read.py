"""Reads an object from the API server into a `Run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from podium.api import BenchmarkRunSpec, BenchmarkRunStatus, System
from podium.reconcile.model import Run


def read_run(body: Mapping[str, Any]) -> Run:
    """Read a BenchmarkRun. `decide` refuses one that an older CRD accepted but the models reject."""
    metadata = body["metadata"]
    try:
        spec = BenchmarkRunSpec.model_validate(body["spec"])
        refusal = ""
    except ValidationError as error:
        spec = BenchmarkRunSpec(round="", benchmark="unreadable", system=System(name="unknown", nodes=1))
        refusal = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return Run(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        spec=spec,
        status=BenchmarkRunStatus.model_validate(body.get("status") or {}),
        deleted="deletionTimestamp" in metadata,  # a finalizer of somebody else's may keep it for long
        refusal=refusal,
    )
