"""One real node on this machine: containerd, kubelet, kube-proxy, CoreDNS. Needs root, and Debian's packages.

Node 10.254.0.1 on a separate bridge, pods 10.252.0.0/24, services 10.253.0.0/16. Nothing is masqueraded: pods
reach this machine and each other, nothing beyond. Only one such node per machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.cluster import claim, images, lifetime, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import ClusterError, MissingPartError, mounts_below, sh, works

NODE, NODE_IP, BRIDGE, POD_BRIDGE = "node-1", "10.254.0.1", "podium-node", "podium-pods"
POD_NET, DNS_IP = "10.252.0.0/24", "10.253.0.10"
PROGRAMS = ("etcd", "pause", "coredns", *tools.KUBERNETES)
_NETWORK = "podium"  # name of the CNI network
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
_READY = '-o=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'


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
    """A cluster of one real node; `plane` is its control plane.

    It ends with this Python: when that is killed, the next run of the tests removes what is left of the node. A
    `detached` one runs until `down`.
    """

    def __init__(self, folder: Path, *, detached: bool = False) -> None:
        self.folder = folder
        self.plane = ControlPlane(folder, NODE_IP, 6443, detached=detached)
        self._owner = 0 if detached else os.getpid()
        self._socket = folder / "containerd.sock"

    def up(self) -> None:
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
        pki.certificate("kubelet-server", f"CN={NODE}", f"IP:{NODE_IP},DNS:{NODE}", "serverAuth")
        pki.certificate("apiserver-to-kubelet", "O=system:masters,CN=kube-apiserver-kubelet-client")
        pki.certificate("kubelet", f"O=system:nodes,CN=system:node:{NODE}")
        pki.certificate("kube-proxy", "CN=system:kube-proxy")
        for name in ("kubelet", "kube-proxy"):
            pki.kubeconfig(self.folder / f"{name}.kubeconfig", name, self.plane.server)
        flags = (
            "--kubelet-preferred-address-types=InternalIP",  # else `kubectl logs` asks the host's DNS for the node
            *("--kubelet-certificate-authority", pki.path("ca.crt")),
            *("--kubelet-client-certificate", pki.path("apiserver-to-kubelet.crt")),
            *("--kubelet-client-key", pki.path("apiserver-to-kubelet.key")),
        )
        self.plane.up(scheduler=True, kubelet_flags=flags)
        self._start_containerd()
        self._start_kubelet()
        self._wait_ready()

    def load(self, archive: Path) -> None:
        """Import a docker or OCI archive unless its image is there."""
        self._ctr("images", "import", archive)

    def images(self) -> list[str]:
        return self._ctr("images", "list", "-q").split()

    def down(self, *, delete: bool = True) -> None:
        """Stop everything and remove its traces: containers, mounts, links, rules. Works for a killed node, too."""
        processes = self.plane.processes
        for name in ("kubelet", "kube-proxy"):  # the kubelet first, or it would restart what is ended below
            processes.stop(name)
        processes.stop("containerd")
        self._remove_containers()
        self.plane.down(delete=False)
        for mount in mounts_below(self.folder):
            works("umount", mount)
        holder = claim.held()
        if holder and holder.folder == str(self.folder):  # else the network is not ours
            self._network_down()
            claim.release(self.folder)
        if delete:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- parts ----

    def _claim(self) -> None:
        holder = claim.held()
        if holder and holder.folder != str(self.folder):
            if not holder.abandoned:
                raise ClusterError(
                    f"another test node runs on this machine; stop it with "
                    f"python -m tests.cluster down --folder {holder.folder}"
                )
            Node(Path(holder.folder)).down()
        running = any(self.plane.processes.pid(name) for name in ("kubelet", "kube-proxy"))
        if not running and (others := claim.foreign_kubernetes()):
            raise MissingPartError(f"this machine runs a Kubernetes already, which a test node would disturb: {others}")
        claim.take(self.folder, self._owner)

    def _start_containerd(self) -> None:
        config = self.folder / "containerd.toml"
        config.write_text(f"""version = 2
