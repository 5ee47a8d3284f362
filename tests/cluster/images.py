"""Container images without a registry and without an image tool."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import tools
from tests.cluster.processes import MissingPartError, locked, sh

TRAINER = "localhost/podium/trainer:e2e"
_RECIPE = "mmdebstrap --variant=minbase --include=python3,ca-certificates,libgomp1 bookworm"


def archive(out: Path, name: str, layer: bytes, config: Mapping[str, object]) -> None:
    """A docker archive of one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    document = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
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
    key = hashlib.sha256(_RECIPE.encode()).hexdigest()[:12]
    out = tools.cache() / f"trainer-{key}.tar"
    with locked(tools.cache() / ".trainer.lock"):
        if not out.exists():
            rootfs, partial = out.with_suffix(".rootfs"), out.with_suffix(".partial")
            print(f"making the trainer image ({_RECIPE}); once, 40 s", file=sys.stderr, flush=True)
            sh(*_RECIPE.split(), "--format=tar", rootfs)
            archive(partial, TRAINER, rootfs.read_bytes(), {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]})
            partial.rename(out)
            rootfs.unlink()
    return out


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
