"""COCO's annotations as tensors: read from a JSON file, or memory-mapped from the index that `prepare` makes of it.

Reading 860,000 objects from JSON takes a minute on every rank, on the clock; mapping their index takes none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle

from podium_benchmarks.core.cli import DataError

Segmentation = Any  # as in COCO's JSON: a list of polygons, or a run-length encoding {"size": [h, w], "counts": ...}
Index = dict[str, torch.Tensor]
"""Photos by ascending id. What belongs to photo or object n of `*_ends` is from the end before it to its own:

json_bytes ()                                        size of the JSON file that it was made of
category_ids (classes,)
ids, heights, widths, name_ends, object_ends (photos,)
names (bytes,) uint8                                 of the files
boxes (objects, 4) float32                           left, top, right, bottom in pixels, unclipped
labels, areas, crowd, polygon_ends, run_ends (objects,)
number_ends (polygons,), numbers float64             corners of an object's polygons
runs (bytes,) uint8                                  run-length encoding of an object without polygons
polygons_dropped ()                                  of fewer than three corners
"""
VERSION = 1


def write_index(file: Path, index: Index) -> None:
    """One file, whole or not there."""
    part = file.with_name(f".{file.name}.part")
    torch.save(index | {"version": torch.tensor(VERSION)}, part)
    part.replace(file)


def map_index(file: Path, json_file: Path) -> Index:
    """The index in a file, without reading more of it than is used.

    Raises DataError for one of another version, or made of another JSON file.
    """
    try:
        index: Index = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        fits = int(index["version"]) == VERSION and int(index["json_bytes"]) == json_file.stat().st_size
    except Exception as error:  # torch raises many kinds
        raise DataError(f"{file} can't be read ({str(error).splitlines()[0]}): delete it, or prepare the data set "
                        "again") from error  # fmt: skip
    if not fits:
        raise DataError(f"{file} was not made of this {json_file.name}: delete the index, and the JSON is read instead")
    return index


def read_json(file: Path, photos: Path, *, outlines: bool, as_runs: bool = False) -> Index:
    """The index of a JSON file. Raises DataError for what can't be trained on or would spoil the evaluation.

    `photos` is the folder of the images that it lists, for messages; without `outlines`, masks are left out. `as_runs`
    turns polygons into run-length encodings, which is what an evaluation needs.
    """
    images, annotations, categories = _load(file)
    category_ids = sorted({_field(file, "category", category, "id") for category in categories})
    image_ids = [_field(file, "image", image, "id") for image in images]
    if len(set(image_ids)) < len(image_ids):
        twice = next(image_id for image_id in image_ids if image_ids.count(image_id) > 1)
        raise DataError(f"{file}: image id {twice} occurs twice; ids must be unique")
    objects = _objects_by_image(file, image_ids, category_ids, annotations)
    images = sorted(images, key=lambda image: image["id"])
    ordered = [annotation for image in images for annotation in objects[image["id"]]]
    numbers = np.array([_numbers(file, annotation) for annotation in ordered], dtype=np.float32).reshape(-1, 5)
    left, top, width, height, area = numbers.T
    places = {category_id: place + 1 for place, category_id in enumerate(category_ids)}
    names = [_field(file, "image", image, "file_name").encode() for image in images]
    index = {
        "json_bytes": torch.tensor(file.stat().st_size),
        "category_ids": torch.tensor(category_ids),
        "ids": torch.tensor([image["id"] for image in images]),
        "heights": torch.tensor([_field(file, "image", image, "height") for image in images]),
        "widths": torch.tensor([_field(file, "image", image, "width") for image in images]),
        "name_ends": _ends(names),
        "names": _bytes(b"".join(names)),
        "object_ends": _ends([objects[image["id"]] for image in images]),
        "boxes": torch.from_numpy(np.stack([left, top, left + width, top + height], axis=1)),
        "labels": torch.tensor([places[annotation["category_id"]] for annotation in ordered], dtype=torch.int64),
        "areas": torch.from_numpy(area.copy()),
        "crowd": torch.tensor([bool(annotation.get("iscrowd", 0)) for annotation in ordered], dtype=torch.bool),
    }
    if outlines:
        drawn = (
            _checked(file, photos / image["file_name"], image, place, annotation)
            for image in images
            for place, annotation in enumerate(objects[image["id"]])
        )
        index |= _outlines(drawn, as_runs=as_runs)
    return index


Drawn = tuple[list[list[float]] | None, Segmentation, tuple[int, int], int]


def _checked(file: Path, photo: Path, image: dict[str, Any], place: int, annotation: dict[str, Any]) -> Drawn:
    """An object's polygons or its run-length encoding, the photo's size, and how many polygons were dropped."""
    outline, size = _field(file, "annotation", annotation, "segmentation"), (image["height"], image["width"])
    if isinstance(outline, list):
        solid = [polygon for polygon in outline if isinstance(polygon, list) and len(polygon) >= 6]
        if solid:
            return solid, None, size, len(outline) - len(solid)
    elif outline.get("size") == list(size) and "counts" in outline:
        return None, outline, size, 0
    raise DataError(f"{photo}: segmentation of object {place + 1} must be polygons of at least three corners or a "
                    f"run-length encoding of {size[0]} x {size[1]}, not {str(outline)[:60]}")  # fmt: skip


def _outlines(drawn: Iterator[Drawn], *, as_runs: bool) -> Index:
    polygons: list[list[float]] = []
    polygon_ends, runs, dropped = [], [], 0
    for solid, outline, size, out in drawn:
        dropped += out
        if solid and not as_runs:
            polygons += solid
            runs.append(b"")
        else:
            counts = run_lengths(solid or outline, *size)["counts"]
            runs.append(counts.encode() if isinstance(counts, str) else counts)
        polygon_ends.append(len(polygons))
    return {
        "polygon_ends": torch.tensor(polygon_ends, dtype=torch.int64),
        "number_ends": _ends(polygons),
        "numbers": torch.tensor([number for polygon in polygons for number in polygon], dtype=torch.float64),
        "run_ends": _ends(runs),
        "runs": _bytes(b"".join(runs)),
        "polygons_dropped": torch.tensor(dropped),
    }


def run_lengths(outline: Segmentation, height: int, width: int) -> Segmentation:
    """A compressed run-length encoding of an object's polygons or runs."""
    if isinstance(outline, list):
        return rle.merge(rle.frPyObjects(outline, height, width))
    return rle.frPyObjects(outline, height, width) if isinstance(outline["counts"], list) else outline


class Outlines(Sequence[Segmentation]):
    """The outlines of one photo's objects, as in JSON; each is made when it is asked for."""

    def __init__(self, index: Index, first: int, last: int, size: tuple[int, int]) -> None:
        self._index, self._first, self._last, self._size = index, first, last, size

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, place: int) -> Segmentation:  # type: ignore[override]  # one at a time
        if not 0 <= place < len(self):
            raise IndexError(place)
        first, last = _span(self._index["polygon_ends"], self._first + place)
        if first == last:
            start, stop = _span(self._index["run_ends"], self._first + place)
            return {"size": list(self._size), "counts": self._index["runs"][start:stop].numpy().tobytes()}
        ends = self._index["number_ends"]
        return [self._index["numbers"][slice(*_span(ends, polygon))].tolist() for polygon in range(first, last)]


def _span(ends: torch.Tensor, place: int) -> tuple[int, int]:
    return int(ends[place - 1]) if place else 0, int(ends[place])


def _ends(parts: Sequence[Sequence[Any]]) -> torch.Tensor:
    return torch.tensor([len(part) for part in parts], dtype=torch.int64).cumsum(0)


def _bytes(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)


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
