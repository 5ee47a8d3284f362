"""Training batches and evaluation images, from a folder in the COCO layout or from synthetic scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as vision

from podium_benchmarks.core import backbones, coco, seeds
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.coco import CocoSet, Photo
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.files import or_in_data_dir
from podium_benchmarks.core.jpeg import Crop
from podium_benchmarks.core.photos import Photos, check_photos, read_photos
from podium_benchmarks.core.prefetch import prefetched, to_device
from podium_benchmarks.maskrcnn.config import Config
from podium_benchmarks.maskrcnn.masks import Masks, rasterize
from podium_benchmarks.maskrcnn.model import load_backbone, make_backbone

EVAL_BATCH = 8
BACKBONE = "resnet50-msra.pth"  # in the data folder
MSRA = ("MSRA's ResNet-50, which has its stride in the 1x1 and was trained on BGR images of 0 to 255 less their mean: "
        "podium-benchmarks prepare maskrcnn makes it from Detectron's R-50.pkl")  # fmt: skip
MEAN_BGR = (102.9801, 115.9465, 122.7717)
COARSEST = 32  # padded sides are multiples of it: each cell of C5 then covers the same pixels
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Batch:
    """This rank's shard of a global batch, on the device; lists have an entry for each image."""

    images: torch.Tensor  # (B, 3, H, W) uint8 RGB, padded at the right and at the bottom
    sizes: Sequence[Size]  # of the images without padding
    boxes: Sequence[torch.Tensor]  # (G, 4) as in boxes.py
    labels: Sequence[torch.Tensor]  # (G,) from 1
    masks: Sequence[Masks]
    seeds: Sequence[int]  # of what is drawn for the image
    global_count: int  # images of all ranks


def with_backbone(config: Config, data_dir: Path | None) -> Config:
    """With the weights in the data folder, unless the settings name others."""
    return replace(config, backbone_weights=or_in_data_dir(config.backbone_weights, data_dir, BACKBONE))


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse what can't be run, a backbone of the wrong kind included; no image is opened yet."""
    config = with_backbone(config, data_dir)
    if config.backbone_weights:
        check_backbone(config, Path(config.backbone_weights))
    elif config.frozen_backbone:
        raise UsageError(f"a frozen backbone can't learn: put its weights into the data folder as {BACKBONE} "
                         "(podium-benchmarks prepare maskrcnn does), give them with --set backbone_weights=FILE, or, "
                         "in the open division, train it from scratch with --set frozen_backbone=false")  # fmt: skip
    check_photos(config, data_dir)


@torch.inference_mode()
def check_backbone(config: Config, file: Path) -> None:
    """Raise UsageError for weights of another network, or of one that was trained on images of another kind."""
    if not file.is_file():
        raise UsageError(f"backbone_weights {file} is not a file")
    backbone = make_backbone(config).eval()
    load_backbone(backbone, file)
    photo = backbones.fixed_photo()
    images = normalize(photo, [_size(photo[0])])
    backbones.check_scale(backbone.bn1(backbone.conv1(images)), backbone(images)[-1], file, MSRA)


def open_data(config: Config, data_dir: Path | None, ranks: Ranks) -> Data:
    """Read the annotations, or make scenes; small sets are decoded into memory."""
    train, evaluation = read_photos(config, data_dir, scene_size=config.min_image_size, segmentations=True)
    train, counts = coco.for_training(train, crowds=False)
    repairs = {**counts, "polygons_dropped": train.polygons_dropped}
    # a mirrored digit isn't one
    data = Data(config, train, evaluation, ranks, repairs=repairs, mirrored=data_dir is not None)
    data.decode_if_within(config.resident_megabytes)
    return data


