"""Photographs with objects, in the COCO 2017 layout or made up.

DIR/train2017/*.jpg, DIR/val2017/*.jpg, DIR/annotations/instances_{train,val}2017.json
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.files import drop_page_cache

LAYOUT = "expected DIR/{train,val}2017/*.jpg and DIR/annotations/instances_{train,val}2017.json"
Segmentation = Any  # as in COCO's JSON: a list of polygons, or a run-length encoding {"size": [h, w], "counts": ...}


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
    segmentations: tuple[Segmentation, ...]  # n, or none where the reader left them out
    areas: torch.Tensor  # (n,) float32, of the object rather than its box
    crowd: torch.Tensor  # (n,) bool: one box around many objects


@dataclass(frozen=True)
class CocoSet:
    """Photos by ascending id, and COCO's number for each label from 1."""

    photos: tuple[Photo, ...]
    category_ids: tuple[int, ...]


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
    drop_page_cache(_json_file(folder, part) for part in ("train", "val"))


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
        raise DataError(f"--data {folder} has {found} categories, but num_classes is {num_classes}: add --set "
                        f"num_classes={found}")  # fmt: skip


def read_part(folder: Path, part: str, *, segmentations: bool) -> CocoSet:
    """One part as its JSON describes it, boxes unclipped; every file is known to exist, none has been opened."""
    file = _json_file(folder, part)
    images, annotations, categories = _load(file)
    category_ids = tuple(sorted({_field(file, "category", category, "id") for category in categories}))
    image_ids = [_field(file, "image", image, "id") for image in images]
    if len(set(image_ids)) < len(image_ids):
        twice = next(image_id for image_id in image_ids if image_ids.count(image_id) > 1)
        raise DataError(f"{file}: image id {twice} occurs twice; ids must be unique")
    _check_files(folder / f"{part}2017", [_field(file, "image", image, "file_name") for image in images])
    objects = _objects_by_image(file, image_ids, category_ids, annotations)
    photos = []
    for image_id, image in sorted(zip(image_ids, images, strict=True), key=lambda item: item[0]):
        mine = objects.get(image_id, [])
        numbers = np.array([_numbers(file, annotation) for annotation in mine], dtype=np.float32).reshape(-1, 5)
        left, top, width, height, area = numbers.T
        photos.append(
            Photo(
                id=image_id,
                file=folder / f"{part}2017" / image["file_name"],
                image=None,
                height=_field(file, "image", image, "height"),
                width=_field(file, "image", image, "width"),
                boxes=torch.from_numpy(np.stack([left, top, left + width, top + height], axis=1)),
                labels=torch.tensor([category_ids.index(a["category_id"]) + 1 for a in mine], dtype=torch.int64),
                segmentations=tuple(_field(file, "annotation", a, "segmentation") for a in mine)
                if segmentations
                else (),
                areas=torch.from_numpy(area.copy()),
                crowd=torch.tensor([bool(a.get("iscrowd", 0)) for a in mine], dtype=torch.bool),
            )
        )
    return CocoSet(tuple(photos), category_ids)


def for_training(coco: CocoSet, *, crowds: bool) -> tuple[CocoSet, Mapping[str, int]]:
    """What can be learned from: boxes clipped to the image, those left without an area and photos without boxes out.

    Also counts what was changed, for the log. `crowds` says whether boxes around crowds count as objects.
    """
    counts = {"boxes_clipped": 0, "boxes_dropped": 0, "crowds_dropped": 0, "photos_without_objects": 0}
    photos = []
    for photo in coco.photos:
        limit = torch.tensor([photo.width, photo.height] * 2, dtype=torch.float32)
        boxes = torch.minimum(photo.boxes.clamp(min=0), limit)
        solid = (boxes[:, 2:] > boxes[:, :2]).all(1)
        keep = solid if crowds else solid & ~photo.crowd
        counts["boxes_clipped"] += int(((boxes - photo.boxes).abs().amax(1) > 1e-3)[keep].sum())
        counts["boxes_dropped"] += int((~solid).sum())
        counts["crowds_dropped"] += int((solid & ~keep).sum())
        if not keep.any():
            counts["photos_without_objects"] += 1
            continue
        photos.append(_select(photo, boxes, keep))
    if not photos:
        raise DataError("no training photo has a box within it: there is nothing to learn from")
    return CocoSet(tuple(photos), coco.category_ids), counts


def _select(photo: Photo, boxes: torch.Tensor, keep: torch.Tensor) -> Photo:
    kept = keep.nonzero().flatten().tolist()
    return dataclasses.replace(
        photo,
        boxes=boxes[keep],
        labels=photo.labels[keep],
        segmentations=tuple(photo.segmentations[i] for i in kept) if photo.segmentations else (),
        areas=photo.areas[keep],
        crowd=photo.crowd[keep],
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


def _load(file: Path) -> tuple[list[Any], list[Any], list[Any]]:
    """Images, annotations and categories: lists of objects."""
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    parts = []
    for name in ("images", "annotations", "categories"):
        part = content.get(name) if isinstance(content, dict) else None
        if not isinstance(part, list) or not all(isinstance(item, dict) for item in part):
            raise DataError(f"{file} has no list {name!r} of objects: it must be a COCO instances file")
        if not part and name != "annotations":
            raise DataError(f"{file}: the list {name!r} is empty")
        parts.append(part)
    return parts[0], parts[1], parts[2]


_KINDS = {"id": int, "image_id": int, "category_id": int, "height": int, "width": int, "file_name": str,
          "bbox": list, "segmentation": (list, dict)}  # fmt: skip


def _field(file: Path, what: str, item: dict[str, Any], name: str) -> Any:
    """A field of the right type, sizes above 0."""
    value = item.get(name)
    if not isinstance(value, _KINDS[name]) or (name in {"height", "width"} and value < 1):
        raise DataError(f"{file}: {what} {item.get('id')} has {name} {value!r}, which can't be right")
    return value


def _check_files(folder: Path, names: Sequence[str]) -> None:
    there = {entry.name for entry in folder.iterdir()}
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(f"{folder} lacks {len(missing)} of the {len(names)} images that its JSON lists, for example "
                        f"{missing[0]}: add the files or take them out of the JSON")  # fmt: skip


def _objects_by_image(
    file: Path, image_ids: Sequence[int], category_ids: Sequence[int], annotations: Sequence[dict[str, Any]]
) -> dict[int, list[dict[str, Any]]]:
    objects: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in image_ids}
    known = set(category_ids)
    for annotation in annotations:
        image_id = _field(file, "annotation", annotation, "image_id")
        if image_id not in objects:
            raise DataError(f"{file}: annotation {annotation.get('id')} is of image {image_id}, which is not among "
                            "the file's images: add the image or remove the annotation")  # fmt: skip
        if _field(file, "annotation", annotation, "category_id") not in known:
            raise DataError(f"{file}: annotation {annotation.get('id')} is of category {annotation['category_id']}, "
                            "which is not among the file's categories")  # fmt: skip
        objects[image_id].append(annotation)
    return objects


def _numbers(file: Path, annotation: dict[str, Any]) -> tuple[float, ...]:
    """Left, top, width, height and area."""
    box = _field(file, "annotation", annotation, "bbox")
    area = annotation.get("area")
    numbers = (*box, box[2] * box[3] if area is None and len(box) == 4 else area)
    if len(numbers) != 5 or not all(isinstance(n, int | float) and np.isfinite(n) for n in numbers):
        raise DataError(f"{file}: annotation {annotation.get('id')} has bbox {box} and area {area}; they must be "
                        "[left, top, width, height] and a number")  # fmt: skip
    return numbers
