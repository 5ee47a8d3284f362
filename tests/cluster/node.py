"""Real nodes on this machine: containerd, kubelet, kube-proxy, CoreDNS. Needs root, and Debian's packages.

Nodes 10.254.0.1, .2 and so on, on a separate bridge, pods 10.252.0.0/16, services 10.253.0.0/16. Nothing is
masqueraded: pods reach this machine and each other, nothing beyond. Only one such cluster per machine.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.cluster import claim, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubelet import BRIDGE, PATH, Kubelet
from tests.cluster.processes import ClusterError, MissingPartError, sh, works

NODE_IP = "10.254.0.1"
POD_NET = "10.252.0.0/16"
PROGRAMS = ("etcd", "pause", "coredns", *tools.KUBERNETES)
_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "socat": "socat",
    "openssl": "openssl",
    "gcc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "prometheus": "prometheus",
    "buildah": "buildah",
    "chromium": "chromium",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
}


def missing_packages() -> list[str]:
    """Debian's packages that are not installed here. Some of their programs lie in /usr/sbin."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [
        packages
        for program, packages in _PACKAGES.items()
        if not (shutil.which(program, path=path) or (Path(program).is_absolute() and Path(program).exists()))
    ]


def install_packages() -> None:
    """Install the missing ones. Raises MissingPartError where that is not possible."""
    missing = " ".join(missing_packages()).split()
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingPartError(f"missing packages; as root: apt-get install {' '.join(missing)}")
    print(f"installing {' '.join(missing)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    sh("apt-get", "update", "-qq", env=quiet)
    sh("apt-get", "install", "-qq", "--no-install-recommends", *missing, env=quiet)


class Node:
    """A cluster of `count` real nodes on this machine; `plane` is its control plane.

    It ends with this Python: when that is killed, the next run of the tests removes what is left of the node. A
    `detached` one runs until `down`.
    """

    def __init__(self, folder: Path, *, count: int = 1, detached: bool = False) -> None:
        self.folder = folder
        self.plane = ControlPlane(folder, NODE_IP, 6443, detached=detached)
        self.kubelets = [Kubelet(self.plane, folder / f"node-{number}", number) for number in range(1, count + 1)]
        self._owner = 0 if detached else os.getpid()

    def up(
        self,
        *,
        apiserver_flags: tuple[object, ...] = (),
        controller_flags: tuple[object, ...] = (),
    ) -> None:
        """Start what does not run, in about ten seconds.

        Raises:
            MissingPartError: this machine cannot run a node.
            NotBuiltError: a program of it is not built.
        """
        if os.geteuid() != 0:
            raise MissingPartError("a real node needs root: run as root, or use your own cluster (docs/testing.md)")
        if missing := missing_packages():
            raise MissingPartError(f"missing packages; run: apt-get install {' '.join(missing)}")
        tools.find_all(PROGRAMS)
        self._claim()
        self._network_up()
        pki = self.plane.pki
        pki.certificate("ca", "CN=cluster-ca")
        pki.certificate("apiserver-to-kubelet", "O=system:masters,CN=kube-apiserver-kubelet-client")
        flags = (
            "--kubelet-preferred-address-types=InternalIP",  # else `kubectl logs` asks the host's DNS for the node
            *("--kubelet-certificate-authority", pki.path("ca.crt")),
            *("--kubelet-client-certificate", pki.path("apiserver-to-kubelet.crt")),
            *("--kubelet-client-key", pki.path("apiserver-to-kubelet.key")),
            *apiserver_flags,
        )
        self.plane.up(scheduler=True, apiserver_flags=flags, controller_flags=controller_flags)
        for kubelet in self.kubelets:
            kubelet.up()
        self._start_proxy()
        self._wait_ready()

    def load(self, archive: Path) -> None:
        """Import a docker or OCI archive into every node that lacks its image."""
        for kubelet in self.kubelets:
            kubelet.load(archive)

    def images(self) -> list[str]:
        """Those that the first node has."""
        return self.kubelets[0].images()

    def down(self, *, delete: bool = True) -> None:
        """Stop everything and remove its traces: containers, mounts, links, rules. Works for a killed node, too."""
        kubelets = self._all_kubelets()
        self.plane.processes.stop("kube-proxy")
        for kubelet in kubelets:
            kubelet.down()
        self.plane.down(delete=False)
        holder = claim.held()
        if holder and holder.folder == str(self.folder):  # else the network is not ours
            self._network_down(kubelets)
            claim.release(self.folder)
        if delete:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- parts ----

    def _all_kubelets(self) -> list[Kubelet]:
        """Also those of another process that left this folder."""
        found = sorted(int(folder.name.removeprefix("node-")) for folder in self.folder.glob("node-*"))
        return [Kubelet(self.plane, self.folder / f"node-{number}", number) for number in found]

    def _claim(self) -> None:
        holder = claim.held()
        if holder and holder.folder != str(self.folder):
            if not holder.abandoned:
                raise ClusterError(
                    f"another test node runs on this machine; stop it with "
                    f"python -m tests.cluster down --folder {holder.folder}"
                )
            Node(Path(holder.folder)).down()
        running = any(self.plane.processes.pid(name) for name in ("kube-proxy", *self.kubelets[0].processes))
        if not running and (others := claim.foreign_kubernetes()):
            raise MissingPartError(f"this machine runs a Kubernetes already, which a test node would disturb: {others}")
        claim.take(self.folder, self._owner)

    def _start_proxy(self) -> None:
        """One serves all nodes, which share this machine's rules."""
        name = self.kubelets[0].name
        self.plane.pki.certificate("kube-proxy", "CN=system:kube-proxy")
        self.plane.pki.kubeconfig(self.folder / "kube-proxy.kubeconfig", "kube-proxy", self.plane.server)
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": f"{self.folder}/kube-proxy.kubeconfig"},
            "clusterCIDR": POD_NET,
            "oomScoreAdj": 0,
            "healthzBindAddress": f"{NODE_IP}:10256",
            "metricsBindAddress": f"{NODE_IP}:10249",
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        config = self.folder / "kube-proxy.yaml"
        config.write_text(json.dumps(proxy, indent=1))
        command = (tools.find("kube-proxy"), "--config", config, "--hostname-override", name)
        self.plane.processes.start("kube-proxy", *command, env=PATH)

    def _wait_ready(self) -> None:
        self.plane.kubectl("apply", "-f", tools.HERE / "coredns.yaml")
        for kubelet in self.kubelets:
            kubelet.wait_ready()
        dns = ("-n", "kube-system", "get", "deployment", "coredns", "-o=jsonpath={.status.availableReplicas}")
        alive = ("kube-proxy", *self.kubelets[0].processes)
        self.plane.processes.wait("CoreDNS available", lambda: self.plane.kubectl(*dns) == "1", 90, alive)

    def _network_up(self) -> None:
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            sh("ip", "link", "add", BRIDGE, "type", "bridge")
        sh("ip", "addr", "replace", f"{NODE_IP}/32", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        for key in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
            setting = Path(f"/proc/sys/{key}")
            if setting.exists() and setting.read_text().strip() != "1":
                setting.write_text("1")

    def _network_down(self, kubelets: list[Kubelet]) -> None:
        for family in ("ip", "ip6"):  # tables that hold all rules of kube-proxy, and nothing else
            works("nft", "delete", "table", family, "kube-proxy")
        works("ip", "link", "delete", BRIDGE)
        for kubelet in kubelets:
            kubelet.remove_network()
        for file in Path("/var/log/containers").glob("*.log"):  # the kubelets' links into pod-logs
            if file.readlink().is_relative_to(self.folder):
                file.unlink()
