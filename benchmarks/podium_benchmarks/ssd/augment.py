"""SSD's augmentation (ssd/utils.py): crops by overlap, mirroring and color jitter; all randomness is handed in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Of one crop in seven: the whole image; every box overlapping it by more than this; any overlap
WHOLE, ANY = -1.0, 0.0
CROP_MODES = (WHOLE, 0.1, 0.3, 0.5, 0.7, 0.9, ANY)
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.125, 0.5, 0.5, 0.05
GRAY = (0.2989, 0.587, 0.114)
Boxes = NDArray[np.float32]  # (n, 4) corners in parts of the image


@dataclass(frozen=True)
class Crop:
    """A part of an image, and the objects whose centers lie in it."""

    left: float
    top: float
    right: float
    bottom: float
    kept: NDArray[np.int64]  # which objects
    boxes: Boxes  # theirs, in parts of the crop


def random_crop(boxes: Boxes, max_samples: int, random: np.random.Generator) -> Crop:
    """Draw ways to crop until one gives a crop that holds the center of an object."""
    while True:
        least = CROP_MODES[random.integers(len(CROP_MODES))]
        if least == WHOLE:
            return Crop(0.0, 0.0, 1.0, 1.0, np.arange(len(boxes)), boxes)
        for _ in range(max_samples):
            width, height = random.uniform(0.3, 1.0, 2)
            if not 0.5 <= width / height <= 2:
                continue
            left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
            crop = np.array([left, top, left + width, top + height], dtype=np.float32)
            if least != ANY and not (_overlaps(boxes, crop) > least).all():
                continue
            center = (boxes[:, :2] + boxes[:, 2:]) / 2
            kept = np.flatnonzero(((center > crop[:2]) & (center < crop[2:])).all(1))
            if not len(kept):
                continue
            inside = np.clip(boxes[kept], np.tile(crop[:2], 2), np.tile(crop[2:], 2))
            scaled = (inside - np.tile(crop[:2], 2)) / np.array([width, height] * 2, dtype=np.float32)
            return Crop(*crop.tolist(), kept, np.clip(scaled, 0, 1))


def _overlaps(boxes: Boxes, crop: Boxes) -> NDArray[np.float32]:
    """(n,) IoU with the crop."""
    shared = np.clip(np.minimum(boxes[:, 2:], crop[2:]) - np.maximum(boxes[:, :2], crop[:2]), 0, None).prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (crop[2:] - crop[:2]).prod() - shared)


def mirror(boxes: Boxes) -> Boxes:
    """The boxes of the image seen in a mirror."""
    return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)


@dataclass(frozen=True)
class Jitter:
    """How to change the colors of B images; on the host, so that nothing waits for the device."""

    factors: torch.Tensor  # (B, 4) of brightness, contrast, saturation; turn of the hue
    order: torch.Tensor  # (B, 4) a permutation of the four for each image


def random_jitter(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Factors and order for one image, as torchvision's ColorJitter(.125, .5, .5, .05) draws them."""
    spread = np.array([BRIGHTNESS, CONTRAST, SATURATION, HUE])
    return np.array([1, 1, 1, 0]) + random.uniform(-spread, spread), random.permutation(4)


def jitter_colors(images: torch.Tensor, jitter: Jitter) -> torch.Tensor:
    """Change the colors of float images (B, 3, H, W) in 0..255, in place, each in its own order."""
    factors = jitter.factors.to(images.device, images.dtype, non_blocking=True).view(-1, 4, 1, 1, 1)
    changes = (_brightness, _contrast, _saturation, _hue)
    if _one_by_one(images):
        for number, order in enumerate(jitter.order.tolist()):
            for change in order:
                changes[change](images[number : number + 1], factors[number : number + 1, change])
        return images
    for place, (change, apply) in itertools.product(range(4), enumerate(changes)):
        chosen = (jitter.order[:, place] == change).nonzero().flatten()
        if len(chosen):
            chosen = chosen.to(images.device, non_blocking=True)
            images[chosen] = apply(images[chosen], factors[chosen, change])
    return images


def _one_by_one(images: torch.Tensor) -> bool:
    """On a CPU, whose cache an image fits; a GPU takes all images with the same change together."""
    return images.device.type == "cpu"


# Each of these changes images (B, 3, H, W) in place by a factor (B, 1, 1, 1), and returns them.


def _brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return images.mul_(factor).clamp_(0, 255)


def _contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    mean = _gray(images).mean((1, 2, 3), keepdim=True)
    return images.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 255)


def _saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    gray = _gray(images)
    return images.mul_(factor).add_(gray.mul_(1 - factor)).clamp_(0, 255)


def _gray(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.split(1, dim=1)
    return (red * GRAY[0]).add_(green, alpha=GRAY[1]).add_(blue, alpha=GRAY[2])


def _hue(images: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Turn the hue by `turn` of a circle, at most a sixth; value and saturation (of HSV) stay as they are."""
    red, green, blue = images.split(1, dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # Where on the circle, in sixths: 0 is red, 2 green, 4 blue; the brightest color and the other two's difference
    hue = torch.where(value == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4))
    hue = torch.where(value == red, green - blue, hue).div_(chroma.clamp(min=1e-6)).add_(turn * 6)
    centers = torch.tensor([0.0, 2.0, 4.0], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    # A color's strength falls with the distance d on the circle: 1 up to one sixth, 0 from two on; d = 3 - |3 - |x||
    strength = (hue - centers).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)
    return images.copy_(strength.sub_(1).mul_(chroma).add_(value))
