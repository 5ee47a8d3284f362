"""Detection, and COCO box AP over all ranks."""

from __future__ import annotations

import torch
from torchvision.ops import batched_nms

from podium_benchmarks.core import dist
from podium_benchmarks.core.detection_eval import Detections, average_precision
from podium_benchmarks.ssd.boxes import decode
from podium_benchmarks.ssd.data import Data, normalize
from podium_benchmarks.ssd.model import SSD

MIN_SCORE, NMS_IOU, MOST_DETECTIONS = 0.05, 0.5, 200


@torch.inference_mode()
def evaluate(model: SSD, anchors: torch.Tensor, data: Data, autocast: torch.autocast) -> float:
    """Box AP of all photos, each detected once, on one rank; all ranks know the same number."""
    # Ranks have seen different samples: all must score the same network.
    dist.average_over_ranks([buffer for buffer in model.buffers() if buffer.is_floating_point()])
    model.eval()
    mine = []
    for photos, images in data.evaluation():
        with autocast:
            offsets, logits = model(normalize(images))
        boxes, scores = decode(anchors, offsets.float()), logits.float().softmax(2)
        for photo, photo_boxes, photo_scores in zip(photos, boxes, scores, strict=True):
            found, confidence, labels = detect(photo_boxes, photo_scores)
            sides = found.new_tensor([photo.width, photo.height] * 2)
            mine.append(Detections(photo.id, found * sides, confidence, labels))
    model.train()
    return average_precision(data.truth, mine)["bbox"]


def detect(boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (n, 4), scores (n,) and labels (n,) of one image's best detections, from (A, 4) and (A, C + 1).

    Per class the best 200 above 0.05, less those that overlap a better one by more than half; then the best 200.
    """
    best, places = scores[:, 1:].t().topk(min(MOST_DETECTIONS, len(scores)))  # (C, 200)
    labels = torch.arange(1, scores.shape[1], device=scores.device).unsqueeze(1).expand_as(best)
    likely = best > MIN_SCORE
    best, places, labels = best[likely], places[likely], labels[likely]
    kept = batched_nms(boxes[places], best, labels, NMS_IOU)[:MOST_DETECTIONS]
    return boxes[places[kept]], best[kept], labels[kept]
