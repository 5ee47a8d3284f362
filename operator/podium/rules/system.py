"""Checks a system description against the requirements of a submission package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podium.rounds import round_number
from podium.rules.catalog import RuleId
from podium.rules.findings import Finding

STATUSES = ("Available on-premise", "Available cloud", "Research, Development, or Internal (RDI)", "Preview")
_TEXT = 'text, or "" where there is nothing to say'
# mlperf_logging's system_desc_checker (4.1.68), for v0.6 and later: each field, and what may be written there
FIELDS = {
    "submitter": "name of the organization, as in the logs",
    "division": "closed or open",
    "status": f"one of: {'; '.join(STATUSES)}",
    "system_name": "text",
    "number_of_nodes": 'a number as text, such as "8"',
    "host_processors_per_node": 'number of sockets as text, such as "2"',
    "host_processor_model_name": 'text, such as "AMD EPYC 9654"',
    "host_processor_core_count": 'cores of one processor as text, such as "96"',
    "host_processor_vcpu_count": 'a number as text, or ""',
    "host_processor_frequency": _TEXT,
    "host_processor_caches": _TEXT,
    "host_processor_interconnect": _TEXT,
    "host_memory_capacity": 'text, such as "2 TB"',
    "host_storage_type": 'text, such as "NVMe SSD"',
    "host_storage_capacity": 'text, such as "8x 3.84 TB"',
    "host_networking": 'text, such as "8x ConnectX-7 NDR 400 Gb/s"',
    "host_networking_topology": _TEXT,
    "host_memory_configuration": _TEXT,
    "accelerators_per_node": 'a number as text, such as "8"; "0" without accelerators',
    "accelerator_model_name": 'text, such as "NVIDIA H100-SXM5-80GB"; "" without accelerators',
    "accelerator_host_interconnect": _TEXT,
    "accelerator_frequency": _TEXT,
    "accelerator_on-chip_memories": _TEXT,
    "accelerator_memory_configuration": _TEXT,
    "accelerator_memory_capacity": 'text, such as "80 GB"; "" without accelerators',
    "accelerator_interconnect": 'text, such as "NVLink 900 GB/s"; "" without accelerators',
    "accelerator_interconnect_topology": _TEXT,
    "cooling": 'air or liquid, or ""',
    "hw_notes": _TEXT,
    "framework": 'text, such as "PyTorch 2.8"',
    "other_software_stack": "text: drivers, libraries, images",
    "operating_system": 'text, such as "Ubuntu 24.04"',
    "sw_notes": _TEXT,
}
# the checker joins them as text, and crashes on anything else
_JOINED = ("submitter", "system_name", "host_processor_model_name", "host_processor_core_count",
           "accelerator_model_name", "accelerators_per_node", "framework")  # fmt: skip
# The v0.5 tools' verify_submission, entry.json
ENTRY_FIELDS = ("division", "status", "hardware", "framework", "interconnect", "nodes", "os", "libraries", "compilers")
OPEN = "FILL IN: "  # before what may be written in a field


def open_fields(described: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field of a description that nobody has filled in, and what may be written there."""
    if isinstance(described, str) and described.startswith(OPEN):
        yield name, described.removeprefix(OPEN)
    elif isinstance(described, Mapping):
        for key, value in described.items():
            yield from open_fields(value, f"{name}.{key}" if name else str(key))
    elif isinstance(described, list):
        for number, value in enumerate(described):
            yield from open_fields(value, f"{name}[{number}]")


def check_system(system: Mapping[str, Any], where: str, round_: str) -> Iterator[Finding]:
    """Yield findings on missing fields, and on values that break MLCommons' tools."""
    for field in ENTRY_FIELDS if round_ == "v0.5" else FIELDS:
        if field not in system:
            message = f"{field} is missing"
            yield Finding(RuleId.PACKAGE_SYSTEM_MISSING, where, message, remedy=FIELDS.get(field, _TEXT))
    for name, allowed in open_fields(system):
        yield Finding(RuleId.PACKAGE_SYSTEM_MISSING, where, f"{name} is not filled in", remedy=allowed)
    if round_ == "v0.5":
        return
    for field in _JOINED:
        if field in system and not isinstance(value := system[field], str):
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
