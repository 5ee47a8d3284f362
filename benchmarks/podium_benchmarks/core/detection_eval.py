"""COCO average precision of what all ranks have detected: COCOeval's first number, to the last bit.

Each rank matches its own photos; what is gathered is a score and two sets of flags per detection. pycocotools does the
same on one process, for four ranges of areas of which only the first counts here, and with a loop in Python over
thresholds, detections and objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.cocoeval import Params

from podium_benchmarks.core import dist
from podium_benchmarks.core.coco import CocoSet, Photo
from podium_benchmarks.core.coco_index import Segmentation, run_lengths

MOST_PER_CLASS = 100  # in one photo
Floats, Bools = NDArray[np.float64], NDArray[np.bool_]


@dataclass(frozen=True)
class Detections:
    """What was found in one photo."""

    photo_id: int
    boxes: torch.Tensor  # (n, 4) left, top, right, bottom in the photo's pixels
    scores: torch.Tensor  # (n,)
    labels: torch.Tensor  # (n,) from 1, as in Photo
    masks: Sequence[Segmentation] | None = None  # n run-length encodings of the photo's size


@dataclass(frozen=True)
class Matches:
    """Detections of some photos that were compared with their objects, by photo and then by falling score."""

    photo_ids: NDArray[np.int64]  # (photos,)
    counts: NDArray[np.int64]  # (photos,) detections of each
    labels: NDArray[np.int64]  # (n,)
    scores: Floats  # (n,)
    matched: Bools  # (n, thresholds): whether it found an object
    ignored: Bools  # (n, thresholds): whether that is one that doesn't count
    objects: Mapping[int, int]  # how many objects count, by label


def average_precision(truth: CocoSet, mine: Sequence[Detections], kinds: Sequence[str] = ("bbox",)) -> dict[str, float]:
    """Mean over IoU .50:.95 and classes (COCOeval's first number) per kind, bbox or segm; the same on every rank.

    `mine` are this rank's photos; together the ranks must have each photo of `truth` exactly once.
    """
    photos = {photo.id: photo for photo in truth.photos}
    pairs = [(photos[found.photo_id], found) for found in sorted(mine, key=lambda found: found.photo_id)]
    parts = dist.gather_objects([match_photos(pairs, kind) for kind in kinds])

    def score() -> list[float]:
        ids = np.sort(np.concatenate([part[0].photo_ids for part in parts])).tolist()
        assert ids == [photo.id for photo in truth.photos], "every photo is evaluated exactly once"
        return [mean_precision(joined([part[place] for part in parts]), kind) for place, kind in enumerate(kinds)]

    return dict(zip(kinds, dist.broadcast_from_rank0(score), strict=True))


def match_photos(pairs: Sequence[tuple[Photo, Detections]], kind: str) -> Matches:
    """Compare the detections of each photo with its objects, by their boxes or, for the kind segm, their masks."""
    thresholds = Params(iouType=kind).iouThrs
    rows: list[tuple[NDArray[np.int64], Floats, Bools, Bools]] = []
    objects: dict[int, int] = {}
    counts = []
    for photo, found in pairs:
        real, labels, scores = photo.labels.numpy(), found.labels.cpu().numpy(), found.scores.cpu().double().numpy()
        for label, count in zip(*np.unique(real[~photo.crowd.numpy()], return_counts=True), strict=True):
            objects[int(label)] = objects.get(int(label), 0) + int(count)
        wanted, given = _shapes_of(photo, kind), _shapes_of(found, kind)
        before = len(rows)
        for label in np.unique(labels):
            best = (labels == label).nonzero()[0]
            best = best[np.argsort(-scores[best], kind="stable")][:MOST_PER_CLASS]
            matched, ignored = np.zeros((2, len(best), len(thresholds)), dtype=bool)
            places = (real == label).nonzero()[0]
            places = places[np.argsort(photo.crowd.numpy()[places], kind="stable")]  # what counts comes first
            if len(places):
                crowd = photo.crowd.numpy()[places]
                overlaps = rle.iou(given.take(best), wanted.take(places), crowd.astype(np.uint8))
                matched, ignored = match(overlaps, crowd, thresholds)
            rows.append((np.full(len(best), label), scores[best], matched, ignored))
        counts.append(sum(len(row[0]) for row in rows[before:]))
    rows.append((np.zeros(0, np.int64), np.zeros(0), *np.zeros((2, 0, len(thresholds)), dtype=bool)))
    labels, scores, matched, ignored = (np.concatenate(column) for column in zip(*rows, strict=True))
    ids = np.array([photo.id for photo, _ in pairs], dtype=np.int64)
    return Matches(ids, np.array(counts, dtype=np.int64), labels, scores, matched, ignored, objects)


def match(overlaps: Floats, crowd: Bools, thresholds: Floats) -> tuple[Bools, Bools]:
    """Of detections by falling score and objects with crowds last, (n, thresholds): found one, and it is a crowd.

    Each detection takes the free object that it overlaps most and at least by the threshold, of equal ones the last;
    a crowd, which is always free, only where there is none.
    """
    matched, ignored = np.zeros((2, len(overlaps), len(thresholds)), dtype=bool)
    free = np.ones((len(thresholds), len(crowd)), dtype=bool)
    singles = int((~crowd).sum())
    for place in (overlaps.max(1) >= thresholds[0]).nonzero()[0]:
        for group, is_crowd in ((slice(0, singles), False), (slice(singles, None), True)):
            row = overlaps[place, group]
            if not len(row):
                continue
            usable = np.where(free[:, group] & (row >= thresholds[:, None]), row, -1.0)  # (thresholds, objects)
            chosen = len(row) - 1 - usable[:, ::-1].argmax(1)
            takes = (usable[np.arange(len(thresholds)), chosen] >= 0) & ~matched[place]
            matched[place] |= takes
            if is_crowd:
                ignored[place] = takes
            else:
                free[takes, chosen[takes]] = False
    return matched, ignored


@dataclass(frozen=True)
class _Shapes:
    """Boxes as left, top, width, height, or run-length encodings: what pycocotools computes overlaps of."""

    boxes: Floats | None
    masks: Sequence[Segmentation]

    def take(self, places: NDArray[np.int64]) -> Floats | list[Segmentation]:
        return [self.masks[place] for place in places] if self.boxes is None else self.boxes[places]


def _shapes_of(one: Photo | Detections, kind: str) -> _Shapes:
    if kind == "bbox":
        boxes = one.boxes.cpu().double().numpy()
        return _Shapes(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1), ())
    if isinstance(one, Detections):
        return _Shapes(None, one.masks or ())
    return _Shapes(None, [run_lengths(outline, one.height, one.width) for outline in one.segmentations])


def joined(parts: Sequence[Matches]) -> Matches:
    """All ranks' matches as one, by photo: detections of equal score are counted in that order."""
    ids, counts = (np.concatenate([getattr(part, name) for part in parts]) for name in ("photo_ids", "counts"))
    order = np.argsort(np.repeat(ids, counts), kind="stable")
    columns = ("labels", "scores", "matched", "ignored")
    labels, scores, matched, ignored = (np.concatenate([getattr(p, name) for p in parts])[order] for name in columns)
    objects = {label: sum(part.objects.get(label, 0) for part in parts) for part in parts for label in part.objects}
    return Matches(ids, counts, labels, scores, matched, ignored, objects)


def mean_precision(found: Matches, kind: str) -> float:
    """The mean over thresholds, classes that have objects, and 101 recalls of the best precision from there on."""
    recalls = Params(iouType=kind).recThrs
    precisions = []
    for label in sorted(found.objects):
        mine = (found.labels == label).nonzero()[0]
        mine = mine[np.argsort(-found.scores[mine], kind="stable")]
        counts = ~found.ignored[mine].T  # (thresholds, n)
        right = np.cumsum(found.matched[mine].T & counts, axis=1, dtype=np.float64)
        wrong = np.cumsum(~found.matched[mine].T & counts, axis=1, dtype=np.float64)
        precision = right / (wrong + right + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        precision = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)  # beyond the last recall
        for recall, row in zip(right / found.objects[label], precision, strict=True):
            precisions.append(row[np.searchsorted(recall, recalls, side="left")])
    if not precisions:
        return -1.0  # as COCOeval: there is nothing to find
    # COCOeval keeps them by threshold, recall and class: a sum in another order rounds differently
    values = np.stack(precisions).reshape(len(found.objects), -1, len(recalls)).transpose(1, 2, 0)
    return float(np.mean(np.ascontiguousarray(values).ravel()))
