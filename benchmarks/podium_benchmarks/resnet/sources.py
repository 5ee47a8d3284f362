"""Where encoded images lie: class folders of files, or tar shards read at offsets without unpacking.

DIR/{train,val}/<class>/*.jpg
DIR/{train,val}/*.tar    with members <class>/<name>.jpg, or pairs <key>.jpg and <key>.cls (the class's number)
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import numpy as np

from podium_benchmarks.core import dist
from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
LAYOUT = "expected DIR/train/<class>/*.jpg and DIR/val/<class>/*.jpg, or .tar files in DIR/train/ and DIR/val/"
OPEN_SHARDS = 64  # per process


class Images(Protocol):
    """Encoded images in an order that is the same everywhere; cheap to hand to worker processes."""

    labels: np.ndarray  # (N,) int64
    class_names: tuple[str, ...]  # () where the data only numbers them

    def name(self, index: int) -> str:
        """How a person finds the image."""
        ...

    def read(self, index: int) -> bytes:
        """The encoded image; raises DataError if it is gone."""
        ...


@dataclass(frozen=True)
class Files:
    """Images that are files."""

    paths: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]

    def name(self, index: int) -> str:
        return self.paths[index]

    def read(self, index: int) -> bytes:
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            raise DataError(f"{self.paths[index]} can't be read ({error.strerror}): put the file back") from error


@dataclass(frozen=True)
class Shards:
    """Images that are members of tar files: member `index` is `sizes` bytes at `offsets` in its shard."""

    shards: Sequence[str]
    members: Sequence[str]
    places: np.ndarray  # (N, 3) int64: shard, offset, size
    labels: np.ndarray
    class_names: tuple[str, ...]

    def name(self, index: int) -> str:
        return f"{self.members[index]} in {self.shards[self.places[index, 0]]}"

    def read(self, index: int) -> bytes:
        shard, offset, size = (int(value) for value in self.places[index])
        try:
            data = os.pread(_opened(self.shards[shard]).fileno(), size, offset)
        except OSError as error:
            raise DataError(f"{self.name(index)} can't be read ({error.strerror}): put the file back") from error
        if len(data) < size:
            raise DataError(f"{self.name(index)} ends {size - len(data)} bytes early: copy the shard again")
        return data


@lru_cache(OPEN_SHARDS)
def _opened(shard: str) -> BinaryIO:
    return Path(shard).open("rb", buffering=0)  # closed when it falls out of the cache


def _other_classes(found: int, num_classes: int) -> str:
    """What to do about it: the closed division fixes the number."""
    return f"name a data set with {num_classes} classes, or, in the open division, add --set num_classes={found}"


def check_folder(data_dir: Path, num_classes: int) -> None:
    """Refuse what can't be a data set, by names alone: no data may be read before the clock runs."""
    if not data_dir.is_dir():
        raise UsageError(f"--data {data_dir} is not a folder; {LAYOUT}")
    for part in ("train", "val"):
        if not (data_dir / part).is_dir():
            raise UsageError(f"--data {data_dir} has no folder {part}/; {LAYOUT}")
    of_tar = {part: bool(shard_files(data_dir / part)) for part in ("train", "val")}
    classes, val_classes = (class_folders(data_dir / part) for part in ("train", "val"))
    if any(of_tar.values()):
        for part, names in (("train", classes), ("val", val_classes)):
            if not of_tar[part] or names:
                raise UsageError(f"--data {data_dir}: {part}/ must hold nothing but .tar files, as the other part has "
                                 f"them, but {'has class folders' if names else 'has none'}; {LAYOUT}")  # fmt: skip
        return
    if classes != val_classes:
        only_one = sorted(set(classes) ^ set(val_classes))[:5]
        raise UsageError(f"--data {data_dir}: train/ and val/ have different classes, for example {only_one}")
    if len(classes) != num_classes:
        raise UsageError(f"--data {data_dir} has {len(classes)} classes in train/, but num_classes is "
                         f"{num_classes}: {_other_classes(len(classes), num_classes)}")  # fmt: skip
    for part in ("train", "val"):
        for name in classes:
            if not any(_is_image(entry.name) for entry in os.scandir(data_dir / part / name)):
                raise UsageError(f"{data_dir / part / name} has no image ({', '.join(IMAGE_SUFFIXES)}): fill the class "
                                 "or remove its folders")  # fmt: skip


