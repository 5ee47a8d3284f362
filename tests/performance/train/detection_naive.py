"""What the detectors' training loops are measured against: the loops as one would first write them.

The same networks, losses and batches of 8; fp32, NCHW, each photo opened, cut and scaled by Pillow when its turn comes,
objects matched image by image, the loss read at every step.

    python tests/performance/train/detection_naive.py --data DIR [--seconds 60]

prints images per second of each such loop and of the trainer's, in turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from podium_benchmarks.core import coco, dist
from podium_benchmarks.core.coco import CocoSet
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.precision import mixed_precision
from podium_benchmarks.maskrcnn import config as maskrcnn_config
from podium_benchmarks.maskrcnn import data as maskrcnn_data
from podium_benchmarks.maskrcnn import losses as maskrcnn_losses
from podium_benchmarks.maskrcnn import train as maskrcnn
from podium_benchmarks.ssd import augment, boxes
from podium_benchmarks.ssd import config as ssd_config
from podium_benchmarks.ssd import data as ssd_data
from podium_benchmarks.ssd import train as ssd

BATCH, RATE = 8, 0.005
Step = Callable[[], int]  # trains on one batch and returns its images


def endless(make: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from make(epoch)
        epoch += 1


def fp32_nchw(trainee: Any) -> None:
    trainee.model.to(memory_format=torch.contiguous_format)


class SsdPhotos(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """One photo at a time, by Pillow."""

    def __init__(self, photos: CocoSet) -> None:
        self.photos, self.random = photos.photos, np.random.default_rng(0)
        self.change = v2.Compose([v2.ColorJitter(0.125, 0.5, 0.5, 0.05), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
                                  v2.Normalize(ssd_data.MEAN_RGB, ssd_data.DEVIATION_RGB)])  # fmt: skip

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        photo = self.photos[index]
        sides = np.array([photo.width, photo.height] * 2, dtype=np.float32)
        crop = augment.random_crop(photo.boxes.numpy() / sides, 1, self.random)
        with Image.open(photo.file) as image:
            part = image.convert("RGB").crop(tuple(np.array([crop.left, crop.top, crop.right, crop.bottom]) * sides))
        return self.change(part.resize((300, 300))), torch.from_numpy(crop.boxes), photo.labels[crop.kept]


def naive_ssd(photos: CocoSet, alone: Ranks) -> Step:
    settings = dataclasses.replace(ssd_config.TINY, precision="fp32", num_classes=len(photos.category_ids))
    trainee = ssd.build(settings, 1, alone)
    fp32_nchw(trainee)
    set_learning_rate(trainee.optimizer, RATE)
    anchors = boxes.make_anchors()
    loader = DataLoader(SsdPhotos(photos), BATCH, shuffle=True, collate_fn=list)
    batches = endless(lambda _: iter(loader))

    def step() -> int:
        batch = next(batches)
        matched = [boxes.match(anchors, objects[None], labels[None]) for _, objects, labels in batch]
        offsets, logits = trainee.model(torch.stack([image for image, _, _ in batch]))
        wanted, classes = (torch.cat([pair[part] for pair in matched]) for part in (0, 1))
        loss = boxes.image_losses(offsets, logits, wanted, classes).mean()
        trainee.optimizer.zero_grad()
        loss.backward()
        trainee.optimizer.step()
        assert loss.item() >= 0
        return len(batch)

    return step


def trainer_ssd(folder: Path, photos: CocoSet, alone: Ranks) -> Step:
    settings = dataclasses.replace(ssd_config.TINY, num_classes=len(photos.category_ids))
    trainee, anchors = ssd.build(settings, 1, alone), boxes.make_anchors()
    autocast = mixed_precision(settings.precision, alone.device)
    batches = endless(ssd_data.open_data(settings, folder, alone).epoch)

    def step() -> int:
        batch = next(batches)
        set_learning_rate(trainee.optimizer, RATE)
        ssd.forward_backward(trainee.network, anchors, batch, scale=1 / batch.global_count, autocast=autocast)
        trainee.optimizer.step()
        trainee.optimizer.zero_grad(set_to_none=True)
        return batch.global_count

    return step


class MaskRcnnPhotos(Dataset[maskrcnn_data.Sample]):
    """One photo at a time, by Pillow."""

    def __init__(self, photos: CocoSet, settings: maskrcnn_config.Config, alone: Ranks) -> None:
        self.photos = photos.photos
        opened = partial(maskrcnn_data.Data, settings, photos, photos, alone, repairs={}, mirrored=True)
        self.sample = opened()._sample
        self.settings = settings

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> maskrcnn_data.Sample:
        return self.sample(0, index)


def maskrcnn_step(settings: maskrcnn_config.Config, batches: Iterator[Any], alone: Ranks, *, plain: bool) -> Step:
    trainee = maskrcnn.build(settings, 1, alone)
    if plain:
        fp32_nchw(trainee)
    normalize = maskrcnn_losses.normalize

    def step() -> int:
        batch = next(batches)
        set_learning_rate(trainee.optimizer, RATE)
        as_it_comes = mock.patch.object(
            maskrcnn_losses,
            "normalize",
            lambda *images: normalize(*images).contiguous() if plain else normalize(*images),
        )
        with as_it_comes:
            loss = maskrcnn.forward_backward(trainee.network, batch, alone)
        trainee.optimizer.step()
        trainee.optimizer.zero_grad(set_to_none=not plain)
        assert not plain or loss.item() >= 0
        return batch.global_count

    return step


def naive_maskrcnn(photos: CocoSet, alone: Ranks) -> Step:
    settings = dataclasses.replace(maskrcnn_config.TINY, precision="fp32", num_classes=len(photos.category_ids))
    collate = lambda samples: maskrcnn_data.collate(  # noqa: E731
        samples, maskrcnn_data.padded([sample.image for sample in samples]), len(samples), alone.device
    )
    loader = DataLoader(MaskRcnnPhotos(photos, settings, alone), BATCH, shuffle=True, collate_fn=collate)
    return maskrcnn_step(settings, endless(lambda _: iter(loader)), alone, plain=True)


def trainer_maskrcnn(folder: Path, photos: CocoSet, alone: Ranks) -> Step:
    settings = dataclasses.replace(maskrcnn_config.TINY, num_classes=len(photos.category_ids))
    batches = endless(maskrcnn_data.open_data(settings, folder, alone).epoch)
    return maskrcnn_step(settings, batches, alone, plain=False)


def rate(step: Step, seconds: float) -> float:
    """Images per second."""
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        images += step()
    return images / (time.perf_counter() - start)


def main() -> int:
    """Measure both loops of both detectors, each three times, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photos in the COCO 2017 layout, with outlines")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all measurements together")
    arguments = parser.parse_args()
    torch.set_num_threads(dist.cpu_count())
    torch.manual_seed(0)
    alone = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=dist.cpu_count())
    photos, _ = coco.for_training(coco.read_folder(arguments.data, segmentations=True)[0], crowds=False)
    for name, plain, ours in (
        ("ssd", naive_ssd(photos, alone), trainer_ssd(arguments.data, photos, alone)),
        ("maskrcnn", naive_maskrcnn(photos, alone), trainer_maskrcnn(arguments.data, photos, alone)),
    ):
        for step in (plain, ours):
            rate(step, arguments.seconds / 20)  # kernels and buffers
        rates = [(rate(plain, arguments.seconds / 12), rate(ours, arguments.seconds / 12)) for _ in range(3)]
        slow, fast = (sorted(column)[1] for column in zip(*rates, strict=True))
        print(f"{name} images per second: naive {slow:.1f}, trainer {fast:.1f}, {fast / slow:.2f} times", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
