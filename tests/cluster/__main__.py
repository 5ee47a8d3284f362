"""python -m tests.cluster COMMAND: a real Kubernetes on this machine, to look at by hand.

  build [PART...]  build and cache what tests use. Parts: test (the programs of `make test`, the default),
                   e2e or all (those of the real node, too, and its images), trainer-image
  packages         install the Debian packages that a real node needs (root)
  up               a cluster of one real node (root); prints KUBECONFIG=...
  up --plane       the control plane alone, on 127.0.0.1; --kwok N adds a scheduler and N fake nodes
  load ARCHIVE     import a docker or OCI archive into the node
  down             stop it and remove its folder

Its folder is --folder, by default /tmp/podium-cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import images, kwok, lifetime, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import PROGRAMS, Node, install_packages
from tests.cluster.processes import ClusterError

_PARTS = ("test", "e2e", "all", "trainer-image")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__, add_help=True,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("command", choices=["build", "packages", "up", "load", "down"])
    parser.add_argument("words", nargs="*", metavar="PART or ARCHIVE")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/podium-cluster"))
    parser.add_argument("--plane", action="store_true")
    parser.add_argument("--kwok", type=int, default=0, metavar="N")
    given = parser.parse_args()
    if given.command == "build" and (unknown := set(given.words) - set(_PARTS)):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; choose from {', '.join(_PARTS)}")
    if len(given.words) != (given.command == "load") and given.command != "build":
        parser.error("load needs an archive; up, down and packages take no argument")
    try:
        _run(given)
    except ClusterError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command continues where it stopped")


def _run(given: argparse.Namespace) -> None:
    if given.command == "build":
        with lifetime.bounded():
            _build(given.words or ["test"])
    elif given.command == "packages":
        install_packages()
    elif given.command == "down":
        (ControlPlane(given.folder) if given.plane else Node(given.folder)).down()
    elif given.command == "load":
        Node(given.folder).load(given.words[0])
    else:
        _up(given.folder, plane_only=given.plane, fake_nodes=given.kwok)


def _build(parts: Iterable[str]) -> None:
    parts = set(parts)
    everything = bool(parts & {"e2e", "all"}) and not os.environ.get("KUBECONFIG")  # a given cluster has its own parts
    tools.build(tools.ALL if everything else tools.FOR_TEST)
    images.build(["operator"] * everything + ["trainer"] * ("trainer-image" in parts))
    print("everything is built")


def _up(folder: Path, *, plane_only: bool, fake_nodes: int) -> None:
    if not (plane_only or fake_nodes):
        node = Node(folder, detached=True)
        tools.build(PROGRAMS)
        node.up()
        print(f"KUBECONFIG={node.plane.kubeconfig}")
        return
    tools.build(tools.FOR_TEST)
    plane = ControlPlane(folder, detached=True)
    plane.up(scheduler=bool(fake_nodes))
    if fake_nodes:
        kwok.start_nodes(plane, fake_nodes)
    print(f"KUBECONFIG={plane.kubeconfig}")


if __name__ == "__main__":
    main()
