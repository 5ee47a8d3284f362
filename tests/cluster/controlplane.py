"""etcd, kube-apiserver, kube-controller-manager, and a scheduler when there are nodes: real, as plain processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cluster import tools
from tests.cluster.pki import Pki
from tests.cluster.processes import Processes, free_ports, sh, works

SERVICE_NET, API_SERVICE_IP = "10.253.0.0/16", "10.253.0.1"
# the default client limits (20 and 50 requests a second) make a 200-pod Job take half a minute
_FAST = ["--leader-elect=false", "--secure-port=0", "--kube-api-qps=300", "--kube-api-burst=600"]


class ControlPlane:
    """The control plane in `folder`, serving on `address`; on the loopback any number run side by side.

    It ends with this Python unless it is `detached`.
    """

    def __init__(
        self, folder: Path, address: str = "127.0.0.1", port: int | None = None, *, detached: bool = False
    ) -> None:
        self.folder = folder
        self.address = address
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # containers read below it
        self.processes = Processes(folder, detached=detached)
        self.pki = Pki(folder / "pki")
        self.kubeconfig = folder / "kubeconfig"
        self._ports = self._stable_ports(port)

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self._ports['api']}"

    def kubectl(self, *words: object, **more: object) -> str:
        return sh(tools.find("kubectl"), "--kubeconfig", self.kubeconfig, *words, **more)

    def up(
        self,
        *,
        scheduler: bool = False,
        apiserver_flags: tuple[object, ...] = (),
        controller_flags: tuple[object, ...] = (),
        scheduler_flags: tuple[object, ...] = (),
    ) -> None:
        """Start what does not run."""
        names = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"] + ["kube-scheduler"] * scheduler
        programs = tools.find_all(names)
        self._certificates()
        self._start_etcd(programs["etcd"])
        self._start_apiserver(programs["kube-apiserver"], apiserver_flags)
        kubectl = [programs["kubectl"], "--kubeconfig", self.kubeconfig]
        alive = ("etcd", "kube-apiserver")
        self.processes.wait("API server ready", lambda: works(*kubectl, "get", "--raw=/readyz"), 90, alive)
        self.processes.start(
            "kube-controller-manager",
            programs["kube-controller-manager"],
            "--kubeconfig",
            self.folder / "kube-controller-manager.kubeconfig",
            "--use-service-account-credentials",
            "--service-account-private-key-file",
            self.pki.path("sa.key"),
            "--root-ca-file",
            self.pki.path("ca.crt"),
            *_FAST,
            *controller_flags,
        )
        if scheduler:
            config = self.folder / "kube-scheduler.kubeconfig"
            self.processes.start(
                "kube-scheduler", programs["kube-scheduler"], "--kubeconfig", config, *_FAST, *scheduler_flags
            )
        account = [*kubectl, "get", "serviceaccount", "default"]
        self.processes.wait("default service account", lambda: works(*account), 60, ("kube-controller-manager",))

    def down(self, *, delete: bool = True) -> None:
        """Stop what `up` started."""
        for name in ("kwok", "pod-logs", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self.processes.stop(name)
        if delete:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _certificates(self) -> None:
        names = [f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        addresses = f"IP:127.0.0.1,IP:{self.address},IP:{API_SERVICE_IP},DNS:localhost"
        self.pki.certificate("ca", "CN=cluster-ca")
        self.pki.certificate("apiserver", "CN=kube-apiserver", ",".join([addresses, *names]), "serverAuth")
        self.pki.certificate("admin", "O=system:masters,CN=admin")
        self.pki.kubeconfig(self.kubeconfig, "admin", self.server)
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.pki.certificate(name, f"CN=system:{name}")
            self.pki.kubeconfig(self.folder / f"{name}.kubeconfig", name, self.server)
        self.pki.service_account_key()

    def _start_etcd(self, program: Path) -> None:
        client, peer = (f"http://127.0.0.1:{self._ports[name]}" for name in ("etcd", "peer"))
        self.processes.start(
            "etcd",
            program,
            "--data-dir",
            self.folder / "etcd",
            "--unsafe-no-fsync",  # this cluster is thrown away
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"default={peer}",
            ),
        )

    def _start_apiserver(self, program: Path, apiserver_flags: tuple[object, ...]) -> None:
        loopback = ["--endpoint-reconciler-type=none"] if self.address == "127.0.0.1" else []
        self.processes.start(
            "kube-apiserver",
            program,
            *("--etcd-servers", f"http://127.0.0.1:{self._ports['etcd']}"),
            *("--bind-address", self.address, "--secure-port", self._ports["api"], "--advertise-address", self.address),
            *(
                "--tls-cert-file",
                self.pki.path("apiserver.crt"),
                "--tls-private-key-file",
                self.pki.path("apiserver.key"),
            ),
            *("--client-ca-file", self.pki.path("ca.crt"), "--service-account-key-file", self.pki.path("sa.pub")),
            *("--service-account-signing-key-file", self.pki.path("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            *("--service-cluster-ip-range", SERVICE_NET, "--authorization-mode=Node,RBAC"),
            *("--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false"),
            *loopback,
            *apiserver_flags,
        )

    def _stable_ports(self, api: int | None) -> dict[str, int]:
        """Chosen once, so that a cluster that was stopped comes back where it was."""
        file = self.folder / "ports.json"
        if not file.exists():
            names = ("etcd", "peer", "api", "kwok", "logs")
            ports = dict(zip(names, free_ports(len(names)), strict=True))
            file.write_text(json.dumps({**ports, **({"api": api} if api else {})}))
        ports = json.loads(file.read_text())
        return {name: int(port) for name, port in ports.items()}

    @property
    def kwok_port(self) -> int:
        return self._ports["kwok"]

    @property
    def logs_port(self) -> int:
        return self._ports["logs"]
