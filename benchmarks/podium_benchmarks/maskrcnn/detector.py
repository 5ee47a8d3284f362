"""What training and evaluation share: maps, proposals, and what is pooled from the maps for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchvision.ops import batched_nms, roi_align

from podium_benchmarks.maskrcnn.boxes import as_exclusive, clip, decode
from podium_benchmarks.maskrcnn.config import STRIDES, Config
from podium_benchmarks.maskrcnn.model import MaskRCNN

ANCHOR_WEIGHTS, ROI_WEIGHTS = (1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)
PROPOSAL_NMS_IOU = 0.7


def dense(model: MaskRCNN, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """(B, 3, H, W) -> maps P2 to P6, and per anchor of all levels scores (B, n) and offsets (B, n, 4)."""
    maps = model.pyramid(model.backbone(images))
    scores, offsets = model.proposals(maps)
    return maps, torch.cat(scores, 1), torch.cat(offsets, 1)


@torch.no_grad()
def propose(
    config: Config, scores: torch.Tensor, offsets: torch.Tensor, levels: Sequence[torch.Tensor],
    sizes: Sequence[tuple[int, int]], *, training: bool,
) -> list[torch.Tensor]:  # fmt: skip
    """Each image's boxes (n, 4) that probably hold an object, from scores (B, N) and offsets (B, N, 4) of anchors.

    Per level the best anchors are moved by their offsets and those that overlap a better one dropped; then the best
    of all levels are taken, of each image or, as the reference trains, of all images together.
    """
    most = config.nms_candidates if training else config.nms_candidates // 2
    counts = [len(anchors) for anchors in levels]
    best, moved, of_level = [], [], []
    for level, (anchors, score, offset) in enumerate(
        zip(levels, scores.float().split(counts, 1), offsets.float().split(counts, 1), strict=True)
    ):
        top, places = score.topk(min(most, len(anchors)), dim=1)
        best.append(top)
        moved.append(decode(anchors[places], offset.gather(1, places.unsqueeze(2).expand(-1, -1, 4)), ANCHOR_WEIGHTS))
        of_level.append(torch.full((top.shape[1],), level, device=top.device))
    score, level_number = torch.cat(best, 1), torch.cat(of_level)
    boxes = clip(torch.cat(moved, 1), sizes)
    kept = [
        batched_nms(as_exclusive(image_boxes), image_scores, level_number, PROPOSAL_NMS_IOU)
        for image_boxes, image_scores in zip(boxes, score, strict=True)
    ]
    if training and config.candidate_pool == "rank" and kept:
        together = torch.cat([image_scores[places] for image_scores, places in zip(score, kept, strict=True)])
        worst = together.topk(min(config.num_image_candidates, len(together))).values[-1]
        kept = [places[image_scores[places] >= worst] for image_scores, places in zip(score, kept, strict=True)]
    else:
        limit = config.num_image_candidates if training else config.eval_candidates
        kept = [places[:limit] for places in kept]
    return [image_boxes[places] for image_boxes, places in zip(boxes, kept, strict=True)]


def pool(maps: Sequence[torch.Tensor], boxes: Sequence[torch.Tensor], side: int, canonical_size: int) -> torch.Tensor:
    """(n, C, side, side) of all images' boxes, each from the level whose cells fit its size (FPN paper, eq. 1)."""
    image = [torch.full((len(one), 1), number) for number, one in enumerate(boxes)]
    if not image:
        return maps[0].new_zeros(0, maps[0].shape[1], side, side)
    rois = torch.cat([torch.cat(image).to(maps[0].device), torch.cat(list(boxes))], dim=1)
    extent = as_exclusive(rois[:, 1:])[:, 2:] - rois[:, 1:3]
    level = (4 + (extent.prod(1).sqrt() / canonical_size + 1e-6).log2()).floor().clamp(2, 5) - 2
    pooled = maps[0].new_zeros((len(rois), maps[0].shape[1], side, side), dtype=torch.float32)
    for number, x in enumerate(maps[:4]):
        chosen = (level == number).nonzero().flatten()
        pooled[chosen] = roi_align(x.float(), rois[chosen], side, spatial_scale=1 / STRIDES[number], sampling_ratio=2)
    return pooled
