"""Photographs with objects, in the COCO 2017 layout or made up.

DIR/train2017/*.jpg, DIR/val2017/*.jpg, DIR/annotations/instances_{train,val}2017.json, and perhaps their indexes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.coco_index import Outlines, Segmentation, map_index, read_json, write_index
from podium_benchmarks.core.jpeg import is_taken

LAYOUT = "expected DIR/{train,val}2017/*.jpg and DIR/annotations/instances_{train,val}2017.json"


@dataclass(frozen=True)
class Photo:
    """One image and its objects; pixels are in a file until they are decoded, or in `image`."""

    id: int
    file: Path | None
    image: torch.Tensor | None  # (3, height, width) uint8
    height: int
    width: int
    boxes: torch.Tensor  # (n, 4) float32: left, top, right, bottom in pixels
    labels: torch.Tensor  # (n,) int64 from 1: the place in `CocoSet.category_ids`, plus 1; 0 is for background
    segmentations: Sequence[Segmentation]  # n, or none where the reader left them out
    areas: torch.Tensor  # (n,) float32, of the object rather than its box
    crowd: torch.Tensor  # (n,) bool: one box around many objects


@dataclass(frozen=True)
class CocoSet:
    """Photos by ascending id, and COCO's number for each label from 1."""

    photos: tuple[Photo, ...]
    category_ids: tuple[int, ...]
    polygons_dropped: int = 0  # of fewer than three corners


def check_folder(folder: Path) -> None:
    """Refuse a folder that can't be a data set, and annotations that are wrong, before the clock runs.

    That is preparation of the data set: no image is opened, and the host's cache is left without the annotations.
    """
    if not folder.is_dir():
        raise UsageError(f"--data {folder} is not a folder; {LAYOUT}")
    for part in ("train", "val"):
        if not (folder / f"{part}2017").is_dir():
            raise UsageError(f"--data {folder} has no folder {part}2017/; {LAYOUT}")
        if not (folder / "annotations" / f"instances_{part}2017.json").is_file():
            raise UsageError(f"--data {folder} has no file annotations/instances_{part}2017.json; {LAYOUT}")
    read_folder(folder, segmentations=False)


def read_folder(folder: Path, *, segmentations: bool) -> tuple[CocoSet, CocoSet]:
    """Both parts, train and val; raises DataError for what can't be trained on or would spoil the evaluation."""
    train, val = (read_part(folder, part, segmentations=segmentations) for part in ("train", "val"))
    if train.category_ids != val.category_ids:
        only_one = sorted(set(train.category_ids) ^ set(val.category_ids))[:5]
        raise DataError(f"{folder}/annotations: the train and val JSON have different categories, for example ids "
                        f"{only_one}: both need the same list")  # fmt: skip
    seen, wanted = (torch.cat([photo.labels for photo in part.photos]).unique().tolist() for part in (train, val))
    if not wanted:
        raise DataError(f"{_json_file(folder, 'val')} has no annotation: there is nothing to evaluate")
    if unseen := [train.category_ids[label - 1] for label in wanted if label not in seen]:
        raise DataError(f"{_json_file(folder, 'train')} has no object of category {unseen[0]}, which val2017 has: "
                        "add training examples of it, or take the category out of both files")  # fmt: skip
    return train, val


def check_num_classes(part: CocoSet, num_classes: int, folder: Path) -> None:
    """Refuse a model with another number of classes than the data set; 0 stands for that of the data set."""
    found = len(part.category_ids)
    if num_classes not in {0, found}:
        remedy = f"name a data set with {num_classes}, or, in the open division, add --set num_classes={found}"
        raise DataError(f"--data {folder} has {found} categories, but num_classes is {num_classes}: {remedy}")


def read_part(folder: Path, part: str, *, segmentations: bool) -> CocoSet:
    """One part, boxes unclipped, from its index where there is one; every file is known to exist, none was opened."""
    json_file, index_file, photos = _json_file(folder, part), index_path(folder, part), folder / f"{part}2017"
    if index_file.exists():
        index = map_index(index_file, json_file)
    else:
        index = read_json(json_file, photos, outlines=segmentations, as_runs=part == "val")
    name_ends, object_ends = ([0, *index[name].tolist()] for name in ("name_ends", "object_ends"))
    names = index["names"].numpy().tobytes()
    files = [names[start:stop].decode() for start, stop in itertools.pairwise(name_ends)]
    _check_files(photos, files)
    counts = [stop - start for start, stop in itertools.pairwise(object_ends)]
    columns = (index[name].tolist() for name in ("ids", "heights", "widths"))
    tensors = (index[name].split(counts) for name in ("boxes", "labels", "areas", "crowd"))
    made = []
    for place, (file, id_, height, width, boxes, labels, areas, crowd) in enumerate(
        zip(files, *columns, *tensors, strict=True)
    ):
        outlines = Outlines(index, *object_ends[place : place + 2], (height, width)) if segmentations else ()
        made.append(Photo(id_, photos / file, None, height, width, boxes, labels, outlines, areas, crowd))
    dropped = int(index["polygons_dropped"]) if segmentations else 0
    return CocoSet(tuple(made), tuple(index["category_ids"].tolist()), polygons_dropped=dropped)


