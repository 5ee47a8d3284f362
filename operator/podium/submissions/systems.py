"""Find out how many chips (accelerators) a system has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from podium.submissions.tree import Folder

_TPU = re.compile(r"tpu-v[23]-(\d+)")  # the number is of cores, two per chip
_NODES = re.compile(r"num_nodes['\"]*\s*:\s*['\"]*(\d{1,6})")
_PER_NODE = re.compile(r"num_accelerators['\"]*\s*:\s*['\"]*(\d{1,4})")


def chips(folder: Folder) -> int | None:
    """The number of chips, or None if unknown. For a system without accelerators, its host processors count.

    Sources, in this order: Podium's result.json, systems/<system>.json (from v0.7), entry.json (v0.5),
    submission_entry in the log (v0.6), the name of a Cloud TPU.
    """
    own = folder.result.get("system")
    if isinstance(own, dict):
        return _times(own.get("nodes"), own.get("acceleratorsPerNode") or 1)
    described = _described(folder.system)
    if described:
        return described
    for log in folder.logs:
        entry = log.summary.submission.get("entry", "")
        counts = zip(_NODES.findall(entry), _PER_NODE.findall(entry), strict=False)
        total = sum(int(nodes) * int(per_node) for nodes, per_node in counts)
        if total:
            return total
    match = _TPU.search(folder.place.system)
    return max(1, int(match[1]) // 2) if match else None


def _described(system: Mapping[str, Any]) -> int | None:
    if "number_of_nodes" in system:
        per_node = _count(system.get("accelerators_per_node")) or _count(system.get("host_processors_per_node"))
        return _times(system["number_of_nodes"], per_node)
    nodes = system.get("nodes")
    parts = [nodes] if isinstance(nodes, dict) else nodes if isinstance(nodes, list) else []
    products = [_times(n.get("num_nodes"), n.get("num_accelerators")) for n in parts if isinstance(n, dict)]
    return sum(product or 0 for product in products) or None


def _times(nodes: object, per_node: object) -> int | None:
    return (_count(nodes) * _count(per_node)) or None


def _count(value: object) -> int:
    """A count, or 0. In v0.7 system descriptions, counts are strings."""
    match = re.match(r"\s*(\d{1,6})\b", str(value))
    return int(match[1]) if match else 0
