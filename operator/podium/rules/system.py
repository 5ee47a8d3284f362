"""Checks a system description against the requirements of a submission package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podium.rounds import round_number
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

# mlperf_logging's system_desc_checker (4.1.68), for v0.6 and later
FIELDS = (
    "submitter", "division", "status", "system_name", "number_of_nodes", "host_processors_per_node",
    "host_processor_model_name", "host_processor_core_count", "host_processor_vcpu_count", "host_processor_frequency",
    "host_processor_caches", "host_processor_interconnect", "host_memory_capacity", "host_storage_type",
    "host_storage_capacity", "host_networking", "host_networking_topology", "host_memory_configuration",
    "accelerators_per_node", "accelerator_model_name", "accelerator_host_interconnect", "accelerator_frequency",
    "accelerator_on-chip_memories", "accelerator_memory_configuration", "accelerator_memory_capacity",
    "accelerator_interconnect", "accelerator_interconnect_topology", "cooling", "hw_notes", "framework",
    "other_software_stack", "operating_system", "sw_notes",
)  # fmt: skip
# The v0.5 tools' verify_submission, entry.json
ENTRY_FIELDS = ("division", "status", "hardware", "framework", "interconnect", "nodes", "os", "libraries", "compilers")
STATUSES = ("Available on-premise", "Available cloud", "Research, Development, or Internal (RDI)", "Preview")


def check_system(system: Mapping[str, Any], where: str, round_: str) -> Iterator[Finding]:
    """Yield findings on missing fields, and on values that break MLCommons' tools."""
    missing = [field for field in (ENTRY_FIELDS if round_ == "v0.5" else FIELDS) if field not in system]
    if missing:
        remedy = 'add them; use "" where not applicable'
        yield Finding(RuleId.PACKAGE_SYSTEM_MISSING, where, f"lacks {', '.join(missing)}", remedy=remedy)
    if round_ == "v0.5":
        return
    for field, value in system.items():
        if not isinstance(value, str):
            remedy = f'write "{value}"; MLCommons\' tools expect text'
            yield Finding(RuleId.PACKAGE_SYSTEM_TYPE, f"{where}: {field}", f"{value!r} is not text", remedy=remedy)
    if system.get("division", "closed") not in ("closed", "open"):
        message = f"{system['division']!r} is neither closed nor open"
        yield Finding(
            RuleId.PACKAGE_SYSTEM_DIVISION,
            f"{where}: division",
            message,
            remedy="write closed or open; an out-of-the-box run is closed",
        )
    if round_number(round_) >= (4, 0) and system.get("status", STATUSES[0]) not in STATUSES:
        message, remedy = f"{system['status']!r} is not allowed", f"write one of: {'; '.join(STATUSES)}"
        yield Finding(RuleId.PACKAGE_SYSTEM_STATUS, f"{where}: status", message, remedy=remedy)