class Data(Photos):
    """Training and evaluation photos, scaled by a pool of threads."""

    def __init__(
        self, config: Config, train: CocoSet, evaluation: CocoSet, ranks: Ranks, *, repairs: Mapping[str, int],
        mirrored: bool,
    ) -> None:  # fmt: skip
        super().__init__(config, train, evaluation, ranks, repairs=repairs, mirrored=mirrored)
        self._config = config
        self._upright = torch.tensor([photo.height > photo.width for photo in train.photos])
        sizes = (self._upright.sum().item(), (~self._upright).sum().item())
        self.steps_per_epoch = sum(-(-int(size) // config.global_batch_size) for size in sizes)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """A permutation, the same on all ranks, cut into global batches; a photo's draws depend on seed and place.

        Upright photos and others are in separate batches, so that padding stays small.
        """
        order = torch.randperm(self.train_samples, generator=torch.Generator().manual_seed(seed))
        upright = self._upright[order]
        batches = [
            batch
            for group in (upright.nonzero().flatten(), (~upright).nonzero().flatten())
            for batch in group.split(self._config.global_batch_size)
            if len(batch)
        ]
        batches.sort(key=lambda places: int(places[0]))  # the permutation decides which kind comes when
        mine = [order[batch][shard(len(batch), self._ranks)].tolist() for batch in batches]
        make = partial(self._sample, seed)
        placed = self._placed(prefetched(self._threads, make, mine), padded)
        for (samples, images), batch in zip(placed, batches, strict=True):
            yield collate(samples, images, len(batch), self._ranks.device)

    def evaluation(self) -> Iterator[tuple[Sequence[Photo], torch.Tensor, Sequence[Size]]]:
        """This rank's photos, each once, their pixels (B, 3, H, W) uint8 on the device, and sizes without padding."""
        photos = sorted(self._evaluation, key=lambda photo: photo.height / photo.width)
        batches = [photos[start : start + EVAL_BATCH] for start in range(0, len(photos), EVAL_BATCH)]
        scaled = partial(_scaled, self._config)
        for batch, images in zip(batches, prefetched(self._threads, scaled, batches), strict=True):
            yield batch, to_device(padded(images), self._ranks.device), [_size(image) for image in images]

    def _sample(self, seed: int, index: int) -> Sample:
        photo = self._train[index]
        height, width = scaled_size(self._config, photo.height, photo.width)
        scale = torch.tensor([width / photo.width, height / photo.height] * 2)
        boxes = (photo.boxes - torch.tensor([0, 0, 1, 1])) * scale
        masks = rasterize(photo.segmentations, photo.height, photo.width)
        masks = masks.scaled(width / photo.width, height / photo.height)
        draw = seeds.derive(seed, "photo", index)
        flip = self._mirrored and draw % 2 == 1
        if flip:
            masks = masks.mirrored(width)
            boxes = torch.stack([width - 1 - boxes[:, 2], boxes[:, 1], width - 1 - boxes[:, 0], boxes[:, 3]], dim=1)
        image: torch.Tensor | Crop
        if (data := self._encoded(photo)) is not None:
            whole = (0, 0, photo.width, photo.height)
            image = Crop(data, str(photo.file), whole, (height, width), mirrored=flip)
        else:
            image = _scaled(self._config, photo)
            image = image.flip(2) if flip else image
        return Sample(image, (height, width), boxes, photo.labels, masks, draw)


@dataclass(frozen=True)
class Sample:
    """One training image."""

    image: torch.Tensor | Crop  # (3, *size) uint8
    size: Size
    boxes: torch.Tensor
    labels: torch.Tensor
    masks: Masks
    seed: int


def scaled_size(config: Config, height: int, width: int) -> Size:
    """The shorter side becomes min_image_size, or less where the longer one would pass max_image_size."""
    short, long = min(height, width), max(height, width)
    side = min(config.min_image_size, round(config.max_image_size * short / long))
    # As the reference: the other side is rounded down
    return (side, side * width // height) if height <= width else (side * height // width, side)


def _scaled(config: Config, photo: Photo) -> torch.Tensor:
    """(3, H, W) uint8."""
    size = scaled_size(config, photo.height, photo.width)
    image = coco.decode(photo)
    return image if _size(image) == size else vision.resize(image, list(size), antialias=True)


def _size(image: torch.Tensor) -> Size:
    return image.shape[1], image.shape[2]


def padded(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, 3, H, W) of images (3, h, w), filled up at the right and at the bottom; sides are multiples of 32."""
    # A rank may have no image of a short last batch
    height, width = (max((image.shape[side] for image in images), default=1) for side in (1, 2))
    sides = (-(-side // COARSEST) * COARSEST for side in (height, width))
    together = torch.zeros((len(images), 3, *sides), dtype=torch.uint8, device=images[0].device if images else None)
    for place, image in zip(together, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return together


def collate(samples: Sequence[Sample], images: torch.Tensor, global_count: int, device: torch.device) -> Batch:
    """A batch on the device; its images, padded, are there."""
    return Batch(
        images=images,
        sizes=[sample.size for sample in samples],
        boxes=[to_device(sample.boxes, device) for sample in samples],
        labels=[to_device(sample.labels, device) for sample in samples],
        masks=[sample.masks.to(device) for sample in samples],
        seeds=[sample.seed for sample in samples],
        global_count=global_count,
    )


def normalize(images: torch.Tensor, sizes: Sequence[Size]) -> torch.Tensor:
    """uint8 RGB images as the network wants them: BGR less its mean, 0 where padded, channels last."""
    colors = images.flip(1).float().sub_(torch.tensor(MEAN_BGR, device=images.device).view(1, 3, 1, 1))
    for image, (height, width) in zip(colors, sizes, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return colors.contiguous(memory_format=torch.channels_last)
