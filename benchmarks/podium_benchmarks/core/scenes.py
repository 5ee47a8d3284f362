"""Made-up photographs: scikit-learn's digits pasted on textured backgrounds, with exact boxes and masks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as rle

from podium_benchmarks.core.coco import CocoSet, Photo

HELD_OUT_EVERY = 5  # every fifth digit appears in held-out scenes only
MOST_OBJECTS = 4
SMALLEST, LARGEST = 0.2, 0.5  # side of a digit as a part of the scene's
PLACEMENT_TRIES = 20
INK = 0.35  # of the darkest stroke: where a digit covers the background


def make_scenes(count: int, *, size: int, classes: int, seed: int, held_out: bool) -> CocoSet:
    """`count` square scenes with 1 to 4 digits below `classes`, the same for the same arguments everywhere.

    Training and held-out scenes share no digit and no background. Label 1 is the digit 0. Scenes have ids from 1.
    """
    random = np.random.default_rng([seed, int(held_out)])
    strokes, labels = _digits(classes, held_out=held_out)
    photos = tuple(_scene(number + 1, size, strokes, labels, random) for number in range(count))
    return CocoSet(photos, category_ids=tuple(range(1, classes + 1)))


def _digits(classes: int, *, held_out: bool) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """Strokes (n, 1, 8, 8) float in 0..1 and labels (n,) from 1."""
    # Read from the package's folder: importing scikit-learn takes a second per rank, on the clock.
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None, "scikit-learn is a dependency of this package"
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # (1797, 65): pixels 0..16, label
    chosen = (table[:, 64] < classes) & ((np.arange(len(table)) % HELD_OUT_EVERY == 0) == held_out)
    strokes = torch.from_numpy(table[chosen, :64]).float().view(-1, 1, 8, 8) / 16
    return strokes, table[chosen, 64] + 1


def _scene(
    number: int, size: int, strokes: torch.Tensor, labels: np.ndarray[Any, Any], random: np.random.Generator
) -> Photo:
    """One scene: later digits are pasted only where they overlap no earlier box."""
    image = _background(size, random)
    boxes: list[tuple[int, int, int, int]] = []
    found_labels, masks = [], []
    for _ in range(random.integers(1, MOST_OBJECTS + 1)):
        chosen = random.integers(len(labels))
        cover = _cover(strokes[chosen], round(size * random.uniform(SMALLEST, LARGEST)))
        height, width = cover.shape
        for _ in range(PLACEMENT_TRIES):
            left, top = (int(random.integers(size - side + 1)) for side in (width, height))
            box = (left, top, left + width, top + height)
            if all(_apart(box, other) for other in boxes):
                break
        else:
            continue  # a crowded scene has fewer digits
        _paste(image, cover, left, top, random)
        mask = np.zeros((size, size), dtype=np.uint8, order="F")
        mask[top : top + height, left : left + width] = cover.numpy() > 0
        boxes.append(box)
        found_labels.append(int(labels[chosen]))
        masks.append(mask)
    return Photo(
        id=number,
        file=None,
        image=image.clamp(0, 255).to(torch.uint8),
        height=size,
        width=size,
        boxes=torch.tensor(boxes, dtype=torch.float32),
        labels=torch.tensor(found_labels),
        segmentations=tuple(rle.encode(mask) for mask in masks),
        areas=torch.tensor([int(mask.sum()) for mask in masks], dtype=torch.float32),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
    )


def _background(size: int, random: np.random.Generator) -> torch.Tensor:
    """(3, size, size) float: clouds of a coarse and a fine pattern, in random colors."""
    coarse = torch.from_numpy(random.uniform(0, 255, (1, 3, 4, 4)).astype(np.float32))
    cells = int(random.integers(16, 48))
    fine = torch.from_numpy(random.normal(0, 25, (1, 3, cells, cells)).astype(np.float32))
    return sum(F.interpolate(part, (size, size), mode="bilinear")[0] for part in (coarse, fine))


def _cover(strokes: torch.Tensor, side: int) -> torch.Tensor:
    """(h, w) opacity of a digit scaled from (1, 8, 8) to `side`, cut to where it is not 0."""
    scaled = F.interpolate(strokes[None], (side, side), mode="bicubic")[0, 0]
    cover = ((scaled - INK) * 4).clamp(0, 1)
    rows, columns = cover.amax(1).nonzero().flatten(), cover.amax(0).nonzero().flatten()
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _apart(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]


def _paste(image: torch.Tensor, cover: torch.Tensor, left: int, top: int, random: np.random.Generator) -> None:
    """Blend the digit into `image`, in a color away from the background's brightness there."""
    patch = image[:, top : top + cover.shape[0], left : left + cover.shape[1]]
    dark = patch.mean() > 127
    color = torch.from_numpy(random.uniform(0, 60, 3).astype(np.float32))
    patch.lerp_((color if dark else 255 - color).view(3, 1, 1).expand_as(patch), cover.expand_as(patch))
