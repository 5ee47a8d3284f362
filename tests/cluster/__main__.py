"""python -m tests.cluster COMMAND: a real Kubernetes on this machine, for a look by hand.

  build            build and cache every program
  packages         install the Debian packages that a real node needs (root)
  up               a cluster of one real node (root); prints KUBECONFIG=...
  up --plane       the control plane alone, on 127.0.0.1; --kwok N adds a scheduler and N fake nodes
  load ARCHIVE     import a docker or OCI archive into the node
  down             stop it and remove its folder

Its folder is --folder, by default /tmp/podium-cluster.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.cluster import kwok, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import Node, install_packages
from tests.cluster.processes import ClusterError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__, add_help=True,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("command", choices=["build", "packages", "up", "load", "down"])
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/podium-cluster"))
    parser.add_argument("--plane", action="store_true")
    parser.add_argument("--kwok", type=int, default=0, metavar="N")
    given = parser.parse_args()
    try:
        _run(given)
    except ClusterError as error:
        sys.exit(str(error))


def _run(given: argparse.Namespace) -> None:
    if given.command == "build":
        tools.ensure(tools.ALL)
    elif given.command == "packages":
        install_packages()
    elif given.command == "down":
        (ControlPlane(given.folder) if given.plane else Node(given.folder)).down()
    elif given.command == "load":
        Node(given.folder).load(given.archive)
    elif given.plane or given.kwok:
        plane = ControlPlane(given.folder, detached=True)
        plane.up(scheduler=bool(given.kwok))
        if given.kwok:
            kwok.start_nodes(plane, given.kwok)
        print(f"KUBECONFIG={plane.kubeconfig}")
    else:
        node = Node(given.folder, detached=True)
        node.up()
        print(f"KUBECONFIG={node.plane.kubeconfig}")


if __name__ == "__main__":
    main()
