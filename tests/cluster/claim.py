"""At most one real node on a machine: who holds it, so that nobody removes the network of another."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.processes import start_time

_FILE = Path("/run/podium-test-node.json")
_OTHERS = {"kubelet", "kube-proxy", "k3s-server", "k3s-agent", "microk8s"}


@dataclass(frozen=True)
class Claim:
    """The node in `folder`. It ends with the process `owner`, or, if that is 0, when somebody stops it."""

    folder: str
    owner: int
    started: str | None

    @property
    def abandoned(self) -> bool:
        """Its process ended without removing it: killed, most likely."""
        return self.owner != 0 and start_time(self.owner) != self.started


def held() -> Claim | None:
    try:
        return Claim(**json.loads(_FILE.read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def take(folder: Path, owner: int) -> None:
    """`owner` is the pid of the process that the node ends with, 0 for none."""
    _FILE.write_text(json.dumps(asdict(Claim(str(folder), owner, start_time(owner) if owner else None))))


def release(folder: Path) -> None:
    claim = held()
    if claim and claim.folder == str(folder):
        _FILE.unlink()


def foreign_kubernetes() -> list[str]:
    """Programs of another Kubernetes that runs on this machine, as ``name (pid)``."""
    found = []
    for process in Path("/proc").glob("[0-9]*/comm"):
        try:
            name = process.read_text().strip()
        except OSError:  # it has just ended
            continue
        if name in _OTHERS:
            found.append(f"{name} ({process.parent.name})")
    return found
