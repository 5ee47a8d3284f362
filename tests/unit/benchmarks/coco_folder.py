"""Writes photos out as a folder in the COCO 2017 layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from podium_benchmarks.core.coco import CocoSet


def write_folder(folder: Path, train: CocoSet, val: CocoSet) -> Path:
    """JPEG files and the two instances JSON; masks are left as they are where they are text already."""
    (folder / "annotations").mkdir(parents=True)
    for part, coco in (("train", train), ("val", val)):
        (folder / f"{part}2017").mkdir()
        images, annotations = [], []
        for photo in coco.photos:
            name = f"{photo.id:012}.jpg"
            Image.fromarray(photo.image.permute(1, 2, 0).numpy()).save(folder / f"{part}2017" / name, quality=90)
            images.append({"id": photo.id, "file_name": name, "height": photo.height, "width": photo.width})
            for number, (left, top, right, bottom) in enumerate(photo.boxes.tolist()):
                mask = photo.segmentations[number]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": photo.id,
                        "category_id": coco.category_ids[int(photo.labels[number]) - 1],
                        "bbox": [left, top, right - left, bottom - top],
                        "area": photo.areas[number].item(),
                        "iscrowd": int(photo.crowd[number]),
                        "segmentation": {"size": mask["size"], "counts": mask["counts"].decode("ascii")},
                    }
                )
        categories = [{"id": category_id, "name": f"class {category_id}"} for category_id in coco.category_ids]
        write_json(folder, part, {"images": images, "annotations": annotations, "categories": categories})
    return folder


def read_json(folder: Path, part: str) -> dict[str, Any]:
    """One part's instances."""
    return json.loads((folder / "annotations" / f"instances_{part}2017.json").read_text())


def write_json(folder: Path, part: str, content: dict[str, Any]) -> None:
    """Replaces one part's instances."""
    (folder / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(content))
