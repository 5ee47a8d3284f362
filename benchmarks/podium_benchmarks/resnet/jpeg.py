"""JPEG bytes to crops on the training device: a GPU's decoder (nvJPEG) by way of torchvision, on a CPU libjpeg.

Worker processes read the files and choose the boxes, from the images' headers. What a GPU's decoder doesn't take, such
as PNG and CMYK, they decode as ever.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from podium_benchmarks.resnet.decode import UNDECODABLE, Box, decode_crop, decode_whole


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
            if image.format != "JPEG" or image.mode not in {"L", "RGB"}:
                return None
            left, top, right, bottom = (round(edge) for edge in choose(*image.size))
            left, top = min(left, image.width - 1), min(top, image.height - 1)
            return left, top, min(max(right, left + 1), image.width), min(max(bottom, top + 1), image.height)
    except UNDECODABLE:
        return None


def unpack(batch: Encoded, names: Sequence[str], size: int, device: torch.device) -> torch.Tensor:
    """(B, 3, size, size) uint8 crops on the device. Raises DataError naming the image that can't be decoded."""
    spans = list(itertools.pairwise([0, *batch.ends.tolist()]))
    rows = [row for row, (start, end) in enumerate(spans) if end > start]
    crops = torch.empty((len(spans), 3, size, size), dtype=torch.uint8, device=device)
    others = torch.tensor([row for row, (start, end) in enumerate(spans) if end == start], dtype=torch.int64)
    crops[others.to(device)] = batch.crops.to(device)
    files = [batch.data[slice(*spans[row])] for row in rows]
    for row, image in zip(rows, _decoded(files, [names[row] for row in rows], device), strict=True):
        left, top, right, bottom = batch.boxes[row].tolist()
        part = image[None, :, top:bottom, left:right].float()
        crops[row] = F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0].round_().clamp_(0, 255)
    mirrored = batch.mirrored.to(device)[:, None, None, None]
    return torch.where(mirrored, crops.flip(3), crops)


def _decoded(files: list[torch.Tensor], names: Sequence[str], device: torch.device) -> list[torch.Tensor]:
    """Each (3, height, width) uint8; those that the device refuses are decoded by Pillow, or their names reported."""
    try:
        return _decode_jpeg(files, device) if files else []
    except RuntimeError:
        if len(files) > 1:
            return [_decoded([file], [name], device)[0] for file, name in zip(files, names, strict=True)]
    return [decode_whole(files[0].numpy().tobytes(), names[0]).to(device)]


@functools.cache
def decodes(device: torch.device) -> bool:
    """Whether torchvision has a decoder for the device: the first call takes the time to start it."""
    example = io.BytesIO()
    Image.new("RGB", (16, 16)).save(example, "JPEG")
    try:
        _decode_jpeg([torch.frombuffer(bytearray(example.getvalue()), dtype=torch.uint8)], device)
    except RuntimeError:
        return False
    return True


def _decode_jpeg(files: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    from torchvision import io as images  # noqa: PLC0415 - takes seconds, which few runs need

    return images.decode_jpeg(files, mode=images.ImageReadMode.RGB, device=device)  # type: ignore[no-any-return]
