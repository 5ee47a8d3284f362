"""Training batches and evaluation images, from a folder in the COCO layout or from synthetic scenes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as vision

from podium_benchmarks.core import backbones, coco, seeds
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.coco import CocoSet, Photo
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.files import or_in_data_dir
from podium_benchmarks.core.jpeg import Crop
from podium_benchmarks.core.photos import Photos, check_photos, read_photos
from podium_benchmarks.core.prefetch import prefetched, to_device
from podium_benchmarks.ssd.augment import Boxes, Jitter, jitter_colors, mirror, random_crop, random_jitter
from podium_benchmarks.ssd.config import Config
from podium_benchmarks.ssd.model import IMAGE_SIZE, Backbone, load_backbone

EVAL_BATCH = 32
BACKBONE = "resnet34.pth"  # in the data folder
TORCHVISION = ("torchvision's ResNet-34, which was trained on standardized RGB images: podium-benchmarks prepare ssd "
               "downloads it")  # fmt: skip
MEAN_RGB, DEVIATION_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Batch:
    """This rank's shard of a global batch; images are on the device, the rest is where it was made: the host."""

    images: torch.Tensor  # (B, 3, 300, 300) uint8
    boxes: torch.Tensor  # (B, G, 4) corners in parts of the image
    labels: torch.Tensor  # (B, G), filled up with 0
    jitter: Jitter
    global_count: int  # images of all ranks


