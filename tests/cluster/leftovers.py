"""What a killed run of the tests leaves on the machine: a node with its containers and network, disks of S3 servers."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster import claim
from tests.cluster.node import Node
from tests.cluster.processes import locked, start_time, works

_LOCK = Path("/run/podium-test-leftovers.lock")
_DISK = "podium-s3"


def disk_name() -> str:
    """What the disk of an S3 server is called among the mounts: it names the process that will unmount it."""
    return f"{_DISK}:{os.getpid()}:{start_time(os.getpid())}"


def remove() -> None:
    """Remove what processes left that are gone. Only root can have made it."""
    if os.geteuid() != 0 or not Path("/proc/self/mounts").exists():
        return
    with locked(_LOCK):
        holder = claim.held()
        if holder and holder.abandoned:
            Node(Path(holder.folder)).down()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, point, *_ = line.split()
            name, _, process = device.partition(":")
            if name == _DISK and _is_gone(process):
                works("umount", "--lazy", point)  # a killed process may still hold files


def _is_gone(process: str) -> bool:
    pid, _, started = process.partition(":")
    return not pid.isdigit() or start_time(int(pid)) != started