def class_folders(folder: Path) -> list[str]:
    """Sorted names; a class's number is its place."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def shard_files(folder: Path) -> list[str]:
    """Sorted paths."""
    return sorted(str(path) for path in folder.glob("*.tar"))


def open_both(data_dir: Path, num_classes: int, ranks: Ranks) -> tuple[Images, Images]:
    """Training and evaluation images; raises DataError for what only reading shows."""
    if not shard_files(data_dir / "train"):
        return list_files(data_dir / "train"), list_files(data_dir / "val")
    train, evaluation = (index_shards(shard_files(data_dir / part), num_classes, ranks) for part in ("train", "val"))
    if train.class_names != evaluation.class_names:
        only_one = sorted(set(train.class_names) ^ set(evaluation.class_names))[:5]
        raise DataError(f"--data {data_dir}: the shards of train/ and val/ have different classes, for example "
                        f"{only_one}")  # fmt: skip
    return train, evaluation


def list_files(folder: Path) -> Files:
    """Every image of every class, sorted, so that a seed means the same order everywhere."""
    names = class_folders(folder)
    paths: list[str] = []
    counts = []
    for name in names:
        found = sorted(entry.name for entry in os.scandir(folder / name) if not entry.name.startswith("."))
        strange = next((entry for entry in found if not _is_image(entry)), None)
        if strange:
            raise DataError(f"{folder / name / strange} is not an image ({', '.join(IMAGE_SUFFIXES)}): remove it")
        paths += [f"{folder}/{name}/{entry}" for entry in found]
        counts.append(len(found))
    return Files(paths, np.repeat(np.arange(len(names)), counts), tuple(names))


def index_shards(shards: Sequence[str], num_classes: int, ranks: Ranks) -> Shards:
    """Where each image lies; ranks share the reading of the headers."""
    indexed = dist.compute_sharded([lambda shard=shard: list(_members(shard)) for shard in shards], ranks)
    members = [(shard, *member) for shard, found in enumerate(indexed) for member in found]
    if not members:
        raise DataError(f"{Path(shards[0]).parent} has .tar files, but no image ({', '.join(IMAGE_SUFFIXES)}) in them")
    kinds = [label for _, _, _, _, label in members]
    names = tuple(sorted({label for label in kinds if isinstance(label, str)}))
    if names and len(names) != num_classes:
        raise DataError(f"{Path(shards[0]).parent}: the shards have {len(names)} classes, but num_classes is "
                        f"{num_classes}: {_other_classes(len(names), num_classes)}")  # fmt: skip
    for shard, member, _, _, label in members:
        if isinstance(label, int) and (names or not 0 <= label < num_classes):
            wanted = "other images have classes by folder" if names else f"expected 0 to {num_classes - 1}"
            raise DataError(f"{member} in {shards[shard]} is of class number {label}; {wanted}")
    number = {name: place for place, name in enumerate(names)}
    return Shards(
        shards=tuple(shards),
        members=[member for _, member, _, _, _ in members],
        places=np.array([(shard, offset, size) for shard, _, offset, size, _ in members], dtype=np.int64),
        labels=np.array([number[label] if isinstance(label, str) else label for label in kinds], dtype=np.int64),
        class_names=names,
    )


def _members(shard: str) -> Iterator[tuple[str, int, int, str | int]]:
    """Name, offset, size, and class (name or number) of each image of one shard."""
    images: dict[str, tarfile.TarInfo] = {}  # by key: the path without its suffix
    numbers: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                key = str(path.with_suffix(""))
                if member.isfile() and _is_image(path.name):
                    if key in images:
                        raise DataError(f"{shard} holds {key} twice: names of members must differ")
                    images[key] = member
                elif member.isfile() and path.suffix == ".cls":
                    numbers[key] = _class_number(archive, member, shard)
            length = os.fstat(archive.fileobj.fileno()).st_size  # type: ignore[union-attr]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{shard} can't be read as an uncompressed tar ({error}): copy the shard again") from error
    lonely = next(iter(numbers.keys() - images.keys()), None)
    if lonely:
        raise DataError(f"{shard} holds {lonely}.cls, but no image of that name")
    for key, member in images.items():
        if member.offset_data + member.size > length:
            raise DataError(f"{shard} ends within {member.name}: copy the shard again")
        folder = PurePosixPath(member.name).parent.name
        if key not in numbers and not folder:
            raise DataError(f"{member.name} in {shard} has no class: expected <class>/{member.name}, or {key}.cls")
        yield member.name, member.offset_data, member.size, numbers.get(key, folder)


def _class_number(archive: tarfile.TarFile, member: tarfile.TarInfo, shard: str) -> int:
    reader = archive.extractfile(member)
    text = reader.read(32).decode("ascii", "replace").strip() if reader else ""
    if not text.isdecimal():
        raise DataError(f"{member.name} in {shard} must hold the number of a class, not {text!r}")
    return int(text)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
