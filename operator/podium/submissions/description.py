"""Describe the system of a result for a submission, as far as Podium saw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podium.documents import DocumentError, read_json
from podium.rules.system import FIELDS, OPEN, STATUSES
from podium.stores import StoreError, document_bytes
from podium.submissions.package import ReviewedResult, is_closed, other_program
from podium.submissions.together import names_nobody

_STATUS = dict(zip(("onprem", "cloud", "research", "preview"), STATUSES, strict=True))
_DRIVERS = (  # labels of NVIDIA's GPU feature discovery, the newer one first, and of AMD's node labeller
    ("nvidia.com/cuda.driver-version.full",),
    ("nvidia.com/cuda.driver.major", "nvidia.com/cuda.driver.minor", "nvidia.com/cuda.driver.rev"),
    ("amd.com/gpu.driver-version",),
)
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "": 1}

# The fields of v0.5's entry.json, with those of later rounds that say the same
_ENTRY_TEXTS = {
    "submitter": "submitter", "division": "division", "hardware": "system_name", "framework": "framework",
    "interconnect": "host_networking", "os": "operating_system", "notes": "sw_notes",
}  # fmt: skip
_ENTRY_NODES = {
    "num_nodes": "number_of_nodes", "cpu": "host_processor_model_name", "num_cores": "host_processor_core_count",
    "num_vcpus": "host_processor_vcpu_count", "accelerator": "accelerator_model_name",
    "num_accelerators": "accelerators_per_node", "sys_mem_size": "host_memory_capacity",
    "sys_storage_type": "host_storage_type", "sys_storage_size": "host_storage_capacity",
    "cpu_accel_interconnect": "accelerator_host_interconnect", "notes": "hw_notes",
}  # fmt: skip


def describe_system(part: ReviewedResult) -> dict[str, str]:
    """The fields of systems/<system>.json. What nobody saw says what may be written there, after `OPEN`."""
    seen = _nodes(part)
    own = part.folder.result.get("system")
    system: Mapping[str, Any] = own if isinstance(own, dict) else {}
    logged = next((log.summary.submission for log in part.folder.logs if log.summary.submission), {})
    known = {
        "submitter": "" if names_nobody(part.folder) else logged.get("org", ""),
        "division": "closed" if is_closed(part.folder) else "open",
        "status": _STATUS.get(logged.get("status", ""), ""),
        "system_name": str(system.get("name") or part.entry.system),
        "number_of_nodes": str(system.get("nodes") or len(seen) or ""),
        "host_processor_model_name": _joined(_of(seen, "info", "processor")),
        "host_processor_vcpu_count": _joined(_of(seen, "capacity", "cpu")),
        "host_memory_capacity": _joined(map(_size, _of(seen, "capacity", "memory"))),
        "host_storage_capacity": _joined(map(_size, _of(seen, "capacity", "ephemeral-storage"))),
        "host_networking": _joined(map(_network, seen)),
        "accelerators_per_node": str(system.get("acceleratorsPerNode", "")),
        "accelerator_model_name": _joined(_label(seen, "nvidia.com/gpu.product", "amd.com/gpu.product-name")),
        "accelerator_memory_capacity": _joined(
            f"{text} MiB" if text.isdecimal() else text
            for text in _label(seen, "nvidia.com/gpu.memory", "amd.com/gpu.vram")
        ),
        "accelerator_interconnect": "NVLink" if any(_label(seen, "nvidia.com/gpu.clique")) else "",
        "framework": "" if other_program(part) else "PyTorch",
        "other_software_stack": ", ".join(_software(part, seen)),
        "operating_system": _joined(_of(seen, "info", "osImage")),
    }
    none = system.get("acceleratorsPerNode") == 0
    return {
        field: known.get(field) or ("" if none and field.startswith("accelerator_") else f"{OPEN}{allowed}")
        for field, allowed in FIELDS.items()
    }


def describe_entry(part: ReviewedResult) -> dict[str, Any]:
    """The fields of v0.5's entry.json, and the submitter, which only `package` reads; else like `describe_system`."""
    known = describe_system(part)
    logged = next((log.summary.submission for log in part.folder.logs if log.summary.submission), {})
    texts = {field: known[name] for field, name in _ENTRY_TEXTS.items()}
    nodes = {field: known[name] for field, name in _ENTRY_NODES.items()}
    return {
        **texts,
        "status": logged.get("status") or f"{OPEN}onprem, cloud or research",
        "libraries": {"software": known["other_software_stack"]},
        "compilers": f'{OPEN}text, or "" where there is nothing to say',
        "nodes": [nodes],
    }


def _nodes(part: ReviewedResult) -> list[Mapping[str, Any]]:
    """The nodes that system.json has seen. Raises StoreError if the store cannot be read."""
    key = part.folder.key("system.json")
    try:
        document = read_json(document_bytes(part.store, key), key)
    except (StoreError, DocumentError):
        return []
    nodes = document.get("nodesSeen") if isinstance(document, dict) else None
    return [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []


def _of(nodes: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[str]:
    """One value of each node that has it."""
    found = (node[kind].get(name) for node in nodes if isinstance(node.get(kind), dict))
    return [str(value) for value in found if value]


def _label(nodes: Sequence[Mapping[str, Any]], *names: str) -> list[str]:
    """The labels of the first of `names` that any node has."""
    return next((values for name in names if (values := _of(nodes, "labels", name))), [])


def _joined(values: Iterable[str]) -> str:
    """Different values of different nodes, each once."""
    return " / ".join(sorted({value for value in values if value}))


def _network(node: Mapping[str, Any]) -> str:
    """What labels and resources of a node say about its network: RDMA devices, and the machine type of a cloud."""
    devices = [f"{count}x {name}" for name, count in dict(node.get("capacity") or {}).items()
               if any(word in name for word in ("rdma", "/hca", "/efa", "/mlnx")) and str(count) != "0"]  # fmt: skip
    labels = dict(node.get("labels") or {})
    if labels.get("feature.node.kubernetes.io/rdma.available") == "true" and not devices:
        devices = ["RDMA"]
    machine = labels.get("node.kubernetes.io/instance-type")
    return ", ".join([*devices, *([f"that of {machine}"] if machine else [])])


def _software(part: ReviewedResult, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    pinned = part.folder.result.get("pinned")
    pinned = pinned if isinstance(pinned, dict) else {}
    image = "@".join(str(pinned[key]) for key in ("image", "imageDigest") if pinned.get(key))
    named = {
        "driver": _joined(map(_driver, nodes)),
        "kernel": _joined(_of(nodes, "info", "kernelVersion")),
        "container runtime": _joined(_of(nodes, "info", "containerRuntimeVersion")),
        "Podium": str(part.folder.result.get("podium") or ""),
        "image": image,
    }
    return [f"{name} {value}" for name, value in named.items() if value]


def _driver(node: Mapping[str, Any]) -> str:
    """The version of the accelerators' driver; "" if no label says it."""
    labels = dict(node.get("labels") or {})
    known = (names for names in _DRIVERS if all(name in labels for name in names))
    return ".".join(str(labels[name]) for name in next(known, ()))


def _size(quantity: str) -> str:
    """A quantity of Kubernetes in GiB."""
    number = quantity.rstrip("KMGTi")
    unit = _UNITS.get(quantity.removeprefix(number))
    return f"{int(number) * unit / (1 << 30):.0f} GiB" if unit and number.isdecimal() else quantity
