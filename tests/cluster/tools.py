"""Where the programs come from: an installation that is named, PATH, or built once from Go modules and cached.

The cache lies outside the tree (``$PODIUM_CACHE``, else ``$XDG_CACHE_HOME/podium``, else ``~/.cache/podium``), its
folders keyed by what is built: a second run builds nothing.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster.golang import cache, environment, go
from tests.cluster.processes import MissingPartError, locked, sh

__all__ = ["ALL", "HERE", "KUBERNETES", "VERSION", "cache", "ensure", "find", "find_all"]

HERE = Path(__file__).resolve().parent
VERSION = "v1.37.2"  # of k8s.io/kubernetes in go/kube/go.mod
_HEARTBEAT_SECONDS = 20.0
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
# One of PATH is good enough from this version on. The parts of the control plane have to fit each other.
_GOOD_ENOUGH = {name: VERSION.removeprefix("v").rpartition(".")[0] for name in KUBERNETES} | {
    "kubectl": "1.30",
    "etcd": "3.5",
    "helm": "4.0",
}


def find(name: str) -> Path:
    """A program: of ``KUBEBUILDER_ASSETS``, of PATH when it is new enough, of the cache, or built now."""
    return find_all([name])[name]


def find_all(names: Sequence[str]) -> dict[str, Path]:
    """Programs by name; what has to be built is built at once."""
    found = {name: path for name in names if (path := _installed(name))}
    return found | ensure([name for name in names if name not in found])


def ensure(names: Sequence[str]) -> dict[str, Path]:
    """Programs of the cache by name; those that are missing are built, with a line of progress."""
    folder = cache() / "tools" / _key()
    if any(not (folder / name).exists() for name in names):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            _build([name for name in names if not (folder / name).exists()], folder)
    return {name: folder / name for name in names}


@functools.cache
def _installed(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    there = shutil.which(name)
    if there is None or name not in _GOOD_ENOUGH:
        return None
    words = {"kubectl": ["version", "--client"], "helm": ["version"]}.get(name, ["--version"])
    told = subprocess.run([there, *words], capture_output=True, text=True, check=False).stdout
    return Path(there) if _numbers(told) >= _numbers(_GOOD_ENOUGH[name]) else None


def _numbers(text: str) -> tuple[int, int]:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _key() -> str:
    digest = hashlib.sha256(VERSION.encode())
    for file in sorted((HERE / "go").glob("*/go.*")):
        digest.update(file.read_bytes())
    return f"{VERSION}-{digest.hexdigest()[:12]}"


def _build(names: list[str], folder: Path) -> None:
    for module in ("kube", "tools"):
        programs = [name for name in names if name in _PACKAGES and (name in KUBERNETES) == (module == "kube")]
        if programs:
            _build_programs(programs, HERE / "go" / module, folder)
    for name in names:
        if name in _DERIVED:
            partial = folder / f".{name}.partial"
            _make_derived(name, HERE / "go" / _DERIVED[name], partial)
            partial.rename(folder / name)


def _build_programs(names: list[str], source: Path, folder: Path) -> None:
    """One `go build` for all: it compiles what they share once and links two at a time."""
    major, minor = _numbers(VERSION)
    facts = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in facts.items())
    partial = folder / f".{source.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {stamps}", "-o", f"{partial}/"]

    def what() -> str:
        return f"building {', '.join(names)} ({len(list(partial.iterdir()))} of {len(names)} done; cached afterwards)"

    _go(source, ["build", *flags, *(_PACKAGES[name] for name in names)], what)
    for name in names:
        built = partial / ("server" if name == "etcd" else name)  # go names a program after the end of its package
        built.rename(folder / name)
    partial.rmdir()


def _make_derived(name: str, source: Path, out: Path) -> None:
    if name == "pause":  # the program of sandbox containers is C, in the same module
        code = _module(source, "k8s.io/kubernetes") / "build/pause/linux/pause.c"
        sh("gcc", "-Os", "-static", f'-DVERSION="{VERSION}"', "-o", out, code)
    else:  # kwok simulates nothing without Stage objects; its module ships them
        stages = _module(source, "sigs.k8s.io/kwok") / "kustomize/stage"
        files = [stages / "node/fast/node-initialize.yaml"]
        files += [stages / f"pod/fast/pod-{stage}.yaml" for stage in ("ready", "complete", "delete")]
        out.write_text("\n---\n".join(file.read_text() for file in files))


def _module(source: Path, path: str) -> Path:
    _go(source, ["mod", "download", path], lambda: f"downloading {path}")
    return Path(sh(go(), "list", "-m", "-f", "{{.Dir}}", path, cwd=source, env=environment()).strip())


def _go(source: Path, words: list[str], what: Callable[[], str]) -> None:
    """Run Go, telling every now and then what it does and for how long."""
    log = cache() / f"{source.name}-build.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen([go(), *words], cwd=source, env=environment(), stdout=output, stderr=output)
        while True:
            try:
                process.wait(timeout=1 if sys.stderr.isatty() else _HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                _tell(f"{what()}: {time.monotonic() - started:.0f} s")
            except BaseException:  # a person who gives up must not leave a compiler behind
                process.terminate()
                raise
    if process.returncode:
        raise MissingPartError(f"{what()} failed:\n{log.read_text(errors='replace')[-3000:]}")
    if time.monotonic() - started > 1:
        _tell(f"{what()}: {time.monotonic() - started:.0f} s", end=True)


def _tell(text: str, *, end: bool = False) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\n" if end else "", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)
