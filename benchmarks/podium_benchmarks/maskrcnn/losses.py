"""From images to the five losses: what is sampled of anchors and proposals, and what the heads should have said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.maskrcnn.boxes import IGNORED, encode, grid_anchors, match, sample
from podium_benchmarks.maskrcnn.config import STRIDES, Config
from podium_benchmarks.maskrcnn.data import Batch, normalize
from podium_benchmarks.maskrcnn.detector import ANCHOR_WEIGHTS, ROI_WEIGHTS, dense, pool, propose
from podium_benchmarks.maskrcnn.model import BOX_POOL, MASK_POOL, MASK_SIDE, MaskRCNN

ANCHORS_PER_IMAGE, ANCHOR_POSITIVES, ANCHOR_BETA = 256, 0.5, 1 / 9
ROI_POSITIVES, ROI_IOU = 0.25, 0.5


class TrainingPass(nn.Module):
    """Images and their objects -> sums (5,) of the losses and counts (5,) of what each is summed over, on this rank.

    The losses are those of the anchors' scores and offsets, the RoIs' classes and offsets, and the masks. Dividing by
    the counts of all ranks makes the gradients those of one rank with the whole batch.
    """

    def __init__(self, model: MaskRCNN, autocast: torch.autocast) -> None:
        super().__init__()
        self.model, self.config, self.autocast = model, model.config, autocast

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with self.autocast:
            maps, scores, offsets = dense(self.model, normalize(batch.images, batch.sizes))
        levels = grid_anchors([x.shape[2:] for x in maps], STRIDES, self.config.anchor_sizes, batch.images.device)
        draws = [torch.Generator(batch.images.device).manual_seed(seed) for seed in batch.seeds]
        anchor_sums, anchor_count = anchor_losses(scores, offsets, torch.cat(levels), batch, draws)
        proposals = propose(self.config, scores, offsets, levels, batch.sizes, training=True)
        rois = [
            sample_rois(self.config, boxes, objects, draw)
            for boxes, objects, draw in zip(proposals, batch.boxes, draws, strict=True)
        ]
        roi_sums, roi_counts = self._roi_losses(maps, rois, batch)
        return torch.stack([*anchor_sums, *roi_sums]), anchor_sums[0].new_tensor([anchor_count] * 2 + roi_counts)

    def _roi_losses(
        self, maps: Sequence[torch.Tensor], rois: Sequence[Rois], batch: Batch
    ) -> tuple[list[torch.Tensor], list[int]]:
        boxes = [roi.boxes for roi in rois]
        positives = [(roi.matched >= 0).nonzero().flatten() for roi in rois]
        with self.autocast:
            scores, offsets = self.model.boxes(pool(maps, boxes, BOX_POOL, self.config.canonical_size))
            mask_boxes = [box[chosen] for box, chosen in zip(boxes, positives, strict=True)]
            logits = self.model.masks(pool(maps, mask_boxes, MASK_POOL, self.config.canonical_size))
        classes, wanted, masks = [], [], []
        for roi, chosen, objects, labels, shapes in zip(
            rois, positives, batch.boxes, batch.labels, batch.masks, strict=True
        ):
            place = roi.matched.clamp(min=0)
            classes.append(labels[place].where(roi.matched >= 0, 0))
            wanted.append(encode(roi.boxes, objects[place], ROI_WEIGHTS)[chosen])
            masks.append(shapes.within(roi.boxes[chosen], place[chosen]).float())
        label = torch.cat(classes) if classes else scores.new_zeros(0, dtype=torch.int64)
        positive = (label > 0).nonzero().flatten()
        label_of_positive = label[positive]
        class_sum = F.cross_entropy(scores.float(), label, reduction="sum")
        chosen_offsets = offsets.float()[positive, label_of_positive]
        box_sum = F.smooth_l1_loss(chosen_offsets, _joined(wanted, chosen_offsets), reduction="sum")
        chosen_logits = logits.float()[torch.arange(len(positive), device=label.device), label_of_positive]
        mask_sum = F.binary_cross_entropy_with_logits(chosen_logits, _joined(masks, chosen_logits), reduction="sum")
        return [class_sum, box_sum, mask_sum / MASK_SIDE**2], [len(label), len(label), len(positive)]


def _joined(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """The parts of all images; a rank may have no image of a short last batch."""
    return torch.cat(list(parts)) if parts else torch.zeros_like(like)


def anchor_losses(
    scores: torch.Tensor, offsets: torch.Tensor, anchors: torch.Tensor, batch: Batch,
    draws: Sequence[torch.Generator],
) -> tuple[list[torch.Tensor], int]:  # fmt: skip
    """Summed losses of sampled anchors' scores (B, n) and offsets (B, n, 4), and the number of the former."""
    score_sum, offset_sum, count = scores.float().sum() * 0, offsets.float().sum() * 0, 0
    for image, (objects, (height, width), draw) in enumerate(zip(batch.boxes, batch.sizes, draws, strict=True)):
        matched = match(objects, anchors, low=0.3, high=0.7, best_of_each=True)
        within = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
        matched = torch.where(within, matched, IGNORED)
        keys = torch.rand(len(anchors), generator=draw, device=anchors.device)
        chosen = sample(matched, ANCHORS_PER_IMAGE, ANCHOR_POSITIVES, keys)
        positive = chosen[matched[chosen] >= 0]
        wanted = encode(anchors[positive], objects[matched[positive]], ANCHOR_WEIGHTS)
        score_sum = score_sum + F.binary_cross_entropy_with_logits(
            scores[image, chosen].float(), (matched[chosen] >= 0).float(), reduction="sum"
        )
        offset_sum = offset_sum + F.smooth_l1_loss(
            offsets[image, positive].float(), wanted, beta=ANCHOR_BETA, reduction="sum"
        )
        count += len(chosen)
    return [score_sum, offset_sum], count


@dataclass(frozen=True)
class Rois:
    """Boxes of one image that the heads are trained on."""

    boxes: torch.Tensor  # (n, 4)
    matched: torch.Tensor  # (n,) the place of the object that each is for; below 0: none


@torch.no_grad()
def sample_rois(config: Config, proposals: torch.Tensor, objects: torch.Tensor, draw: torch.Generator) -> Rois:
    """Of an image's proposals (n, 4), and of its objects' boxes themselves."""
    boxes = torch.cat([proposals, objects])
    matched = match(objects, boxes, low=ROI_IOU, high=ROI_IOU, best_of_each=False)
    keys = torch.rand(len(boxes), generator=draw, device=boxes.device)
    chosen = sample(matched, config.rois_per_image, ROI_POSITIVES, keys)
    return Rois(boxes[chosen], matched[chosen])
