"""A kubelet with a containerd of its own: one machine of a cluster. Several of them can share this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.cluster import images, lifetime, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import mounts_below, sh, works

BRIDGE, DNS_IP = "podium-node", "10.253.0.10"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # Debian keeps iptables, nft and conntrack in /usr/sbin
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP2 = (_CGROUPS / "cgroup.controllers").exists()
_READY = '-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}'


class Kubelet:
    """Node number `number` (from 1): ``node-1`` with the address 10.254.0.1 and the pods 10.252.0.0/24.

    Every node has its folder, its containerd, its address on one bridge, and a bridge for its pods. This machine
    routes between them, so that pods of different nodes reach each other. The name survives a restart.
    """

    def __init__(self, plane: ControlPlane, folder: Path, number: int = 1) -> None:
        self.name = f"node-{number}"
        self.address = f"10.254.0.{number}"
        self.folder = folder
        self._plane = plane
        self._subnet = f"10.252.{number - 1}.0/24"
        self._pod_bridge = f"podium-pods-{number}"
        self._cgroup = f"/podium-{self.name}"  # apart: a kubelet ends what it does not know below its cgroup
        self._socket = folder / "containerd.sock"
        self._kubelet, self._containerd = f"kubelet-{number}", f"containerd-{number}"

    @property
    def processes(self) -> tuple[str, str]:
        """Names of its processes among those of the control plane."""
        return self._kubelet, self._containerd

    def up(self) -> None:
        """Start what does not run. The node is not Ready yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._plane.pki.certificate(
            f"{self.name}-server", f"CN={self.name}", f"IP:{self.address},DNS:{self.name}", "serverAuth"
        )
        self._plane.pki.certificate(self.name, f"O=system:nodes,CN=system:node:{self.name}")
        self._plane.pki.kubeconfig(self.folder / "kubelet.kubeconfig", self.name, self._plane.server)
        sh("ip", "addr", "replace", f"{self.address}/32", "dev", BRIDGE)
        self._start_containerd()
        (self.folder / "kubelet.yaml").write_text(json.dumps(self._configuration(), indent=1))
        self.start()

    def start(self) -> None:
        """Start the kubelet alone, after `kill`."""
        self._plane.processes.start(
            self._kubelet,
            tools.find("kubelet"),
            *("--config", self.folder / "kubelet.yaml", "--kubeconfig", self.folder / "kubelet.kubeconfig"),
            *("--root-dir", self.folder / "kubelet", "--cert-dir", self.folder / "kubelet/pki"),
            *("--hostname-override", self.name, "--node-ip", self.address),
            env=PATH,
        )

    def kill(self) -> None:
        """End the kubelet alone: the node no longer answers, its containers go on, as when its network fails."""
        self._plane.processes.stop(self._kubelet)

    def wait_ready(self) -> None:
        def ready() -> bool:
            return self._plane.kubectl("get", "nodes", self.name, "--ignore-not-found", _READY) == "True"

        self._plane.processes.wait(f"{self.name} ready", ready, 90, self.processes)

    def load(self, archive: Path) -> None:
        """Import a docker or OCI archive unless its image is there."""
        self._ctr("images", "import", archive)

    def images(self) -> list[str]:
        return self._ctr("images", "list", "-q").split()

    def down(self) -> None:
        """Stop it and what it runs. Traces on the network are left to `Node.down`."""
        for name in self.processes:  # the kubelet first, or it would restart what is ended below
            self._plane.processes.stop(name)
        self._remove_containers()
        for mount in mounts_below(self.folder):
            works("umount", mount)

    def remove_network(self) -> None:
        works("ip", "link", "delete", self._pod_bridge)
        for top in _cgroup_roots():
            for folder, _, _ in os.walk(top / self._cgroup[1:], topdown=False):
                subprocess.run(["rmdir", folder], stderr=subprocess.DEVNULL, check=False)  # one in use stays
        shutil.rmtree(self.folder / "cni-ipam", ignore_errors=True)  # else addresses of dead pods stay taken

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
        ranges = {"ranges": [[{"subnet": self._subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
        ipam = {"type": "host-local", "dataDir": f"{self.folder}/cni-ipam", **ranges}
        bridge = {"type": "bridge", "bridge": self._pod_bridge, "isGateway": True, "hairpinMode": True, "ipMasq": False}
        network = {"cniVersion": "0.4.0", "name": f"podium-{self.name}", "plugins": [{**bridge, "ipam": ipam}]}
        (self.folder / "cni/10-pods.conflist").write_text(json.dumps(network))
        processes = self._plane.processes
        processes.start(self._containerd, "containerd", "--config", config, env=PATH)
        responds = lambda: works("ctr", "-a", self._socket, "version")  # noqa: E731
        processes.wait(self._containerd, responds, 30, (self._containerd,))
        present = self.images()
        for name, entrypoint in (("pause", "/pause"), ("coredns", "/coredns")):
            image = f"localhost/{name}:1"
            if image not in present:
                out = self.folder / "image.tar"
                images.archive(out, image, images.layer_of({name: tools.find(name)}), {"Entrypoint": [entrypoint]})
                self.load(out)
                out.unlink()

    def _configuration(self) -> dict[str, object]:
        for top in _cgroup_roots():
            (top / self._cgroup[1:]).mkdir(exist_ok=True)
        pki = self._plane.pki
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self._cgroup,
            "failCgroupV1": _CGROUP2,
            "failSwapOn": False,
            "oomScoreAdj": 0,  # lowering it needs CAP_SYS_RESOURCE
            "makeIPTablesUtilChains": False,
            "nodeLeaseDurationSeconds": 16,  # a sign of life every 4 s, for tests that lose a node
            "containerLogMaxSize": "10Mi",
            "address": self.address,
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
            "tlsCertFile": str(pki.path(f"{self.name}-server.crt")),
            "tlsPrivateKeyFile": str(pki.path(f"{self.name}-server.key")),
            "imageGCHighThresholdPercent": 100,  # images are loaded by hand: never collect them
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        }

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

    def _ctr(self, *words: object) -> str:
        return sh("ctr", "-a", self._socket, "-n", "k8s.io", *words)


def _cgroup_roots() -> list[Path]:
    """The one hierarchy of cgroup v2, or each controller's of v1."""
    return [_CGROUPS] if _CGROUP2 else [top for top in _CGROUPS.iterdir() if top.is_dir() and not top.is_symlink()]
