"""Batches that worker processes read and the training device decodes (core/jpeg.py).

The workers choose the boxes, from the images' headers, and decode what the device doesn't take.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from podium_benchmarks.core.jpeg import UNDECODABLE, Crop, is_taken, render
from podium_benchmarks.resnet.decode import Box, decode_crop


class Encoded(NamedTuple):
    """A batch on its way from a worker: few tensors, as each takes an open file."""

    data: torch.Tensor  # uint8: all JPEGs of the batch, one behind another
    ends: torch.Tensor  # (B,) int64: of each in `data`; the end of the one before if it isn't there
    boxes: torch.Tensor  # (B, 4) int64: left, top, right, bottom in pixels
    mirrored: torch.Tensor  # (B,) bool
    crops: torch.Tensor  # (m, 3, size, size) uint8: of those that aren't in `data`, in their order


def pack(
    images: Sequence[tuple[bytes, str, Callable[[int, int], Box]]], mirrored: Iterable[bool], size: int
) -> Encoded:
    """Encoded images, their names, and what gives the box for a width and height. Raises DataError naming an image.

    `mirrored` is read after the boxes were chosen: both are drawn from the same random numbers, in this order.
    """
    kept, boxes, crops = [], [], []
    for data, name, choose in images:
        box = _box_of_jpeg(data, choose)
        if box is None:
            crops.append(decode_crop(data, name, size, choose, reduced=True))
        kept.append(b"" if box is None else data)
        boxes.append(box or (0, 0, 1, 1))
    return Encoded(
        torch.from_numpy(np.frombuffer(b"".join(kept) or b"\0", dtype=np.uint8).copy()),
        torch.tensor([len(data) for data in kept]).cumsum(0),
        torch.tensor(boxes),
        torch.tensor(list(mirrored), dtype=torch.bool),
        torch.stack(crops) if crops else torch.empty((0, 3, size, size), dtype=torch.uint8),
    )


def _box_of_jpeg(data: bytes, choose: Callable[[int, int], Box]) -> tuple[int, int, int, int] | None:
    """In whole pixels; None for what isn't a JPEG in gray or RGB."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not is_taken(image):
                return None
            left, top, right, bottom = (round(edge) for edge in choose(*image.size))
            left, top = min(left, image.width - 1), min(top, image.height - 1)
            return left, top, min(max(right, left + 1), image.width), min(max(bottom, top + 1), image.height)
    except UNDECODABLE:
        return None


def unpack(batch: Encoded, names: Sequence[str], size: int, device: torch.device) -> torch.Tensor:
    """(B, 3, size, size) uint8 crops on the device. Raises DataError naming the image that can't be decoded."""
    spans = list(itertools.pairwise([0, *batch.ends.tolist()]))
    crops = torch.empty((len(spans), 3, size, size), dtype=torch.uint8, device=device)
    there = torch.tensor([end > start for start, end in spans], dtype=torch.bool)
    mirrored = batch.mirrored[~there].to(device)[:, None, None, None]
    others = batch.crops.to(device)
    crops[(~there).to(device)] = torch.where(mirrored, others.flip(3), others)
    rows = there.nonzero().flatten().tolist()
    found = [
        Crop(batch.data[slice(*spans[row])], names[row], tuple(batch.boxes[row].tolist()), (size, size),
             mirrored=bool(batch.mirrored[row]))
        for row in rows
    ]  # fmt: skip
    for row, crop in zip(rows, render(found, device), strict=True):
        crops[row] = crop
    return crops