def with_backbone(config: Config, data_dir: Path | None) -> Config:
    """With the weights in the data folder, unless the settings name others."""
    return dataclasses.replace(config, backbone_weights=or_in_data_dir(config.backbone_weights, data_dir, BACKBONE))


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse what can't be run, a backbone of the wrong kind included; no image is opened yet."""
    config = with_backbone(config, data_dir)
    if config.backbone_weights:
        check_backbone(config, Path(config.backbone_weights))
    elif config.pretrained_backbone:
        raise UsageError(f"the backbone must start from trained weights: put them into the data folder as {BACKBONE} "
                         "(podium-benchmarks prepare ssd does), give them with --set backbone_weights=FILE, or, in the "
                         "open division, train it from random ones with --set pretrained_backbone=false")  # fmt: skip
    check_photos(config, data_dir)
    try:
        config.bn_ranks(int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError as error:
        raise UsageError(str(error)) from error


@torch.inference_mode()
def check_backbone(config: Config, file: Path) -> None:
    """Raise UsageError for weights of another network, or of one that was trained on images of another kind."""
    if not file.is_file():
        raise UsageError(f"backbone_weights {file} is not a file")
    backbone = Backbone(config.width).eval()
    load_backbone(backbone, file)
    images = normalize(backbones.fixed_photo())
    backbones.check_scale(backbone.bn1(backbone.conv1(images)), backbone(images), file, TORCHVISION)


def open_data(config: Config, data_dir: Path | None, ranks: Ranks) -> Data:
    """Read the annotations, or make scenes; small sets are decoded into memory."""
    train, evaluation = read_photos(config, data_dir, scene_size=IMAGE_SIZE, segmentations=False)
    # The reference evaluates no photo without a box: 4,952 of COCO's 5,000
    with_boxes = tuple(photo for photo in evaluation.photos if len(photo.labels))
    evaluation = CocoSet(with_boxes, evaluation.category_ids)
    # The reference trains on boxes around crowds like on any other
    train, counts = coco.for_training(train, crowds=True)
    # a mirrored digit isn't one
    data = Data(config, train, evaluation, ranks, repairs=counts, mirrored=data_dir is not None)
    data.decode_if_within(config.resident_megabytes)
    return data


class Data(Photos):
    """Training and evaluation photos, cut and scaled by a pool of threads."""

    def __init__(
        self, config: Config, train: CocoSet, evaluation: CocoSet, ranks: Ranks, *, repairs: Mapping[str, int],
        mirrored: bool,
    ) -> None:  # fmt: skip
        super().__init__(config, train, evaluation, ranks, repairs=repairs, mirrored=mirrored)
        self._config = config

    def epoch(self, seed: int) -> Iterator[Batch]:
        """A permutation, the same on all ranks, cut into global batches; a photo's draws depend on seed and place."""
        order = torch.randperm(self.train_samples, generator=torch.Generator().manual_seed(seed))
        batches = order.split(self._config.global_batch_size)
        mine = [batch[shard(len(batch), self._ranks)].tolist() for batch in batches]
        cut = partial(self._sample, seed)
        placed = self._placed(prefetched(self._threads, cut, mine), _stacked)
        for (samples, images), batch in zip(placed, batches, strict=True):
            yield _collate(samples, images, len(batch), self._ranks.device)

    def evaluation(self) -> Iterator[tuple[Sequence[Photo], torch.Tensor]]:
        """This rank's photos, each once, and their pixels as (B, 3, 300, 300) uint8 on the device."""
        photos = self._evaluation
        batches = [photos[start : start + EVAL_BATCH] for start in range(0, len(photos), EVAL_BATCH)]
        for batch, images in zip(batches, prefetched(self._threads, _whole, batches), strict=True):
            yield batch, torch.stack(images).to(self._ranks.device, non_blocking=True)

    def _sample(self, seed: int, index: int) -> Sample:
        photo = self._train[index]
        random = np.random.default_rng(seeds.derive(seed, "photo", index))
        sides = np.array([photo.width, photo.height] * 2, dtype=np.float32)
        crop = random_crop(photo.boxes.numpy() / sides, self._config.max_samples, random)
        box = np.array([crop.left, crop.top, crop.right, crop.bottom]) * sides
        left, top, right, bottom = (int(side) for side in box)
        part = left, top, max(right, left + 1), max(bottom, top + 1)
        flip = random.random() < 0.5 and self._mirrored
        boxes = mirror(crop.boxes) if flip else crop.boxes
        if (data := self._encoded(photo)) is not None:
            image = Crop(data, str(photo.file), part, (IMAGE_SIZE, IMAGE_SIZE), mirrored=flip)
        else:
            image = cut(photo, part, reduced=True)
            image = image.flip(2) if flip else image
        factors, order = random_jitter(random)
        return Sample(image, boxes, photo.labels[crop.kept], torch.from_numpy(factors), torch.from_numpy(order))


@dataclass(frozen=True)
class Sample:
    """One training image, cut and scaled."""

    image: torch.Tensor | Crop  # (3, 300, 300) uint8
    boxes: Boxes
    labels: torch.Tensor
    factors: torch.Tensor
    order: torch.Tensor


def cut(photo: Photo, box: Sequence[int], *, reduced: bool) -> torch.Tensor:
    """(3, 300, 300) uint8: the part of the photo in `box` (left, top, right, bottom in pixels), scaled.

    With `reduced`, no more is decoded of a file than this needs: JPEG can be decoded at 1/2, 1/4 or 1/8 of its size.
    """
    left, top, right, bottom = box
    if photo.image is not None:
        part = photo.image[:, top:bottom, left:right]
        return vision.resize(part, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)
    with coco.open_image(photo) as image:
        if reduced:
            scale = IMAGE_SIZE / (right - left), IMAGE_SIZE / (bottom - top)
            image.draft("RGB", (round(photo.width * scale[0]), round(photo.height * scale[1])))
        x, y = image.width / photo.width, image.height / photo.height
        pixels = image.convert("RGB").resize(
            (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, box=(left * x, top * y, right * x, bottom * y)
        )
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def _whole(photo: Photo) -> torch.Tensor:
    """For evaluation: decoded at its full size, as by the reference."""
    return cut(photo, (0, 0, photo.width, photo.height), reduced=False)


def _stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, 3, 300, 300); a rank's shard of a short last batch may be empty."""
    return torch.stack(list(images)) if images else torch.zeros((0, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)


def _collate(samples: Sequence[Sample], images: torch.Tensor, global_count: int, device: torch.device) -> Batch:
    """A batch on the device; its images are there."""
    most = max((len(sample.labels) for sample in samples), default=1)
    boxes, labels = torch.zeros(len(samples), most, 4), torch.zeros(len(samples), most, dtype=torch.int64)
    factors, order = torch.zeros(len(samples), 4), torch.zeros(len(samples), 4, dtype=torch.int64)
    for row, sample in enumerate(samples):
        factors[row], order[row] = sample.factors, sample.order
        boxes[row, : len(sample.labels)] = torch.from_numpy(sample.boxes)
        labels[row, : len(sample.labels)] = sample.labels
    boxes, labels = (to_device(tensor, device) for tensor in (boxes, labels))
    return Batch(images, boxes, labels, Jitter(factors, order), global_count)


def normalize(images: torch.Tensor, jitter: Jitter | None = None) -> torch.Tensor:
    """uint8 images as the network wants them, on the device: jittered, standardized, channels last."""
    colors = images.float()
    if jitter is not None:
        colors = jitter_colors(colors, jitter)
    mean, deviation = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN_RGB, DEVIATION_RGB))
    colors = colors.contiguous(memory_format=torch.channels_last)
    return torch.addcmul(-mean / deviation, colors, 1 / (255 * deviation))
