"""JPEG bytes to crops, with as little decoding as the crop needs.

Where a training crop is at least twice the size wanted, libjpeg decodes the image at 1/2, 1/4 or 1/8 of its size: it
then transforms 1/4, 1/16 or 1/64 of the values. Such crops differ from those of the whole image by less than two gray
levels in the mean (tests/unit/benchmarks/test_decode.py); the others are the same to the last bit. Evaluation decodes
the whole image, as the reference does.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from podium_benchmarks.core.cli import DataError
from podium_benchmarks.core.jpeg import UNDECODABLE

CROP_TRIES = 100  # of the reference

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def center_box(width: int, height: int, part: float) -> Box:
    """The central square with `part` of the shorter side."""
    side = min(width, height) * part
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_box(width: int, height: int, min_area: float, random: np.random.Generator) -> Box:
    """A crop of area uniform in [min_area, 1] of the image and ratio in [3/4, 4/3]; the first try that fits."""
    area = random.uniform(min_area, 1.0, CROP_TRIES) * width * height
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3), CROP_TRIES))
    widths, heights = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = np.flatnonzero((widths <= width) & (heights <= height))
    if not len(fits):
        return 0.0, 0.0, float(width), float(height)
    w, h = float(widths[fits[0]]), float(heights[fits[0]])
    left, top = random.uniform(0, width - w), random.uniform(0, height - h)
    return left, top, left + w, top + h


def shorter_side(data: bytes, name: str) -> int:
    """Of an encoded image, in pixels, from its header."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return min(image.size)
    except UNDECODABLE as error:
        raise _refusal(data, name, error) from error


def decode_crop(data: bytes, name: str, size: int, choose: Callable[[int, int], Box], *, reduced: bool) -> torch.Tensor:
    """(3, size, size) uint8: the box that `choose` gives for (width, height). Raises DataError naming the image.

    `reduced` allows decoding at a smaller size than the image's.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            left, top, right, bottom = choose(width, height)
            if reduced:
                wanted = math.ceil(width * size / (right - left)), math.ceil(height * size / (bottom - top))
                image.draft("RGB", wanted)
            factor = round(width / image.width)  # exact, where the quotient isn't: 641 pixels become 321
            pixels = image.convert("RGB")
    except UNDECODABLE as error:
        raise _refusal(data, name, error) from error
    # rounding may step outside
    box = (left / factor, top / factor, min(right / factor, pixels.width), min(bottom / factor, pixels.height))
    crop = pixels.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1)


def _refusal(data: bytes, name: str, error: Exception) -> DataError:
    reason = f"its {len(data)} bytes are not an image" if isinstance(error, UnidentifiedImageError) else error
    return DataError(f"{name} can't be decoded ({reason}): replace the file")