root = "{self.folder}/containerd/root"
state = "{self.folder}/containerd/state"
[grpc]
  address = "{self._socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # without CAP_SYS_RESOURCE runc cannot lower oom_score_adj ("can't get final child's PID from pipe: EOF")
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{self.folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
""")
        (self.folder / "cni").mkdir(exist_ok=True)
        ranges = {"ranges": [[{"subnet": POD_NET}]], "routes": [{"dst": "0.0.0.0/0"}]}
        ipam = {"type": "host-local", "dataDir": f"{self.folder}/cni-ipam", **ranges}
        bridge = {"type": "bridge", "bridge": POD_BRIDGE, "isGateway": True, "hairpinMode": True, "ipMasq": False}
        network = {"cniVersion": "0.4.0", "name": _NETWORK, "plugins": [{**bridge, "ipam": ipam}]}
        (self.folder / "cni/10-pods.conflist").write_text(json.dumps(network))
        processes = self.plane.processes
        processes.start("containerd", "containerd", "--config", config, env=self._path())
        processes.wait("containerd", lambda: works("ctr", "-a", self._socket, "version"), 30, ("containerd",))
        present = self.images()
        for name, entrypoint in (("pause", "/pause"), ("coredns", "/coredns")):
            image = f"localhost/{name}:1"
            if image not in present:
                out = self.folder / "image.tar"
                images.archive(out, image, images.layer_of({name: tools.find(name)}), {"Entrypoint": [entrypoint]})
                self.load(out)
                out.unlink()

    def _start_kubelet(self) -> None:
        pki = self.plane.pki
        cgroup2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": cgroup2,
            "failSwapOn": False,
            "oomScoreAdj": 0,  # lowering it needs CAP_SYS_RESOURCE
            "makeIPTablesUtilChains": False,
            "address": NODE_IP,
            "healthzPort": 0,
            "podLogsDir": f"{self.folder}/pod-logs",
            "clusterDNS": [DNS_IP],
            "clusterDomain": "cluster.local",
            "resolvConf": "/etc/resolv.conf",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki.path("ca.crt"))},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki.path("kubelet-server.crt")),
            "tlsPrivateKeyFile": str(pki.path("kubelet-server.key")),
            "imageGCHighThresholdPercent": 100,  # images are loaded by hand: never collect them
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        }
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
        for name, document in (("kubelet", kubelet), ("kube-proxy", proxy)):
            (self.folder / f"{name}.yaml").write_text(json.dumps(document, indent=1))
        processes = self.plane.processes
        processes.start(
            "kubelet",
            tools.find("kubelet"),
            *("--config", self.folder / "kubelet.yaml", "--kubeconfig", self.folder / "kubelet.kubeconfig"),
            *("--root-dir", self.folder / "kubelet", "--cert-dir", self.folder / "kubelet/pki"),
            *("--hostname-override", NODE, "--node-ip", NODE_IP),
            env=self._path(),
        )
        processes.start(
            "kube-proxy",
            tools.find("kube-proxy"),
            *("--config", self.folder / "kube-proxy.yaml", "--hostname-override", NODE),
            env=self._path(),
        )

    def _wait_ready(self) -> None:
        self.plane.kubectl("apply", "-f", tools.HERE / "coredns.yaml")
        alive = ("containerd", "kubelet", "kube-proxy")
        wait = self.plane.processes.wait
        wait("node ready", lambda: "True" in self.plane.kubectl("get", "nodes", _READY), 90, alive)
        dns = ("-n", "kube-system", "get", "deployment", "coredns", "-o=jsonpath={.status.availableReplicas}")
        wait("CoreDNS available", lambda: self.plane.kubectl(*dns) == "1", 90, alive)

    def _remove_containers(self) -> None:
        """Containers and their shims outlive containerd; some of what they use lies outside the node's folder."""
        while shims := lifetime.processes_naming(self._socket):
            for shim in shims:
                lifetime.kill([*lifetime.descendants(shim), shim])
            time.sleep(0.02)
        for bundle in (self.folder / "containerd/state/io.containerd.runtime.v2.task/k8s.io").glob("*"):
            spec = json.loads((bundle / "config.json").read_text())
            paths = [space.get("path", "") for space in spec["linux"]["namespaces"] if space["type"] == "network"]
            for path in paths:
                if "/netns/" in path:  # the pods' veth pairs go with their namespaces
                    works("ip", "netns", "delete", Path(path).name)
            for file in Path("/var/lib/cni/results").glob(f"*-{bundle.name}-*"):  # libcni's cache
                file.unlink()
            shutil.rmtree(Path("/run/containerd/runc/k8s.io") / bundle.name, ignore_errors=True)
            address = bundle / "address"
            if address.exists():
                Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)

    def _network_up(self) -> None:
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            sh("ip", "link", "add", BRIDGE, "type", "bridge")
        sh("ip", "addr", "replace", f"{NODE_IP}/32", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        for key in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
            setting = Path(f"/proc/sys/{key}")
            if setting.exists() and setting.read_text().strip() != "1":
                setting.write_text("1")

    def _network_down(self) -> None:
        for family in ("ip", "ip6"):  # tables that hold all rules of kube-proxy, and nothing else
            works("nft", "delete", "table", family, "kube-proxy")
        for link in (BRIDGE, POD_BRIDGE):
            works("ip", "link", "delete", link)
        for root in Path("/sys/fs/cgroup").glob("**/kubepods"):
            for folder, _, _ in os.walk(root, topdown=False):
                subprocess.run(["rmdir", folder], stderr=subprocess.DEVNULL, check=False)  # one in use stays
        for file in Path("/var/log/containers").glob("*.log"):  # the kubelet's links into pod-logs
            if file.readlink().is_relative_to(self.folder):
                file.unlink()
        shutil.rmtree(self.folder / "cni-ipam", ignore_errors=True)  # else addresses of dead pods stay taken

    def _ctr(self, *words: object) -> str:
        return sh("ctr", "-a", self._socket, "-n", "k8s.io", *words)

    @staticmethod
    def _path() -> dict[str, str]:
        """Debian keeps iptables, nft and conntrack in /usr/sbin, which a user's PATH may lack."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
