"""The detectors' part of clock.py: COCO's annotations, their photos, and average precision beside pycocotools."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import clock_data
import numpy as np
import torch
from clock_row import EPOCH, EVALUATION, RANK, RANKS, START, Row, cpu_seconds, thread_seconds
from pycocotools import mask as rle
from timing import REPOSITORY

import podium_benchmarks
from podium_benchmarks.core import coco
from podium_benchmarks.core.detection_eval import Detections, joined, match_photos, mean_precision
from podium_benchmarks.maskrcnn.eval import outline
from podium_benchmarks.maskrcnn.masks import rasterize
from podium_benchmarks.maskrcnn.model import MASK_SIDE

sys.path.insert(0, str(REPOSITORY))
from tests.unit.benchmarks.coco_reference import coco_eval, ground_truth

MEASURED_BATCHES, MEASURED_OUTLINES = 30, 300
Pairs = Sequence[tuple[coco.Photo, Detections]]


def ssd(folder: Path, part: float) -> Iterable[Row]:
    yield from detector("ssd", folder, part, segmentations=False, most=200)


def maskrcnn(folder: Path, part: float) -> Iterable[Row]:
    yield from detector("maskrcnn", folder, part, segmentations=True, most=100)


def detector(name: str, folder: Path, part: float, *, segmentations: bool, most: int) -> Iterable[Row]:
    """With the annotations from JSON and from the index; an evaluation in parts and on one process."""
    if not folder.exists():
        clock_data.coco_folder(folder, part)
    data, config = podium_benchmarks.benchmark(name).load("data"), podium_benchmarks.benchmark(name).presets["full"]
    config = dataclasses.replace(config, num_classes=clock_data.CATEGORIES, resident_megabytes=0)
    for index in folder.glob("annotations/*.pt"):
        index.unlink()
    plain, _ = cpu_seconds(lambda: data.open_data(config, folder, RANK))
    coco.write_indexes(folder)
    seconds, opened = cpu_seconds(lambda: data.open_data(config, folder, RANK))
    yield Row(START, "annotations: the index, and JSON", seconds / part, plain / part)
    next(opened.epoch(1))
    seconds, _ = thread_seconds(lambda: next(opened.epoch(2)))
    yield Row(EPOCH, "draw the order, wait for the first batch", seconds / part)
    train = coco.read_part(folder, "train", segmentations=True).photos if segmentations else ()
    yield from loader(opened, [photo for photo in train[:MEASURED_OUTLINES] if photo.segmentations])
    val = opened.truth
    random = np.random.default_rng(1)
    pairs = [(photo, detections(photo, most, random, masks=segmentations)) for photo in val.photos]
    if segmentations:
        of_rank = scaled_masks(val.photos[0]) * clock_data.COCO["val"][0] / RANKS * most
        yield Row(EVALUATION, f"masks of {most} objects in each of a rank's photos", of_rank)
    for kind in ("bbox", "segm")[: 1 + segmentations]:
        of_rank, of_all, plain = evaluated(val, pairs, kind)
        yield Row(EVALUATION, f"match a rank's photos ({kind})", of_rank / part, plain / part)
        yield Row(EVALUATION, f"precision of all, on rank 0 ({kind})", of_all / part)


def loader(opened: Any, outlined: Sequence[coco.Photo]) -> Iterable[Row]:
    """What 1,000 photos to train on take: in all threads, holding Python's lock for outlines, and in the main thread."""
    batches = opened.epoch(3)
    next(batches)

    def some() -> int:
        return sum(len(batch.images) for batch in islice(batches, MEASURED_BATCHES))

    everywhere, (here, count) = cpu_seconds(lambda: thread_seconds(some))
    yield Row(EPOCH, "make 1,000 photos ready, in all threads", everywhere / count * 1000)
    if outlined:
        seconds, _ = cpu_seconds(lambda: [rasterize(one.segmentations, one.height, one.width) for one in outlined])
        yield Row(EPOCH, "of it their outlines, under Python's lock", seconds / len(outlined) * 1000)
    yield Row(EPOCH, "of it in the main thread", here / count * 1000)


def detections(photo: coco.Photo, most: int, random: np.random.Generator, *, masks: bool) -> Detections:
    """Each object nearly found, the rest anywhere; with masks of their boxes."""
    corners = random.uniform(0, clock_data.HEIGHT / 2, (most, 2))
    sides = random.uniform(8, clock_data.HEIGHT / 2, (most, 2))
    boxes = torch.from_numpy(np.concatenate([corners, corners + sides], axis=1)).float()
    labels = torch.from_numpy(random.integers(1, clock_data.CATEGORIES + 1, most))
    found = min(most, len(photo.boxes))
    boxes[:found] = photo.boxes[:found] + torch.from_numpy(random.normal(0, 3, (found, 4))).float()
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    labels[:found] = photo.labels[:found]
    drawn = None
    if masks:
        sized = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).double().numpy()
        drawn = rle.frPyObjects(sized, clock_data.HEIGHT, clock_data.WIDTH)
    return Detections(photo.id, boxes, torch.from_numpy(random.random(most)), labels, drawn)


def scaled_masks(photo: coco.Photo, count: int = 2000) -> float:
    """CPU seconds of one mask, from the network's 28 x 28 to a run-length encoding."""
    random = np.random.default_rng(1)
    sides = np.exp(random.normal(4, 1, (count, 2))).clip(4, [clock_data.WIDTH, clock_data.HEIGHT])
    corners = random.uniform(size=(count, 2)) * ([clock_data.WIDTH, clock_data.HEIGHT] - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1).tolist()
    rise = torch.linspace(-4, 4, MASK_SIDE)
    shape = (3 - rise.square()[:, None] - rise.square()).sigmoid()  # a disk
    seconds, _ = cpu_seconds(lambda: [outline(shape, box, photo) for box in boxes])
    return seconds / count


def evaluated(val: coco.CocoSet, pairs: Pairs, kind: str) -> tuple[float, float, float]:
    """CPU seconds of a rank's shard, of what rank 0 then does, and of pycocotools for all."""
    shards = [pairs[rank::RANKS] for rank in range(RANKS)]
    first, part = cpu_seconds(lambda: match_photos(shards[0], kind))
    parts = [part, *(match_photos(shard, kind) for shard in shards[1:])]
    rest, precision = cpu_seconds(lambda: mean_precision(joined(parts), kind))
    known, _ = cpu_seconds(lambda: ground_truth(val))  # which is made once
    alone, expected = cpu_seconds(lambda: coco_eval(val, [found for _, found in pairs], kind))
    assert precision == expected, (precision, expected)
    return first, rest, alone - known
