"""The CRD's rules, checked without an API server."""

from __future__ import annotations

import re
from collections.abc import Iterator

from podium.api import BenchmarkRunSpec
from podium.api.spec import MAX_NAME_LENGTH
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_OURS = ("PET_", "PODIUM_")


def check_admission(name: str, spec: BenchmarkRunSpec) -> Iterator[Finding]:
    """Check name, machines, data and environment of a cluster run; local runs need not follow these rules."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        remedy = f"use at most {MAX_NAME_LENGTH} lowercase letters, digits and dashes, starting with a letter"
        message = f"{name!r} cannot be part of pod names"
        yield Finding(RuleId.METADATA_NAME, "metadata.name", message, remedy=remedy)
    if spec.division != "open" and not spec.system.accelerators_per_node:
        message, remedy = "a closed run needs accelerators", "set it, or use division: open"
        yield Finding(RuleId.SPEC_SYSTEM_ACCELERATORS, "spec.system.acceleratorsPerNode", message, remedy=remedy)
    if spec.preset == "full" and not (spec.data or spec.template.image):
        message = "the full preset reads its data set from a claim, or from the bucket in data.stage.from"
        remedy = "set one of them" + (", or use preset: tiny" if spec.division == "open" else "")
        yield Finding(RuleId.SPEC_DATA, "spec.data.persistentVolumeClaim.claimName", message, remedy=remedy)
    for variable in spec.template.env:
        if variable.name.startswith(_OURS):
            message = f"{variable.name} is reserved for the operator"
            remedy = "use hyperparameters, quality or system instead"
            yield Finding(RuleId.SPEC_TEMPLATE_ENV, RuleId.SPEC_TEMPLATE_ENV, message, remedy=remedy)
