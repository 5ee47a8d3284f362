"""COCO average precision of what all ranks have detected (pycocotools' COCOeval)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from podium_benchmarks.core.coco import CocoSet, Segmentation, ground_truth
from podium_benchmarks.core.dist import Ranks


@dataclass(frozen=True)
class Detections:
    """What was found in one photo."""

    photo_id: int
    boxes: torch.Tensor  # (n, 4) left, top, right, bottom in the photo's pixels
    scores: torch.Tensor  # (n,)
    labels: torch.Tensor  # (n,) from 1, as in Photo
    masks: Sequence[Segmentation] | None = None  # n run-length encodings of the photo's size


def average_precision(
    truth: CocoSet, mine: Sequence[Detections], ranks: Ranks, kinds: Sequence[str] = ("bbox",)
) -> dict[str, float]:
    """Mean over IoU .50:.95 and classes (COCOeval's first number) per kind, bbox or segm; the same on every rank.

    `mine` are this rank's photos; together the ranks must have each photo of `truth` exactly once.
    """
    together: list[Sequence[Detections]] = [mine]
    if ranks.world_size > 1:
        together = [[]] * ranks.world_size
        torch.distributed.all_gather_object(together, [_on_cpu(detections) for detections in mine])
    results = [0.0] * len(kinds)
    if ranks.rank == 0:
        everything = [_on_cpu(detections) for part in together for detections in part]
        ids = sorted(detections.photo_id for detections in everything)
        assert ids == [photo.id for photo in truth.photos], "every photo is evaluated exactly once"
        with contextlib.redirect_stdout(io.StringIO()):  # COCOeval prints its progress
            results = [_coco_eval(ground_truth(truth), truth.category_ids, everything, kind) for kind in kinds]
    if ranks.world_size > 1:
        broadcast = torch.tensor(results, dtype=torch.float64, device=ranks.device)
        torch.distributed.broadcast(broadcast, src=0)
        results = broadcast.tolist()
    return dict(zip(kinds, results, strict=True))


def _on_cpu(found: Detections) -> Detections:
    return Detections(found.photo_id, found.boxes.cpu(), found.scores.cpu(), found.labels.cpu(), found.masks)


def _coco_eval(truth: COCO, category_ids: Sequence[int], everything: Sequence[Detections], kind: str) -> float:
    rows: list[dict[str, Any]] = []
    for found in everything:
        masks = found.masks if found.masks is not None else [None] * len(found.scores)
        for (left, top, right, bottom), score, label, mask in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), masks, strict=True
        ):
            row: dict[str, Any] = {"image_id": found.photo_id, "category_id": category_ids[label - 1], "score": score}
            row |= {"bbox": [left, top, right - left, bottom - top]} if kind == "bbox" else {"segmentation": mask}
            rows.append(row)
    if not rows:
        return 0.0  # loadRes can't read an empty list
    evaluation = COCOeval(truth, truth.loadRes(rows), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])