def index_path(folder: Path, part: str) -> Path:
    """Where the index of a part is, if there is one."""
    return folder / "annotations" / f"index_{part}2017.pt"


def write_indexes(folder: Path) -> None:
    """Index both parts, with outlines, so that no trainer reads their JSON again."""
    for part in ("train", "val"):
        index = read_json(_json_file(folder, part), folder / f"{part}2017", outlines=True, as_runs=part == "val")
        write_index(index_path(folder, part), index)


def for_training(coco: CocoSet, *, crowds: bool) -> tuple[CocoSet, Mapping[str, int]]:
    """What can be learned from: boxes clipped to the image, those left without an area and photos without boxes out.

    Also counts what was changed, for the log. `crowds` says whether boxes around crowds count as objects.
    """
    counts = [len(photo.labels) for photo in coco.photos]
    limits = torch.tensor([[photo.width, photo.height] * 2 for photo in coco.photos], dtype=torch.float32)
    limits = limits.repeat_interleave(torch.tensor(counts), dim=0)
    given, crowd = (torch.cat([getattr(photo, name) for photo in coco.photos]) for name in ("boxes", "crowd"))
    boxes = torch.minimum(given.clamp(min=0), limits)
    solid = (boxes[:, 2:] > boxes[:, :2]).all(1)
    keep = solid if crowds else solid & ~crowd
    owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    kept, clipped = (torch.bincount(owners[which], minlength=len(counts)).tolist()
                     for which in (keep, keep & (boxes != given).any(1)))  # fmt: skip
    photos = []
    for photo, part, flags, count, moved in zip(
        coco.photos, boxes.split(counts), keep.split(counts), kept, clipped, strict=True
    ):
        if count and count == len(photo.labels):
            photos.append(dataclasses.replace(photo, boxes=part) if moved else photo)
        elif count:
            photos.append(_select(photo, part, flags.nonzero().flatten().tolist()))
    if not photos:
        raise DataError("no training photo has a box within it: there is nothing to learn from")
    return dataclasses.replace(coco, photos=tuple(photos)), {
        "boxes_clipped": int(((boxes - given).abs().amax(1) > 1e-3)[keep].sum()),
        "boxes_dropped": int((~solid).sum()),
        "crowds_dropped": int((solid & ~keep).sum()),
        "photos_without_objects": len(coco.photos) - len(photos),
    }


def _select(photo: Photo, boxes: torch.Tensor, places: list[int]) -> Photo:
    return dataclasses.replace(
        photo,
        boxes=boxes[places],
        labels=photo.labels[places],
        segmentations=[photo.segmentations[place] for place in places] if photo.segmentations else (),
        areas=photo.areas[places],
        crowd=photo.crowd[places],
    )


@contextlib.contextmanager
def open_image(photo: Photo) -> Any:
    """The photo's file as an undecoded PIL image; raises DataError, naming the file, if it can't be decoded within."""
    assert photo.file is not None, "a photo without pixels has a file"
    try:
        with Image.open(photo.file) as image:
            if image.size != (photo.width, photo.height):
                raise DataError(f"{photo.file} has {image.width} x {image.height} pixels, but its annotation says "
                                f"{photo.width} x {photo.height}: correct one of them")  # fmt: skip
            yield image
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of these for broken files
        raise DataError(f"{photo.file} can't be decoded ({error}): replace the file") from error


def encoded(photo: Photo) -> torch.Tensor | None:
    """The bytes of the photo's file, for a device to decode; None without a file, or for one that it doesn't take."""
    if photo.file is None or photo.image is not None:
        return None
    with open_image(photo) as image:
        return torch.from_numpy(np.fromfile(photo.file, dtype=np.uint8)) if is_taken(image) else None


def decode(photo: Photo) -> torch.Tensor:
    """(3, height, width) uint8, whole."""
    if photo.image is not None:
        return photo.image
    with open_image(photo) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def decoded(photo: Photo) -> Photo:
    """The photo with its pixels in memory."""
    return dataclasses.replace(photo, image=decode(photo))


def _json_file(folder: Path, part: str) -> Path:
    return folder / "annotations" / f"instances_{part}2017.json"


def _check_files(folder: Path, names: Sequence[str]) -> None:
    there = {entry.name for entry in folder.iterdir()}
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(f"{folder} lacks {len(missing)} of the {len(names)} images that its JSON lists, for example "
                        f"{missing[0]}: add the files or take them out of the JSON")  # fmt: skip
