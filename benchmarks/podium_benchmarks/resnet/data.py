"""What a data set is to the trainer, images resident on the device, and scikit-learn's digits."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.resnet import sources
from podium_benchmarks.resnet.config import Config

MEAN_RGB = (123.68, 116.78, 103.94)  # subtracted; the reference doesn't divide by a deviation
EVAL_BATCH = 256
DIGITS = 10


class Data(Protocol):
    """A data set as the trainer sees it; images are uint8 or float (B, 3, H, W) in 0..255 on the device."""

    train_samples: int
    eval_samples: int

    def epoch(self, seed: int, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """This rank's shards of the epoch's global batches: images, labels (B,), size of the global batch."""
        ...

    def evaluation(self, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This rank's shard of the evaluation set."""
        ...


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a folder that can't be a data set, by the names in it alone: no data may be read yet."""
    try:
        config.bn_ranks(int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if data_dir is not None:
        return sources.check_folder(data_dir, config.num_classes)
    if config.num_classes != DIGITS:
        raise UsageError(
            f"without --data there are only the {DIGITS} digits to learn, but num_classes is "
            f"{config.num_classes}: give --data DIR; {sources.LAYOUT}"
        )
    return None


def digits(config: Config, device: torch.device) -> ResidentImages:
    """The 1,797 8x8 digits that scikit-learn brings; every fifth is for evaluation."""
    # Read from the package's folder: importing scikit-learn takes a second per rank, on the clock.
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None, "scikit-learn is a dependency of this package"
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # (1797, 65): pixels 0..16, label
    gray = torch.from_numpy(table[:, :64] * 255 // 16).to(torch.uint8).view(-1, 1, 8, 8)
    images, labels = gray.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(table[:, 64])
    is_eval = torch.arange(len(labels)) % 5 == 0
    return ResidentImages(
        config,
        train=ImageSet(images[~is_eval].to(device), labels[~is_eval].to(device)),
        evaluation=ImageSet(images[is_eval].to(device), labels[is_eval].to(device)),
        mirror=False,  # a mirrored digit isn't one
    )


@dataclass(frozen=True)
class ImageSet:
    """images (N, 3, H, W) uint8, labels (N,) int64."""

    images: torch.Tensor
    labels: torch.Tensor


class ResidentImages:
    """Images small enough to stay on the device: a step cuts, mirrors and scales its crops there."""

    def __init__(self, config: Config, train: ImageSet, evaluation: ImageSet, *, mirror: bool) -> None:
        self.train_samples, self.eval_samples = len(train.labels), len(evaluation.labels)
        self._config, self._train, self._evaluation, self._mirror = config, train, evaluation, mirror

    def epoch(self, seed: int, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Order and crops are drawn for the whole epoch on every rank alike, then each rank takes its shard."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(self.train_samples, generator=generator)
        boxes = random_boxes(self.train_samples, self._config.min_crop_area, generator)  # (N, 4)
        if self._mirror:
            boxes[:, 2] *= torch.where(torch.rand(self.train_samples, generator=generator) < 0.5, -1.0, 1.0)
        order, boxes = order.to(ranks.device), boxes.to(ranks.device)
        for chosen, box in zip(
            order.split(self._config.global_batch_size), boxes.split(self._config.global_batch_size), strict=True
        ):
            mine = shard(len(chosen), ranks)
            images = crop_and_resize(self._train.images[chosen[mine]], box[mine], self._config.image_size)
            yield images, self._train.labels[chosen[mine]], len(chosen)

    def evaluation(self, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The central crop of each image."""
        mine = shard(self.eval_samples, ranks)
        side = self._config.eval_crop
        for images, labels in zip(
            self._evaluation.images[mine].split(EVAL_BATCH),
            self._evaluation.labels[mine].split(EVAL_BATCH),
            strict=True,
        ):
            box = torch.tensor([[0.0, 0.0, side, side]], device=images.device).expand(len(images), 4)
            yield crop_and_resize(images, box, self._config.image_size), labels


def random_boxes(count: int, min_area: float, generator: torch.Generator, tries: int = 10) -> torch.Tensor:
    """(count, 4) crops of a square image as center x, y in -1..1 and sides as parts of the image.

    Area uniform in [min_area, 1], ratio log-uniform in [3/4, 4/3]; the first try that fits, else the whole image.
    """
    area = torch.rand(count, tries, generator=generator) * (1 - min_area) + min_area
    ratio = torch.exp((torch.rand(count, tries, generator=generator) * 2 - 1) * np.log(4 / 3))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(1, keepdim=True)
    some = fits.any(1)
    width = torch.where(some, width.gather(1, first).squeeze(1), 1.0)
    height = torch.where(some, height.gather(1, first).squeeze(1), 1.0)
    center = (torch.rand(2, count, generator=generator) * 2 - 1) * (1 - torch.stack([width, height]))
    return torch.stack([*center, width, height], dim=1)


def crop_and_resize(images: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Cut boxes (B, 4) from images (B, 3, H, W), bilinear, to float (B, 3, size, size); a negative width mirrors."""
    if not len(images):  # the shard of a rank in a batch smaller than the number of ranks; affine_grid refuses it
        return torch.zeros((0, 3, size, size), device=images.device)
    x, y, width, height = boxes.unbind(1)
    zero = torch.zeros_like(x)
    affine = torch.stack([width, zero, x, zero, height, y], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Subtract the mean color, on the device; channels last, as convolutions like it."""
    mean = torch.tensor(MEAN_RGB, device=images.device).view(1, 3, 1, 1)
    return (images.float() - mean).contiguous(memory_format=torch.channels_last)
