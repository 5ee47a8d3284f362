"""Backbones trained on ImageNet: whether a file's weights belong to the images that a detector feeds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from podium_benchmarks.core.cli import UsageError

SIDE = 128
# Deviation of features over the places of the fixed photo, mean of their channels. A network that was trained on the
# same kind of images has about 0.2 to 1 in its stem and at its end. One that was trained on standardized images and is
# fed 0 to 255 has hundreds at its end, like one without training; the other way round the stem has less than 0.01.
SMALLEST, LARGEST = 0.02, 20.0


def fixed_photo() -> torch.Tensor:
    """(1, 3, 128, 128) uint8 RGB, always the same: clouds from coarse to fine, with a photo's mean and contrast."""
    random = np.random.default_rng(0)
    clouds = torch.zeros(1, 3, SIDE, SIDE)
    for cells in (2, 4, 8, 16, 32, 64, 128):
        gray, colors = (random.normal(0, 1, (1, channels, cells, cells)).astype(np.float32) for channels in (1, 3))
        cloud = torch.from_numpy(gray + 0.5 * colors)
        clouds += F.interpolate(cloud, (SIDE, SIDE), mode="bilinear") / cells**0.5
    clouds = (clouds - clouds.mean()) / clouds.std()
    return (115 + 58 * clouds).clamp(0, 255).to(torch.uint8)


def check_scale(stem: torch.Tensor, last: torch.Tensor, file: Path, wanted: str) -> None:
    """Raise UsageError if features (1, C, H, W) of the fixed photo are not as large as a trained network's.

    Those of the stem are taken after its normalization. `wanted` says which weights they should be: weights of the
    right shapes that were trained on other images would load, train, and never reach the target.
    """
    for name, features in (("first", stem), ("last", last)):
        found = float(features.flatten(2).std(2).mean())
        if not SMALLEST <= found <= LARGEST:
            raise UsageError(f"backbone_weights {file} has the right shapes, but its {name} features of a test image "
                             f"deviate by {found:.3g} instead of {SMALLEST} to {LARGEST:g}: it was trained on other "
                             f"images, or not at all; take {wanted}")  # fmt: skip
