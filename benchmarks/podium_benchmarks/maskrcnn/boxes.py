"""Anchors, the code of box offsets, matching and sampling (maskrcnn_benchmark/modeling).

Boxes are (left, top, right, bottom) in pixels of the scaled image, and both corners belong to them: a box is one
pixel wider than right - left. The published results were reached with this, so it is part of the definition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torchvision.ops import box_iou

RATIOS = (0.5, 1.0, 2.0)  # height by width
LARGEST_LOG_SCALE = math.log(1000 / 16)
IGNORED, NEGATIVE = -2, -1  # what an anchor or proposal can be instead of an object's


def cell_anchors(stride: int, size: int) -> torch.Tensor:
    """(3, 4) anchors around the first cell, by ratio; sides are rounded before they are scaled up to `size`."""
    anchors = []
    center = (stride - 1) / 2
    for ratio in RATIOS:
        width = round(math.sqrt(stride * stride / ratio))
        height = round(width * ratio)
        across, down = ((side * size / stride - 1) / 2 for side in (width, height))
        anchors.append((center - across, center - down, center + across, center + down))
    return torch.tensor(anchors)


def grid_anchors(
    shapes: Sequence[tuple[int, int]], strides: Sequence[int], sizes: Sequence[int], device: torch.device
) -> list[torch.Tensor]:
    """Per level (rows x columns x 3, 4), by row, column and ratio."""
    levels = []
    for (rows, columns), stride, size in zip(shapes, strides, sizes, strict=True):
        y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
        shifts = torch.stack([x, y, x, y], dim=-1).view(-1, 1, 4) * stride
        levels.append((shifts + cell_anchors(stride, size).to(device)).view(-1, 4))
    return levels


def as_exclusive(boxes: torch.Tensor) -> torch.Tensor:
    """The same boxes with corners as everybody else counts them, so that others' areas and overlaps are ours."""
    return boxes + boxes.new_tensor([0, 0, 1, 1])


def encode(anchors: torch.Tensor, boxes: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Offsets (..., 4) that turn `anchors` (..., 4) into `boxes` (..., 4)."""
    size, wanted = (as_exclusive(corners)[..., 2:] - corners[..., :2] for corners in (anchors, boxes))
    shift = (boxes[..., :2] + wanted / 2 - anchors[..., :2] - size / 2) / size
    scale = (wanted / size).log()
    return torch.cat([shift, scale], dim=-1) * shift.new_tensor(weights)


def decode(anchors: torch.Tensor, offsets: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Boxes (..., 4) of `anchors` (..., 4) moved by `offsets` (..., 4)."""
    offsets = offsets / offsets.new_tensor(weights)
    size = as_exclusive(anchors)[..., 2:] - anchors[..., :2]
    center = anchors[..., :2] + size / 2 + offsets[..., :2] * size
    half = offsets[..., 2:].clamp(max=LARGEST_LOG_SCALE).exp() * size / 2
    return torch.cat([center - half, center + half - 1], dim=-1)


def clip(boxes: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Boxes (B, n, 4) moved into their images, whose heights and widths are `sizes`."""
    limit = boxes.new_tensor([[width - 1, height - 1] * 2 for height, width in sizes]).view(-1, 1, 4)
    return torch.minimum(boxes.clamp(min=0), limit)


def match(
    boxes: torch.Tensor, candidates: torch.Tensor, *, low: float, high: float, best_of_each: bool
) -> torch.Tensor:
    """For each candidate the place of the object it is for, or NEGATIVE, or IGNORED.

    boxes (G, 4) of one image's objects, at least one; candidates (n, 4). A candidate is for the object it overlaps
    most if by at least `high`, and for none if by less than `low`. With `best_of_each`, those that overlap an object
    as much as any other candidate does are for the object that they overlap most.
    """
    overlaps = box_iou(as_exclusive(boxes), as_exclusive(candidates))  # (G, n)
    overlap, place = overlaps.max(0)
    matched = place.where(overlap >= high, IGNORED).where(overlap >= low, NEGATIVE)
    if best_of_each:
        best = overlaps.amax(1, keepdim=True).clamp(min=1e-6)  # an object that nothing overlaps has none
        matched = torch.where((overlaps == best).any(0), place, matched)
    return matched


def sample(matched: torch.Tensor, most: int, positive_ratio: float, keys: torch.Tensor) -> torch.Tensor:
    """Places of at most `most` candidates: at most `positive_ratio` of that with an object, the rest without, in order.

    Those with the highest keys (n,), which are random, are taken.
    """
    positives = _highest(keys, matched >= 0, int(most * positive_ratio))
    negatives = _highest(keys, matched == NEGATIVE, most - len(positives))
    return torch.cat([positives, negatives]).sort().values


def _highest(keys: torch.Tensor, eligible: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` eligible ones with the highest keys, or of all if there are fewer."""
    places = eligible.nonzero().flatten()
    return places if len(places) <= count else places[keys[places].topk(count).indices]
