"""Reads an object from the API server into a `Run`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from podium.api import MAX_SPEC_BYTES, MAX_SPEC_DEPTH, BenchmarkRunSpec, BenchmarkRunStatus, System
from podium.reconcile.model import Run

# stands for the spec of a run that is refused
_UNREADABLE = BenchmarkRunSpec(round="", benchmark="unreadable", system=System(name="unknown", nodes=1))


_TOO_DEEP = f"nested more than {MAX_SPEC_DEPTH} levels deep"
_SHARED, _SHARED_BYTES = 64, 8192  # so many specs of at most this size are kept


def read_run(body: Mapping[str, Any]) -> Run:
    """Read a BenchmarkRun. `decide` refuses one that an older CRD accepted but the models reject."""
    metadata = body["metadata"]
    spec, refusal = _UNREADABLE, ""
    if _deeper(body["spec"], MAX_SPEC_DEPTH):
        refusal = f"spec: {_TOO_DEEP}; a hyperparameter is a number, a text or a list"
    elif (size := len(text := json.dumps(body["spec"], separators=(",", ":")))) > MAX_SPEC_BYTES:
        refusal = f"spec: {_too_long(size)}"
    else:
        try:
            spec = _spec(text) if size <= _SHARED_BYTES else _spec.__wrapped__(text)
        except ValidationError as error:
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


def size_refusal(spec: Mapping[str, Any]) -> str:
    """Return why a spec is too large or too deeply nested to be worked with; "" if it is not."""
    if _deeper(spec, MAX_SPEC_DEPTH):
        return f"spec: {_TOO_DEEP}"
    size = len(json.dumps(spec, separators=(",", ":")))
    return f"spec: {_too_long(size)}" if size > MAX_SPEC_BYTES else ""


def _too_long(size: int) -> str:
    return f"{size} bytes as JSON; at most {MAX_SPEC_BYTES} are allowed: move programs into the image"


@lru_cache(_SHARED)
def _spec(text: str) -> BenchmarkRunSpec:
    """Read a spec: runs that ask for the same share it, since a thousand of them would take 8 MB. Raises
    ValidationError."""
    return BenchmarkRunSpec.model_validate(json.loads(text))


def _deeper(value: object, levels: int) -> bool:
    """Return whether `value` is nested more than `levels` deep, without a recursion as deep as that."""
    layer = [value]
    for _ in range(levels + 1):
        inner = (item.values() if isinstance(item, dict) else item for item in layer if isinstance(item, dict | list))
        layer = [child for children in inner for child in children]
    return bool(layer)
