"""Parts around a cluster: an S3 server, a Prometheus, the operator as a process. All on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.cluster import leftovers, lifetime, tools
from tests.cluster.pki import Pki
from tests.cluster.processes import MissingPartError, Processes, free_ports, sh

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS_KEY, SECRET_KEY, REGION = "testkey", "testsecret", "us-east-1"
DISK_BYTES = 64 << 20


class S3:
    """versitygw on a folder: real signatures, checksums and conditional puts. Where root runs it, on a small disk.

    It speaks https with a certificate of a throw-away authority, whose file is in `environment`.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", port: int | None = None) -> None:
        self.folder = folder
        self._listen = f"{address}:{port or free_ports(1, address)[0]}"
        self.endpoint = f"https://{self._listen}"
        self._address = address
        self._pki = Pki(folder / "pki")
        self.ca = folder / "public" / "ca.crt"  # alone in a folder that pods of any user may mount
        self._processes = Processes(folder / "process")
        self.objects = folder / "objects"
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_CA_BUNDLE": str(self.ca),
        }

    def client(self, **options: Any) -> S3Client:
        """A client of boto3, past Podium."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            verify=str(self.ca),
            **options,
        )

    def start(self) -> None:
        self._start()

    def _start(self, *options: str) -> None:
        self.objects.mkdir(parents=True, exist_ok=True)
        self._processes.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0 and not self.objects.is_mount():
            sh("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", leftovers.disk_name(), self.objects)
        self._pki.certificate("ca", "CN=throw-away")
        self._pki.certificate("s3", "CN=s3", san=f"IP:{self._address}", usage="serverAuth")
        self.ca.parent.mkdir(exist_ok=True)
        shutil.copyfile(self._pki.path("ca.crt"), self.ca)
        credentials = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        tls = ("--cert", self._pki.path("s3.crt"), "--key", self._pki.path("s3.key"))
        words = ("--port", self._listen, "--region", REGION, *tls, *options, "posix", self.objects)
        self._processes.start("versitygw", tools.find("versitygw"), *words, env=credentials)
        self._processes.wait("S3", lambda: answers(self.endpoint, self.ca), 20, ("versitygw",))

    def stop(self) -> None:
        """An outage; `start` ends it, and every object is there again."""
        self._processes.stop("versitygw")

    def remove(self) -> None:
        """Stop for good: the objects go."""
        self.stop()
        if self.objects.is_mount():
            sh("umount", "--lazy", self.objects)  # its last thread may still hold files

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Every write is denied, every read works."""
        self.stop()
        self._start("--readonly")
        try:
            yield
        finally:
            self.stop()
            self.start()

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No room for another byte: every put fails, every read works. Needs the small disk, so root."""
        if not self.objects.is_mount():
            raise MissingPartError("a full store needs a separate disk: run as root")
        ballast = self.objects / ".ballast"  # beside the buckets, no bucket itself
        try:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:  # until no space is left on device
                    file.write(bytes(1 << 16))
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def bucket(self, name: str) -> str:
        """The URL of a bucket."""
        (self.objects / name).mkdir(parents=True, exist_ok=True)
        return f"s3://{name}"


class Prometheus:
    """Debian's Prometheus on a free port, scraping its targets (itself by default) every second."""

    def __init__(self, folder: Path, *targets: str, rules: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._address = f"127.0.0.1:{free_ports(1)[0]}"
        self.url = f"http://{self._address}"
        self._targets = list(targets) or [self._address]
        self._rules = [str(file.resolve()) for file in rules]
        self._processes = Processes(folder)

    def start(self) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise MissingPartError("prometheus is missing; run: apt-get install prometheus")
        self._folder.mkdir(parents=True, exist_ok=True)
        scrape = {"job_name": "podium", "honor_labels": True, "static_configs": [{"targets": self._targets}]}
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config = {"global": every, "scrape_configs": [scrape], "rule_files": self._rules}
        (self._folder / "prometheus.yaml").write_text(json.dumps(config))
        self._processes.start(
            "prometheus",
            program,
            *(f"--config.file={self._folder}/prometheus.yaml", f"--storage.tsdb.path={self._folder}/data"),
            f"--web.listen-address={self._address}",
        )
        self._processes.wait("Prometheus", lambda: answers(f"{self.url}/-/ready"), 30, ("prometheus",))

    def stop(self) -> None:
        self._processes.stop("prometheus")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        result: list[dict[str, Any]] = self.get(f"query?{urllib.parse.urlencode({'query': expression})}")["result"]
        return result

    def get(self, path: str) -> dict[str, Any]:
        """The answer of the HTTP API: ``alerts``, ``rules``, ``targets``, ``query_range?...``."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as response:
            data: dict[str, Any] = json.load(response)["data"]
            return data


class Operator:
    """``podium operator`` as a process of this machine, to be killed and started again."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        options: Sequence[str],
        environment: dict[str, str],
        port: int | None = None,
    ) -> None:
        port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "operator.log"
        self._command = [sys.executable, "-m", "podium", "operator", "--listen", f"127.0.0.1:{port}", *options]
        self._environment = {**os.environ, **environment, "KUBECONFIG": str(kubeconfig)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=log,
                stderr=log,
                preexec_fn=lifetime.die_with_parent(),  # noqa: PLW1509 - it takes no lock
            )
        until(lambda: answers(f"{self.url}/healthz"), 90, f"the operator answers; its log: {self.log}")

    def kill(self) -> None:
        """SIGKILL: it cannot clean up."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int | None:
        """SIGTERM, as a kubelet sends it. Returns the exit status."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def redirect(self, url: str, other: str) -> None:
        """Replace a URL among its options, for the next start."""
        self._command = [other if word == url else word for word in self._command]

    def restart(self) -> None:
        """Start it again if it has ended, as a kubelet does."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            return response.read().decode()


def answers(url: str, ca: Path | None = None) -> bool:
    """Whether an HTTP server answers, with whatever status but 503: it is still starting."""
    trust = ssl.create_default_context(cafile=ca) if ca else None
    try:
        with contextlib.closing(urllib.request.urlopen(url, timeout=2, context=trust)):
            return True
    except urllib.error.HTTPError as error:
        return error.code != 503
    except OSError:
        return False


def until(check: Callable[[], Any], seconds: float, what: str, every: float = 0.2) -> Any:
    """The first true value of `check`; an AssertionError that names `what` was waited for."""
    end = time.monotonic() + seconds
    while True:
        if value := check():
            return value
        assert time.monotonic() < end, f"timed out after {seconds:.0f} s waiting until {what}"
        time.sleep(every)
