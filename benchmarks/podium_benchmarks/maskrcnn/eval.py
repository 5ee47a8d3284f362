"""Detection, and COCO AP of boxes and masks over all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pycocotools import mask as rle
from torchvision.ops import batched_nms

from podium_benchmarks.core import dist
from podium_benchmarks.core.coco import Photo
from podium_benchmarks.core.coco_index import Segmentation
from podium_benchmarks.core.detection_eval import Detections, average_precision
from podium_benchmarks.maskrcnn.boxes import as_exclusive, clip, decode, grid_anchors
from podium_benchmarks.maskrcnn.config import STRIDES
from podium_benchmarks.maskrcnn.data import Data, Size, normalize
from podium_benchmarks.maskrcnn.detector import ROI_WEIGHTS, dense, pool, propose
from podium_benchmarks.maskrcnn.model import BOX_POOL, MASK_POOL, MASK_SIDE, MaskRCNN

MIN_SCORE, NMS_IOU, MOST_DETECTIONS = 0.05, 0.5, 100
MASK_LEVEL = 0.5
Best = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # boxes (n, 4), scores (n,) and labels (n,) of one image


@torch.inference_mode()
def evaluate(model: MaskRCNN, data: Data, autocast: torch.autocast) -> dict[str, float]:
    """AP as BBOX and SEGM of all photos, each detected once, on one rank; all ranks know the same numbers."""
    # Ranks may have seen different samples: all must score the same network.
    dist.average_over_ranks([buffer for buffer in model.buffers() if buffer.is_floating_point()])
    model.eval()
    with ThreadPoolExecutor(1) as thread:  # outlines are made while the device is at the next photos
        waiting = [
            thread.submit(describe, photos, sizes, *detect(model, images, sizes, autocast))
            for photos, images, sizes in data.evaluation()
        ]
    mine = [found for part in waiting for found in part.result()]
    model.train()
    found = average_precision(data.truth, mine, kinds=("bbox", "segm"))
    return {"BBOX": found["bbox"], "SEGM": found["segm"]}


def detect(
    model: MaskRCNN, images: torch.Tensor, sizes: Sequence[Size], autocast: torch.autocast
) -> tuple[list[Best], torch.Tensor]:
    """What is in scaled and padded images (B, 3, H, W) uint8, and all its masks (N, 28, 28); both on the host."""
    config = model.config
    with autocast:
        maps, scores, offsets = dense(model, normalize(images, sizes))
    levels = grid_anchors([x.shape[2:] for x in maps], STRIDES, config.anchor_sizes, images.device)
    proposals = propose(config, scores, offsets, levels, sizes, training=False)
    counts = [len(boxes) for boxes in proposals]
    with autocast:
        logits, moves = model.boxes(pool(maps, proposals, BOX_POOL, config.canonical_size))
    chosen = [
        best_of(boxes, likelihood, move, size)
        for boxes, likelihood, move, size in zip(
            proposals, logits.float().softmax(1).split(counts), moves.float().split(counts), sizes, strict=True
        )
    ]
    labels = torch.cat([labels for _, _, labels in chosen])
    with autocast:
        pooled = pool(maps, [boxes for boxes, _, _ in chosen], MASK_POOL, config.canonical_size)
        shapes = model.masks(pooled)
    shapes = shapes.float()[torch.arange(len(labels), device=labels.device), labels].sigmoid().cpu()
    return [(boxes.cpu(), confidence.cpu(), names.cpu()) for boxes, confidence, names in chosen], shapes


def describe(
    photos: Sequence[Photo], sizes: Sequence[Size], best: Sequence[Best], shapes: torch.Tensor
) -> list[Detections]:
    """What was detected in each photo, in its own pixels."""
    detections = []
    for photo, size, (boxes, confidence, names), shape in zip(
        photos, sizes, best, shapes.split([len(boxes) for boxes, _, _ in best]), strict=True
    ):
        in_photo = boxes * torch.tensor([photo.width / size[1], photo.height / size[0]] * 2)
        masks = [outline(part, box, photo) for part, box in zip(shape, in_photo.tolist(), strict=True)]
        detections.append(Detections(photo.id, as_exclusive(in_photo), confidence, names, masks))
    return detections


def best_of(proposals: torch.Tensor, scores: torch.Tensor, offsets: torch.Tensor, size: Size) -> Best:
    """One image's best detections.

    From proposals (P, 4), scores (P, C + 1) and offsets (P, C + 1, 4): those above 0.05, per class less those that
    overlap a better one by more than half; then the best 100.
    """
    place, label = (scores[:, 1:] > MIN_SCORE).nonzero(as_tuple=True)
    label = label + 1
    boxes = decode(proposals[place], offsets[place, label], ROI_WEIGHTS)
    boxes = clip(boxes[None], [size])[0]
    kept = batched_nms(as_exclusive(boxes), scores[place, label], label, NMS_IOU)[:MOST_DETECTIONS]
    return boxes[kept], scores[place, label][kept], label[kept]


def outline(shape: torch.Tensor, box: Sequence[float], photo: Photo) -> Segmentation:
    """The run-length encoding of a mask (28, 28) of probabilities, scaled up to its box in the photo.

    The mask gets a border of zeros and the box grows by as much, so that the scaled mask can end within it.
    """
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    grown = (MASK_SIDE + 2) / MASK_SIDE / 2
    half_width, half_height = (box[2] - box[0]) * grown, (box[3] - box[1]) * grown
    left, top, right, bottom = (
        int(side)
        for side in (center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height)
    )
    width, height = max(right - left + 1, 1), max(bottom - top + 1, 1)
    scaled = F.interpolate(F.pad(shape, (1, 1, 1, 1))[None, None], (height, width), mode="bilinear")[0, 0]
    x, y = max(left, 0), max(top, 0)
    within = scaled[y - top : photo.height - top, x - left : photo.width - left]
    return encode(within.numpy() > MASK_LEVEL, x, y, photo.height, photo.width)


def encode(part: NDArray[np.bool_], x: int, y: int, height: int, width: int) -> Segmentation:
    """The run-length encoding of a mask (height, width) that is `part` from column x and row y on, and empty elsewhere.

    Runs go down the columns, as pycocotools' do; what is outside of the part is never drawn.
    """
    columns = np.zeros((part.shape[1], part.shape[0] + 1), dtype=np.bool_)  # each ends with a pixel that is empty
    columns[:, :-1] = part.T
    flat = columns.ravel()
    column, row = divmod(np.flatnonzero(np.diff(flat, prepend=False)), part.shape[0] + 1)  # begins and ends of runs
    # A run to the foot of a column and one from the head of the next are one
    changes, times = np.unique((x + column) * height + y + row, return_counts=True)
    counts = np.diff(changes[times == 1], prepend=0, append=height * width)
    if counts[-1] == 0:
        counts = counts[:-1]
    return rle.frPyObjects({"counts": counts.tolist(), "size": [height, width]}, height, width)
