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

from tests.cluster import tools
from tests.cluster.processes import MissingPartError, locked, sh

ROOT = Path(__file__).resolve().parents[2]
TRAINER = "localhost/podium/trainer:e2e"
OPERATOR = "localhost/podium-operator:e2e"
FULL_TRAINER = "localhost/podium-trainer:e2e"  # with everything in it, unlike TRAINER
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
    """The archive of a Debian with Python, on which trainers run whose packages are mounted; made once."""
    if sys.version_info[:2] != (3, 11):
        found = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise MissingPartError(
            f"the trainer image has Python 3.11 of Debian 12, this environment {found}: make .venv with 3.11"
        )
    return debian(TRAINER)


def debian(name: str, *packages: str) -> Path:
    """The archive of a Debian with Python and further packages; made once."""
    key = _digest([_ROOTFS], name, *packages)
    out = tools.cache() / f"debian-{key}.tar"
    with locked(tools.cache() / ".debian.lock"):
        if not out.exists():
            rootfs, partial = out.with_suffix(".rootfs"), out.with_suffix(".partial")
            print(f"making {name} ({_ROOTFS.name} {' '.join(packages)}); once, a minute", file=sys.stderr, flush=True)
            sh(_ROOTFS, rootfs, *packages)
            archive(partial, name, rootfs.read_bytes(), {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]})
            partial.rename(out)
            rootfs.unlink()
    return out


def operator() -> Path:
    """The archive of the operator's image, made of this checkout once for each state of it."""
    return _built("operator", OPERATOR, debian(TRAINER), TRAINER, "operator")


def full_trainer() -> Path:
    """The archive of the trainers' image, torch and all: minutes, and 26 GB of disk meanwhile."""
    name = "localhost/podium/compiler:e2e"
    base = debian(name, "gcc", "libc6-dev", "python3-dev")
    return _built("trainer", FULL_TRAINER, base, name, "benchmarks")


def _built(image: str, name: str, base: Path, base_name: str, package: str) -> Path:
    """The archive of an image that images/build.py makes, with nothing left behind but the archive."""
    files = [file for folder in ("images", package) for file in (ROOT / folder).rglob("*") if _counts(file)]
    out = tools.cache() / f"podium-{image}-{_digest([*files, base])}.tar"
    with locked(tools.cache() / f".{image}.lock"):
        if not out.exists():
            print(f"building the image of the {image}; once for each state of its sources", file=sys.stderr, flush=True)
            made = sorted(tools.cache().glob(f"podium-{image}-*.tar"), key=lambda file: file.stat().st_mtime)
            for old in made[:-_KEPT]:
                old.unlink()
            with _store() as environment:
                sh("buildah", "pull", f"docker-archive:{base}", env=environment)
                tag = name.rpartition(":")[2]
                words = ("--tool", "buildah", "--base", base_name, "--prefix", "localhost", "--tag", tag)
                sh(sys.executable, ROOT / "images/build.py", image, *words, env=environment)
                sh("buildah", "push", name, f"docker-archive:{out}.partial:{name}", env=environment)
            Path(f"{out}.partial").rename(out)
    return out


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
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
            sh("umount", mount)
        shutil.rmtree(folder)


def _counts(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts and not any(p.endswith(".egg-info") for p in file.parts)


def _digest(files: Iterable[Path], *words: str) -> str:
    """Of names and contents; a cached archive counts by its name, which tells what is in it."""
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
