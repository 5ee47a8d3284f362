"""CPUs near a rank's GPU: a copy between memory and GPU across the machine's sockets is slower, and takes turns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch


def bind_near_gpu(addresses: Sequence[str], local_rank: int, root: Path = Path("/sys")) -> int:
    """Bind this thread, and those it starts, to the CPUs of its GPU's NUMA node; return how many ranks share these.

    `addresses` are the PCI addresses of all local ranks' GPUs. CPUs that this process may not use stay so. Nothing is
    bound where the node is unknown, as in most virtual machines, or would leave the rank less than half of the CPUs
    that an equal division gives it: one GPU's images are decoded by the whole machine.
    """
    nodes = [_numa_node(root, address) for address in addresses]
    node, allowed = nodes[local_rank], os.sched_getaffinity(0)
    sharing = nodes.count(node)
    near = allowed & _cpus(root, node)
    if 2 * len(near) * len(nodes) < len(allowed) * sharing or not near:
        return len(nodes)
    os.sched_setaffinity(0, near)
    return sharing


def pci_address(device: int) -> str:
    """Of a GPU as torch counts them, as in 0000:1b:00.0."""
    gpu = torch.cuda.get_device_properties(device)
    return f"{gpu.pci_domain_id:04x}:{gpu.pci_bus_id:02x}:{gpu.pci_device_id:02x}.0"


def _numa_node(root: Path, address: str) -> int:
    """Of a device; -1, as the kernel says, if it has none or isn't known here."""
    try:
        return int((root / "bus" / "pci" / "devices" / address / "numa_node").read_text())
    except (OSError, ValueError):
        return -1


def _cpus(root: Path, node: int) -> set[int]:
    """Of a NUMA node, from a list such as 0-3,8-11; none of a node that isn't there."""
    try:
        text = (root / "devices" / "system" / "node" / f"node{node}" / "cpulist").read_text().strip()
    except OSError:
        return set()
    parts = (part.partition("-") for part in text.split(",") if part)
    return {cpu for first, _, last in parts for cpu in range(int(first), int(last or first) + 1)}
