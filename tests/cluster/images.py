"""Container images without a registry: a Debian with Python, without an image tool; the operator's, by ``make images``."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import progress, tools
from tests.cluster.processes import ClusterError, MissingPartError, NotBuiltError, locked, mounts_below, sh

ROOT = Path(__file__).resolve().parents[2]
TRAINER = "localhost/podium/trainer:e2e"
OPERATOR = "localhost/podium-operator:e2e"
FULL_TRAINER = "localhost/podium-trainer:e2e"  # with everything in it, unlike TRAINER
_PACKAGES = {"operator": "operator", "trainer": "benchmarks"}  # folders of the sources
_NAMES = {"operator": OPERATOR, "trainer": FULL_TRAINER}
_BASES = {  # name of the Debian below, and its packages
    "operator": (TRAINER,),
    "trainer": ("localhost/podium/compiler:e2e", "gcc", "libc6-dev", "python3-dev"),
}
_KEPT = 2  # images of earlier states; another checkout may use them
_ROOTFS = ROOT / "images/base/rootfs"


def archive(out: Path, name: str, layer: bytes, config: Mapping[str, object]) -> None:
    """A docker archive of one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    document = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tests/cluster/images.py"}],  # buildah wants one for each layer
    }
    body = json.dumps(document).encode()
    body_name = hashlib.sha256(body).hexdigest() + ".json"
    manifest = json.dumps([{"Config": body_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]).encode()
    with tarfile.open(out, "w") as tar:
        for path, data in ((body_name, body), (f"{digest}/layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def layer_of(files: Mapping[str, Path]) -> bytes:
    """A layer of a few programs: path in the image -> path here."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, source in files.items():
            info = tar.gettarinfo(source, path)
            info.uid = info.gid = 0
            info.mtime = 0
            info.uname = info.gname = ""
            info.mode = 0o755
            with source.open("rb") as content:
                tar.addfile(info, content)
    return buffer.getvalue()


def trainer_base() -> Path:
    """The archive of a Debian with Python, on which trainers run whose packages are mounted.

    Raises:
        MissingPartError: the packages of this environment do not fit Debian's Python.
        NotBuiltError: `make tools-e2e` has not built it.
    """
    if sys.version_info[:2] != (3, 11):
        found = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise MissingPartError(f"the trainer image has Python 3.11 of Debian 12, this environment {found}: make .venv with 3.11")  # fmt: skip
    return _present(_debian(TRAINER), "make tools-e2e")


def operator() -> Path:
    """The archive of the operator's image of this checkout. Raises NotBuiltError for a state that is not built."""
    return _present(_archive_of("operator"), "make tools-e2e")


def full_trainer() -> Path:
    """The archive of the trainers' image, torch and all. Raises NotBuiltError for a state that is not built."""
    return _present(_archive_of("trainer"), "make e2e-trainer")


def build(names: Iterable[str]) -> None:
    """Build what is missing of the images "operator" and "trainer" and of the base images below them.

    The trainers' image takes minutes, and 26 GB of disk meanwhile.
    """
    for name in names:
        with locked(tools.cache() / f".{name}.lock", waiting=f"another build of the image {name} is running"):
            _build_base(*_BASES[name])
            if not _archive_of(name).exists():
                _build(name)


def _present(archive: Path, command: str) -> Path:
    if not archive.exists():
        raise NotBuiltError(f"{archive.name} is not built from these sources: run {command}")
    return archive


def _debian(name: str, *packages: str) -> Path:
    return tools.cache() / f"debian-{_digest([_ROOTFS], name, *packages)}.tar"


def _build_base(name: str, *packages: str) -> None:
    """A Debian with Python and further packages."""
    out = _debian(name, *packages)
    if out.exists():
        return
    rootfs, partial = out.with_suffix(".rootfs"), out.with_suffix(".partial")
    _run(f"building the image {name}", _ROOTFS, rootfs, *packages)
    archive(partial, name, rootfs.read_bytes(), {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]})
    partial.rename(out)
    rootfs.unlink()


def _archive_of(image: str) -> Path:
    """Where an image of the current sources is, or will be."""
    folders = ("images", _PACKAGES[image])
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if _counts(file)]
    return tools.cache() / f"podium-{image}-{_digest([*files, _debian(*_BASES[image])])}.tar"


def _build(image: str) -> None:
    """Build an image by images/build.py and leave nothing behind but the archive."""
    out, name, base_name = _archive_of(image), _NAMES[image], _BASES[image][0]
    built = sorted(tools.cache().glob(f"podium-{image}-*.tar"), key=lambda file: file.stat().st_mtime)
    for old in built[:-_KEPT]:
        old.unlink()
    with _store() as environment:
        sh("buildah", "pull", f"docker-archive:{_debian(*_BASES[image])}", env=environment)
        tag = name.rpartition(":")[2]
        words = ("--tool", "buildah", "--base", base_name, "--prefix", "localhost", "--tag", tag)
        _run(f"building the image {name}", sys.executable, ROOT / "images/build.py", image, *words, env=environment)
        sh("buildah", "push", name, f"docker-archive:{out}.partial:{name}", env=environment)
    Path(f"{out}.partial").rename(out)


def _run(what: str, *command: object, env: Mapping[str, str] | None = None) -> None:
    log = tools.cache() / "image-build.log"
    if progress.run(what, *command, log=log, env=env):
        raise ClusterError(f"{what} failed:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def _store() -> Iterator[dict[str, str]]:
    """The environment of a buildah that keeps its images in a folder of their own, which goes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="podium-buildah-", dir=tools.cache()))
    config = folder / "storage.conf"
    config.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n')
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}
    try:
        yield environment
    finally:
        for mount in mounts_below(folder):
            sh("umount", mount)
        shutil.rmtree(folder)


def _counts(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts and not any(p.endswith(".egg-info") for p in file.parts)


def _digest(files: Iterable[Path], *words: str) -> str:
    """Digest of names and contents; of a cached archive only the name, which is derived from its contents."""
    digest = hashlib.sha256(" ".join(words).encode())
    for file in sorted(files):
        digest.update(file.name.encode())
        if file.suffix != ".tar":
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def trainer_defaults(root: Path) -> dict[str, object]:
    """The operator's ``--trainer-defaults`` for that image: packages and sources of this checkout, read-only."""
    programs = tools.cache() / "bin"
    programs.mkdir(exist_ok=True)
    for name, module in {"torchrun": "torch.distributed.run", "podium": "podium.cli"}.items():
        program = programs / name
        program.write_text(f"#!/usr/bin/python3\nimport sys\nfrom {module} import main\n\nsys.exit(main())\n")
        program.chmod(0o755)
    packages = next(path for path in map(Path, sys.path) if (path / "torch").is_dir())
    mounts = {"packages": packages, "benchmarks": root / "benchmarks", "operator": root / "operator", "bin": programs}
    volume_mounts = [{"name": name, "mountPath": f"/podium/{name}", "readOnly": True} for name in mounts]
    path = {"name": "PATH", "value": "/podium/bin:/usr/local/bin:/usr/bin:/bin"}
    return {
        "image": TRAINER,
        "imagePullPolicy": "Never",
        "allow": {"images": ["*"], "queuePriorityClasses": ["high"]},
        "pod": {
            "env": [
                {"name": "PYTHONPATH", "value": "/podium/packages:/podium/benchmarks"},
                path,
                {"name": "HOME", "value": "/tmp"},
                {"name": "OMP_NUM_THREADS", "value": "1"},
            ],
            "volumes": [{"name": name, "hostPath": {"path": str(path)}} for name, path in mounts.items()],
            "volumeMounts": volume_mounts,
        },
        "stage": {
            "image": TRAINER,
            "imagePullPolicy": "Never",
            "env": [path, {"name": "PYTHONPATH", "value": "/podium/packages:/podium/operator"}],
            "volumeMounts": volume_mounts,
        },
    }
