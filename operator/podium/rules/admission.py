"""What the API server refuses by the CRD's rules, said without an API server."""

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
    """Name, machines, data and environment of a run for a cluster; on one machine they may be otherwise."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        remedy = f"use at most {MAX_NAME_LENGTH} lower-case letters, digits and dashes, a letter first"
        message = f"{name!r} cannot be part of the names of pods"
        yield Finding(RuleId.METADATA_NAME, "metadata.name", message, remedy=remedy)
    if spec.division != "open" and not spec.system.accelerators_per_node:
        message, remedy = "a closed run needs accelerators", "set it, or use division: open"
        yield Finding(RuleId.SPEC_SYSTEM_ACCELERATORS, "spec.system.acceleratorsPerNode", message, remedy=remedy)
    if spec.preset == "full" and not (spec.data or spec.template.image):
        message, remedy = "preset full reads its data set from a claim", "name it, or use preset: tiny"
        yield Finding(RuleId.SPEC_DATA, "spec.data.persistentVolumeClaim.claimName", message, remedy=remedy)
    for variable in spec.template.env:
        if variable.name.startswith(_OURS):
            message, remedy = f"{variable.name} is the operator's", "use hyperparameters, quality or system instead"
            yield Finding(RuleId.SPEC_TEMPLATE_ENV, RuleId.SPEC_TEMPLATE_ENV, message, remedy=remedy)
