"""pycocotools' COCOeval, which our average precision must equal to the last bit."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from podium_benchmarks.core.coco import CocoSet
from podium_benchmarks.core.detection_eval import Detections


def coco_eval(truth: CocoSet, everything: Sequence[Detections], kind: str) -> float:
    """COCOeval's first number, for the kinds bbox and segm."""
    rows = []
    for found in everything:
        masks = found.masks if found.masks is not None else [None] * len(found.scores)
        for (left, top, right, bottom), score, label, mask in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), masks, strict=True
        ):
            row = {"image_id": found.photo_id, "category_id": truth.category_ids[label - 1], "score": score}
            row |= {"bbox": [left, top, right - left, bottom - top]} if kind == "bbox" else {"segmentation": mask}
            rows.append(row)
    with contextlib.redirect_stdout(io.StringIO()):  # COCOeval prints its progress
        known = ground_truth(truth)
        evaluation = COCOeval(known, known.loadRes(rows), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def ground_truth(coco: CocoSet) -> COCO:
    """The set as pycocotools' object, made in memory and without output."""
    annotations = []
    for photo in coco.photos:
        sizes = torch.cat([photo.boxes[:, :2], photo.boxes[:, 2:] - photo.boxes[:, :2]], dim=1)
        segmentations = photo.segmentations or [[]] * len(photo.labels)
        for box, label, segmentation, area, crowd in zip(
            sizes.tolist(), photo.labels.tolist(), segmentations, photo.areas.tolist(), photo.crowd.tolist(),
            strict=True,
        ):  # fmt: skip
            annotations.append(
                {
                    "id": len(annotations) + 1,  # from 1: COCOeval takes a match with 0 for none
                    "image_id": photo.id,
                    "category_id": coco.category_ids[label - 1],
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(crowd),
                    "segmentation": segmentation,
                }
            )
    truth = COCO()
    truth.dataset = {
        "images": [{"id": photo.id, "height": photo.height, "width": photo.width} for photo in coco.photos],
        "annotations": annotations,
        "categories": [{"id": category_id} for category_id in coco.category_ids],
    }
    truth.createIndex()
    return truth
