"""ImageNet 2012 as tar shards: one a class for training, a few for validation. No image is unpacked or re-encoded."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from podium_benchmarks.prepare.archives import Archive, PrepareError
from podium_benchmarks.prepare.files import in_processes, written

VAL_SHARDS = 64
_ORIGIN = "torchvision.datasets.ImageNet"
TRAIN = Archive("ILSVRC2012_img_train.tar", "", digest="md5:1d675b47d978889d74fa0da5fadfb00e", origin=_ORIGIN)
VAL = Archive("ILSVRC2012_img_val.tar", "", digest="md5:29b22e2961454d5413ddabcf34fc5622", origin=_ORIGIN)
DEVKIT = Archive("ILSVRC2012_devkit_t12.tar.gz", "", digest="md5:fa75699e90414af021442c21a62c3abf", origin=_ORIGIN)
ARCHIVES = (TRAIN, VAL, DEVKIT)
LABELS = "data/ILSVRC2012_validation_ground_truth.txt"
SYNSETS = "data/meta.mat"


@dataclass(frozen=True)
class Shard:
    """Members of one tar, by place, to be written into another with their class in front of their names."""

    path: Path
    members: Sequence[tuple[str, int, int]]  # new name, offset, size


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/train/<wnid>.tar and OUT/val/<number>.tar, each with members <wnid>/<name>.JPEG."""
    train, val = archives[TRAIN.name], archives[VAL.name]
    wnids = validation_classes(archives[DEVKIT.name])
    members = _members(val)
    if len(members) != len(wnids):
        raise PrepareError(f"{val} has {len(members):,} images, but the development kit labels {len(wnids):,}: take "
                           "both from the same release")  # fmt: skip
    labeled = [(f"{wnid}/{name}", offset, size)
                for wnid, (name, offset, size) in zip(wnids, sorted(members), strict=True)]  # fmt: skip
    count = min(VAL_SHARDS, len(labeled))
    shards = [Shard(out / "val" / f"{number:02}.tar", labeled[number::count]) for number in range(count)]
    in_processes(partial(write_shard, val), shards, workers, "val")
    classes = [(out / "train" / name, offset) for name, offset, _ in _members(train)]
    in_processes(partial(write_class, train), classes, workers, "train")


def validation_classes(devkit: Path) -> list[str]:
    """The WordNet id of each validation image, in the order of their names."""
    import scipy.io  # noqa: PLC0415 - slow to load

    with tarfile.open(devkit) as kit:
        labels = _read(kit, devkit, LABELS).decode().split()
        synsets = scipy.io.loadmat(io.BytesIO(_read(kit, devkit, SYNSETS)), squeeze_me=True)["synsets"]
    wnid_of = {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in np.atleast_1d(synsets)}
    return [wnid_of[int(label)] for label in labels]


def write_class(train: Path, task: tuple[Path, int]) -> None:
    """The tar of one class, which lies within the tar of all, with its name in front of its members'."""
    path, offset = task
    with train.open("rb") as whole:
        whole.seek(offset)
        with tarfile.open(fileobj=whole, mode="r:") as inner:
            members = [
                (f"{path.stem}/{PurePosixPath(m.name).name}", m.offset_data, m.size) for m in inner if m.isfile()
            ]
    write_shard(train, Shard(path, members))


def write_shard(source: Path, shard: Shard) -> None:
    """Copy the members; a shard that already exists is complete."""
    if shard.path.exists():
        return
    with source.open("rb") as reader, written(shard.path) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name, offset, size in shard.members:
            reader.seek(offset)
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, reader)


def _members(path: Path) -> list[tuple[str, int, int]]:
    try:
        with tarfile.open(path, "r:") as archive:
            return [(PurePosixPath(m.name).name, m.offset_data, m.size) for m in archive if m.isfile()]
    except tarfile.TarError as error:
        raise PrepareError(f"{path} is not an uncompressed tar file ({error}): download it again") from error


def _read(kit: tarfile.TarFile, path: Path, name: str) -> bytes:
    member = next((m for m in kit.getmembers() if m.name.endswith(name)), None)
    reader = kit.extractfile(member) if member else None
    if reader is None:
        raise PrepareError(f"{path} lacks {name}: it must be the development kit of tasks 1 and 2")
    return reader.read()
