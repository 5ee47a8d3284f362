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

__all__ = [
    "ALL",
    "FOR_TEST",
    "HERE",
    "KUBERNETES",
    "build",
    "cache",
    "find",
    "find_all",
    "kubernetes_minor",
    "kubernetes_version",
]

HERE = Path(__file__).resolve().parent
_OTHER_VERSION = "PODIUM_TEST_KUBERNETES"  # a minor version such as 1.29 that has a module go/kube-1.29
_BUILD_GB = 7  # two of modules, four of the build cache, one of programs
_DOWNLOAD_TRIES = 3
_DOWNLOAD_FAILED = re.compile(r"dial tcp|connection re(set|fused)|i/o timeout|TLS handshake|unexpected EOF|: 5\d\d ")
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy")
_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")  # the programs of `_OTHER_VERSION`
_PACKAGES = {name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES} | {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "coredns": "github.com/coredns/coredns",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "kueue": "sigs.k8s.io/kueue/cmd/kueue",
}
_MODULES = dict.fromkeys((*KUBERNETES, "pause"), "kube") | {"kueue": "kueue", "kueue-chart": "kueue"}  # else tools
ALL = (*_PACKAGES, "pause", "kwok-stages", "kueue-chart")
FOR_TEST = (  # what `make test` uses
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
    *("etcd", "kwok", "kwok-stages", "versitygw", "helm"),
)
# Oldest version that is taken from PATH. The parts of the control plane have to match.
_MINIMUM = {"kubectl": "1.30", "etcd": "3.5", "helm": "4.0"}


def kubernetes_version() -> str:
    """Of the control plane, such as ``v1.37.2``: what `make tools` builds, else what $PODIUM_TEST_KUBERNETES names."""
    return _version_in(_module_of("kube-apiserver"))


def kubernetes_minor() -> int:
    """Of `kubernetes_version`, such as 37."""
    return _numbers(kubernetes_version())[1]


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
    return {name: _installed(name) or _folder(name) / name for name in names}


def build(names: Sequence[str]) -> None:
    """Build the programs that are missing, with a line of progress. After an interruption it goes on where it was.

    Raises:
        ClusterError: one cannot be built; the text says why.
    """
    if not _missing(names):
        return
    folder = cache() / "tools"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", waiting=f"another build in {folder} is running: waiting for it"):
            missing = _missing(names)
            started = time.monotonic()
            for number, name in enumerate(missing, 1):
                _build(name, f"building {name} ({number} of {len(missing)})")
            progress.report(f"built {len(missing)} programs in {time.monotonic() - started:.0f} s: {folder}", end=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full() from None
        raise


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in names if not _installed(name) and not (_folder(name) / name).exists()]


def _module_of(name: str) -> str:
    """The folder in go/ whose go.mod a program is built from."""
    other = os.environ.get(_OTHER_VERSION)
    if not other or name not in _PLANE:
        return _MODULES.get(name, "tools")
    if not (HERE / f"go/kube-{other}").is_dir():
        known = ", ".join(sorted(folder.name.removeprefix("kube-") for folder in (HERE / "go").glob("kube-*")))
        raise ClusterError(f"{_OTHER_VERSION}={other}: choose one of {known}, or leave it out")
    return f"kube-{other}"


@functools.cache
def _version_in(module: str) -> str:
    match = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "go" / module / "go.mod").read_text())
    return match[1] if match else ""


def _folder(name: str) -> Path:
    return _folder_of(_module_of(name))


def _folder_of(module: str) -> Path:
    return cache() / "tools" / f"{module}-{_digest_of(module)}"


@functools.cache
def _digest_of(module: str) -> str:
    digest = hashlib.sha256()
    for file in ("go.mod", "go.sum"):
        digest.update((HERE / "go" / module / file).read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _installed(name: str) -> Path | None:
    """A program that is there already. The parts of Kubernetes have to match, so that each has the minor built here."""
    if name in _PLANE and os.environ.get(_OTHER_VERSION):
        return None
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    there = shutil.which(name)
    minimum = _MINIMUM.get(name) or (_version_in("kube") if name in KUBERNETES else "")
    if there is None or not minimum:
        return None
    words = {"kubectl": ["version", "--client"], "helm": ["version"]}.get(name, ["--version"])
    version = subprocess.run([there, *words], capture_output=True, text=True, check=False).stdout
    return Path(there) if _numbers(version) >= _numbers(minimum) else None


def _numbers(text: str) -> tuple[int, int]:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(name: str, what: str) -> None:
    """Build one program into its folder; there it is whole or absent."""
    folder = _folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    module = HERE / "go" / _module_of(name)
    if name == "pause":  # the program of sandbox containers is C, in the same module
        code = _sources(module, "k8s.io/kubernetes", what) / "build/pause/linux/pause.c"
        sh("gcc", "-Os", "-static", f'-DVERSION="{_version_in("kube")}"', "-o", partial, code)
    elif name == "kwok-stages":  # kwok simulates nothing without Stage objects; its module ships them
        stages = _sources(module, "sigs.k8s.io/kwok", what) / "kustomize/stage"
        files = [stages / "node/fast/node-initialize.yaml"]
        files += [stages / f"pod/fast/pod-{stage}.yaml" for stage in ("ready", "complete", "delete")]
        partial.write_text("\n---\n".join(file.read_text() for file in files))
    elif name == "kueue-chart":
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(_sources(module, "sigs.k8s.io/kueue", what) / "charts/kueue", partial)
    else:
        _go(module, ["build", "-trimpath", "-buildvcs=false", f"-ldflags=-s -w {_stamps(module)}", "-o", str(partial),
                     _PACKAGES[name]], what)  # fmt: skip
    partial.rename(folder / name)


def _stamps(module: Path) -> str:
    """Linker flags that give the parts of Kubernetes their version."""
    version = _version_in(module.name)
    major, minor = _numbers(version)
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in facts.items() if version)


def _sources(source: Path, path: str, what: str) -> Path:
    _go(source, ["mod", "download", path], what)
    return Path(sh(go(), "list", "-m", "-f", "{{.Dir}}", path, cwd=source, env=environment()).strip())


def _go(source: Path, words: list[str], what: str) -> None:
    """Run Go; a download that the network interrupts is tried again. Go keeps what it has compiled and downloaded."""
    log = cache() / f"{source.name}-build.log"
    temporary = cache() / "tools/.go-tmp"  # of several GB; on the disk of the cache, for /tmp may be small
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
