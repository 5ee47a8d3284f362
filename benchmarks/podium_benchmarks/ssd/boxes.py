"""Anchors, which object each one is for, the code of box offsets, and the loss (ssd/{utils,ssd300}.py).

Boxes are in parts of the image: corners (left, top, right, bottom) or centers (x, y, width, height).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torchvision.ops import box_convert

from podium_benchmarks.ssd.model import IMAGE_SIZE

CELLS = (38, 19, 10, 5, 3, 1)
STEPS = (8, 16, 32, 64, 100, 300)
SCALES = (21, 45, 99, 153, 207, 261, 315)
ASPECT_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
MATCH_IOU = 0.5
NEGATIVES_PER_POSITIVE = 3


def make_anchors() -> torch.Tensor:
    """(8732, 4) centers, clamped to 0..1, by map, row, column, shape."""
    anchors = []
    for cells, step, scale, next_scale, ratios in zip(CELLS, STEPS, SCALES, SCALES[1:], ASPECT_RATIOS, strict=False):
        side, between = scale / IMAGE_SIZE, math.sqrt(scale * next_scale) / IMAGE_SIZE
        shapes = [(side, side), (between, between)]
        for ratio in ratios:
            long, short = side * math.sqrt(ratio), side / math.sqrt(ratio)
            shapes += [(long, short), (short, long)]
        places = [(cell + 0.5) * step / IMAGE_SIZE for cell in range(cells)]
        anchors += [(x, y, *shape) for y in places for x in places for shape in shapes]
    return torch.tensor(anchors).clamp(0, 1)


def match(anchors: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Offsets (B, A, 4) and classes (B, A) for each anchor; 0 is background.

    anchors (A, 4) centers; boxes (B, G, 4) corners and labels (B, G), filled up with label 0. An anchor is for the
    box it overlaps most if by more than half, and the best anchor of each box always is for that box; of boxes with
    the same best anchor the last one gets it.
    """
    overlaps = _iou(boxes, box_convert(anchors, "cxcywh", "xyxy"))  # (B, G, A)
    overlaps.masked_fill_((labels == 0).unsqueeze(2), -1)
    overlap, chosen = overlaps.max(1)  # (B, A)
    best = overlaps.argmax(2).masked_fill(labels == 0, len(anchors))  # (B, G): one anchor too many for the filling
    forced = chosen.new_full((len(boxes), len(anchors) + 1), -1)
    order = torch.arange(boxes.shape[1], device=boxes.device).expand_as(best)
    forced = forced.scatter_reduce(1, best, order, "amax")[:, :-1]
    chosen = torch.where(forced >= 0, forced, chosen)
    positive = (forced >= 0) | (overlap > MATCH_IOU)
    classes = torch.where(positive, labels.gather(1, chosen), 0)
    matched = boxes.gather(1, chosen.unsqueeze(2).expand(-1, -1, 4))
    return encode(anchors, matched), classes


def _iou(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """(B, G, 4) and (A, 4) corners -> (B, G, A)."""
    low = torch.maximum(boxes[:, :, None, :2], anchors[:, :2])
    high = torch.minimum(boxes[:, :, None, 2:], anchors[:, 2:])
    shared = (high - low).clamp(min=0).prod(3)
    areas = [(corners[..., 2:] - corners[..., :2]).prod(-1) for corners in (boxes, anchors)]
    return shared / (areas[0].unsqueeze(2) + areas[1] - shared)


def encode(anchors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """What the network should say at anchors (A, 4) for corner boxes (B, A, 4)."""
    center, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
    offset = (center - anchors[:, :2]) / anchors[:, 2:] / CENTER_VARIANCE
    return torch.cat([offset, (size / anchors[:, 2:]).log() / SIZE_VARIANCE], dim=-1)


def decode(anchors: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Corner boxes (B, A, 4) of what the network said."""
    center = anchors[:, :2] + offsets[..., :2] * CENTER_VARIANCE * anchors[:, 2:]
    size = anchors[:, 2:] * (offsets[..., 2:] * SIZE_VARIANCE).exp()
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def image_losses(
    offsets: torch.Tensor, logits: torch.Tensor, wanted_offsets: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """(B,) loss of each image: boxes of positives, classes of positives and of the 3 x as many hardest negatives.

    Each divided by the number of the image's positives; without any, the loss is 0.
    """
    positive = classes > 0
    positives = positive.sum(1, keepdim=True)
    box_loss = (F.smooth_l1_loss(offsets, wanted_offsets, reduction="none").sum(2) * positive).sum(1)
    class_loss = F.cross_entropy(logits.transpose(1, 2), classes, reduction="none")  # (B, A)
    hardest = class_loss.masked_fill(positive, 0).sort(dim=1, descending=True).values
    rank = torch.arange(hardest.shape[1], device=hardest.device)
    negative_loss = (hardest * (rank < NEGATIVES_PER_POSITIVE * positives)).sum(1)
    total = box_loss + (class_loss * positive).sum(1) + negative_loss
    return total / positives.squeeze(1).clamp(min=1) * (positives.squeeze(1) > 0)
