"""Find out how many chips (accelerators) a system has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from podium.mllog import Format, LogSummary
from podium.submissions.tree import Folder

_TPU = re.compile(r"tpu-?v\d+[a-z]*-(\d+)")  # the number is of cores, two per chip
_CORES_PER_CHIP = 2
_NODES = re.compile(r"num_nodes['\"]*\s*:\s*['\"]*(\d{1,6})")
_PER_NODE = re.compile(r"num_accelerators['\"]*\s*:\s*['\"]*(\d{1,4})")


def chips(folder: Folder) -> int | None:
    """The number of chips, or None if unknown. For a system without accelerators, its host processors count.

    Sources, in this order: Podium's result.json, systems/<system>.json (from v0.7), entry.json and code (v0.5),
    submission_entry in the log (v0.6), the name of a Cloud TPU.
    """
    own = folder.result.get("system")
    if isinstance(own, dict):
        return _times(own.get("nodes"), own.get("acceleratorsPerNode") or 1)
    if "nodes" in folder.system:
        is_cluster = folder.nodes is None and any(log.summary.format is Format.MLP for log in folder.logs)
        return _of_entry(folder.system, folder.nodes, is_cluster=is_cluster)
    described = described_chips(folder.system)
    if described:
        return described
    for log in folder.logs:
        entry = log.summary.submission.get("entry", "")
        counts = zip(_NODES.findall(entry), _PER_NODE.findall(entry), strict=False)
        total = sum(int(nodes) * int(per_node) for nodes, per_node in counts)
        if total:
            return total
    return _tpu_chips(folder.place.system)


def described_chips(system: Mapping[str, Any]) -> int | None:
    """The number of chips in systems/<system>.json."""
    per_node = _count(system.get("accelerators_per_node")) or _count(system.get("host_processors_per_node"))
    return _times(system.get("number_of_nodes"), per_node)


def logged_chips(log: LogSummary) -> int | None:
    """The number of accelerators that a log counts, as Podium's trainers do: one rank for each."""
    return log.ranks


def _of_entry(entry: Mapping[str, Any], nodes_in_code: int | None, *, is_cluster: bool) -> int | None:
    """The chips of an entry.json. Of TPUs, it counts cores, all of them in v0.5.

    `is_cluster`: as v0.5's describe a whole cluster, the nodes of one benchmark are only in its code, which is missing.
    Then only a single node is sure.
    """
    nodes = entry.get("nodes")
    parts = [nodes] if isinstance(nodes, dict) else nodes if isinstance(nodes, list) else []
    total = 0
    for part in (part for part in parts if isinstance(part, dict)):
        tpu = _tpu_chips(str(part.get("accelerator") or ""))
        count = nodes_in_code or _count(part.get("num_nodes"))
        if is_cluster and tpu is None and count > 1:
            return None
        total += tpu or count * _count(part.get("num_accelerators"))
    return total or None


def _tpu_chips(name: str) -> int | None:
    match = _TPU.search(name)
    return max(1, int(match[1]) // _CORES_PER_CHIP) if match else None


def _times(nodes: object, per_node: object) -> int | None:
    return (_count(nodes) * _count(per_node)) or None


def _count(value: object) -> int:
    """A count, or 0. In v0.7 system descriptions, counts are strings."""
    match = re.match(r"\s*(\d{1,6})\b", str(value))
    return int(match[1]) if match else 0
