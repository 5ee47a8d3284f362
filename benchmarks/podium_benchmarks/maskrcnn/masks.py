"""Objects' masks to train on: each drawn once in its own extent, and read off where a box needs it.

The reference draws polygons anew in every box, at 28 x 28 (project_masks_on_boxes). A grid per object, of four times
that, gives the same to within an eighth of a cell, without masks of the image's size, and is looked up on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle

from podium_benchmarks.core.coco_index import Segmentation
from podium_benchmarks.core.prefetch import to_device
from podium_benchmarks.maskrcnn.model import MASK_SIDE

GRID = 4 * MASK_SIDE


@dataclass(frozen=True)
class Masks:
    """The masks of one image's objects."""

    shapes: torch.Tensor  # (G, 112, 112) uint8, 1 where the object covers a cell's center
    extents: torch.Tensor  # (G, 4) left, top, right, bottom of each grid, in the image's pixels

    def scaled(self, x: float, y: float) -> Masks:
        """In an image that is so many times as wide and as high."""
        return Masks(self.shapes, self.extents * torch.tensor([x, y, x, y]))

    def mirrored(self, width: int) -> Masks:
        """In the mirrored image; like boxes, and as in the reference, x becomes width - 1 - x."""
        left, top, right, bottom = self.extents.unbind(1)
        return Masks(self.shapes.flip(2), torch.stack([width - 1 - right, top, width - 1 - left, bottom], dim=1))

    def to(self, device: torch.device) -> Masks:
        """On the device; the host doesn't wait."""
        return Masks(to_device(self.shapes, device), to_device(self.extents, device))

    def within(self, boxes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(n, 28, 28) of 0 and 1: in each of the boxes (n, 4), the mask at its place, at the centers of 28 x 28 cells.

        A box less than a pixel wide counts as a pixel wide, as in the reference.
        """
        extents = self.extents[places]
        centers = (torch.arange(MASK_SIDE, device=boxes.device) + 0.5) / MASK_SIDE
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
        points = boxes[:, :2, None] + sides[:, :, None] * centers  # (n, 2, 28): x and y
        cells = ((points - extents[:, :2, None]) / (extents[:, 2:] - extents[:, :2])[:, :, None] * GRID).floor()
        inside, cells = (cells >= 0) & (cells < GRID), cells.clamp(0, GRID - 1).long()
        shapes = self.shapes[places[:, None, None], cells[:, 1, :, None], cells[:, 0, None, :]]
        return shapes * (inside[:, 1, :, None] & inside[:, 0, None, :])


def rasterize(outlines: Sequence[Segmentation], height: int, width: int) -> Masks:
    """Masks of the objects in a photo of this size, whose outlines are polygons or run-length encodings."""
    drawn = [_polygons(one) if isinstance(one, list) else _runs(one, height, width) for one in outlines]
    shapes, extents = (np.stack(part) for part in zip(*drawn, strict=True))
    return Masks(torch.from_numpy(shapes), torch.from_numpy(extents.astype(np.float32)))


Grid = tuple[NDArray[np.uint8], NDArray[np.float64]]  # a shape and its extent


def _polygons(outline: Sequence[Sequence[float]]) -> Grid:
    corners = [np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in outline]
    everything = np.concatenate(corners)
    low, high = everything.min(0), everything.max(0)
    high = np.maximum(high, low + 1e-3)  # of corners in one line
    scale = GRID / (high - low)
    drawn = rle.frPyObjects([((polygon - low) * scale).flatten().tolist() for polygon in corners], GRID, GRID)
    return np.ascontiguousarray(rle.decode(rle.merge(drawn))), np.concatenate([low, high])


def _runs(outline: Segmentation, height: int, width: int) -> Grid:
    if isinstance(outline["counts"], list):  # uncompressed
        outline = rle.frPyObjects(outline, height, width)
    left, top, columns, rows = (int(side) for side in rle.toBbox(outline))
    columns, rows = max(columns, 1), max(rows, 1)  # of an empty mask
    centers = (np.arange(GRID) + 0.5) / GRID
    part = rle.decode(outline)[np.ix_(top + (centers * rows).astype(int), left + (centers * columns).astype(int))]
    return np.ascontiguousarray(part), np.array([left, top, left + columns, top + rows], dtype=np.float64)
