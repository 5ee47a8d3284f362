"""Where the programs come from: a named installation, PATH, or the cache, which `make tools` fills from Go modules.

The cache lies outside the tree (``$PODIUM_CACHE``, else ``$XDG_CACHE_HOME/podium``, else ``~/.cache/podium``). Its
folders are keyed by what is built, so a second run builds nothing. Tests only look: nothing is built inside pytest.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import progress
from tests.cluster.golang import cache, environment, go
from tests.cluster.processes import ClusterError, NotBuiltError, locked, sh

__all__ = ["ALL", "FOR_TEST", "HERE", "KUBERNETES", "VERSION", "build", "cache", "find", "find_all"]

HERE = Path(__file__).resolve().parent
VERSION = "v1.37.2"  # of k8s.io/kubernetes in go/kube/go.mod
_BUILD_GB = 7  # two of modules, four of the build cache, one of programs
_DOWNLOAD_TRIES = 3
_DOWNLOAD_FAILED = re.compile(r"dial tcp|connection re(set|fused)|i/o timeout|TLS handshake|unexpected EOF|: 5\d\d ")
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy")
_PACKAGES = {name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES} | {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "coredns": "github.com/coredns/coredns",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
_DERIVED = {"pause": "kube", "kwok-stages": "tools"}  # not Go: made of files of a Go module
ALL = (*_PACKAGES, *_DERIVED)
FOR_TEST = (  # what `make test` uses
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
    *("etcd", "kwok", "kwok-stages", "versitygw", "helm"),
)
# Oldest version that is taken from PATH. The parts of the control plane have to match.
_MINIMUM = {name: VERSION.removeprefix("v").rpartition(".")[0] for name in KUBERNETES} | {
    "kubectl": "1.30",
    "etcd": "3.5",
    "helm": "4.0",
}


def find(name: str) -> Path:
    """A program: of ``KUBEBUILDER_ASSETS``, of PATH when it is new enough, or of the cache.

    Raises:
        NotBuiltError: it is in none of them; the text names the command that builds it.
    """
    return find_all([name])[name]


def find_all(names: Sequence[str]) -> dict[str, Path]:
    """Programs by name, as `find` finds them."""
    if missing := _missing(names):
        command = "make tools" if set(missing) <= set(FOR_TEST) else "make tools-e2e"
        raise NotBuiltError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not built: run {command}")
    return {name: _installed(name) or _folder() / name for name in names}


def build(names: Sequence[str]) -> None:
    """Build the programs that are missing, with a line of progress. After an interruption it goes on where it was.

    Raises:
        ClusterError: one cannot be built; the text says why.
    """
    if not _missing(names):
        return
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", waiting=f"another build in {folder} is running: waiting for it"):
            missing = _missing(names)
            started = time.monotonic()
            for number, name in enumerate(missing, 1):
                _build(name, folder, f"building {name} ({number} of {len(missing)})")
            progress.report(f"built {len(missing)} programs in {time.monotonic() - started:.0f} s: {folder}", end=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full() from None
        raise


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in names if not _installed(name) and not (_folder() / name).exists()]


def _folder() -> Path:
    return cache() / "tools" / _key()


@functools.cache
def _installed(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    there = shutil.which(name)
    if there is None or name not in _MINIMUM:
        return None
    words = {"kubectl": ["version", "--client"], "helm": ["version"]}.get(name, ["--version"])
    version = subprocess.run([there, *words], capture_output=True, text=True, check=False).stdout
    return Path(there) if _numbers(version) >= _numbers(_MINIMUM[name]) else None


def _numbers(text: str) -> tuple[int, int]:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@functools.cache
def _key() -> str:
    digest = hashlib.sha256(VERSION.encode())
    for file in sorted((HERE / "go").glob("*/go.*")):
        digest.update(file.read_bytes())
    return f"{VERSION}-{digest.hexdigest()[:12]}"


def _build(name: str, folder: Path, what: str) -> None:
    """Build one program into the folder; there it is whole or absent."""
    partial = folder / f".{name}.partial"
    module = HERE / "go" / (_DERIVED.get(name) or ("kube" if name in KUBERNETES else "tools"))
    if name == "pause":  # the program of sandbox containers is C, in the same module
        code = _module(module, "k8s.io/kubernetes", what) / "build/pause/linux/pause.c"
        sh("gcc", "-Os", "-static", f'-DVERSION="{VERSION}"', "-o", partial, code)
    elif name == "kwok-stages":  # kwok simulates nothing without Stage objects; its module ships them
        stages = _module(module, "sigs.k8s.io/kwok", what) / "kustomize/stage"
        files = [stages / "node/fast/node-initialize.yaml"]
        files += [stages / f"pod/fast/pod-{stage}.yaml" for stage in ("ready", "complete", "delete")]
        partial.write_text("\n---\n".join(file.read_text() for file in files))
    else:
        _go(module, ["build", "-trimpath", "-buildvcs=false", f"-ldflags=-s -w {_stamps()}", "-o", str(partial),
                     _PACKAGES[name]], what)  # fmt: skip
    partial.rename(folder / name)


def _stamps() -> str:
    """Linker flags that give the parts of Kubernetes their version."""
    major, minor = _numbers(VERSION)
    facts = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in facts.items())


def _module(source: Path, path: str, what: str) -> Path:
    _go(source, ["mod", "download", path], what)
    return Path(sh(go(), "list", "-m", "-f", "{{.Dir}}", path, cwd=source, env=environment()).strip())


def _go(source: Path, words: list[str], what: str) -> None:
    """Run Go; a download that the network interrupts is tried again. Go keeps what it has compiled and downloaded."""
    log = cache() / f"{source.name}-build.log"
    temporary = _folder() / ".go-tmp"  # of several GB; on the disk of the cache, for /tmp may be small
    for left in reversed(range(_DOWNLOAD_TRIES)):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            code = progress.run(
                what, go(), *words, log=log, env={**environment(), "GOTMPDIR": str(temporary)}, cwd=source
            )
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        said = log.read_text(errors="replace")
        if code == 0:
            return
        if "no space left on device" in said:
            raise _disk_full()
        if not (left and _DOWNLOAD_FAILED.search(said)):
            raise ClusterError(f"{what} failed:\n{said[-3000:]}")
        progress.report(f"{what}: a download failed, trying again", end=True)


def _disk_full() -> ClusterError:
    folders = {"the programs": cache()}
    for name, variable in {"Go's build cache": "GOCACHE", "Go's modules": "GOMODCACHE"}.items():
        folders[name] = Path(sh(go(), "env", variable, env=environment()).strip())
    free = [f"{name} in {path}: {shutil.disk_usage(path).free / 1e9:.1f} GB free" for name, path in folders.items()
            if path.exists()]  # fmt: skip
    return ClusterError(
        f"no space left on the disk. Building takes about {_BUILD_GB} GB; set PODIUM_CACHE, GOCACHE or GOMODCACHE to "
        f"folders on another disk. Now: {'; '.join(free)}"
    )
