"""Image folders: DIR/{train,val}/<class>/*.jpg, kept in memory when small, else decoded by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from podium_benchmarks.core.dist import Ranks, cpu_count, share
from podium_benchmarks.resnet.config import Config
from podium_benchmarks.resnet.data import ImageSet, ResidentImages, class_names

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}
EVAL_BATCH = 256
CROP_TRIES = 100  # of the reference

Files = list[tuple[Path, int]]  # image, class


def open_folder(config: Config, folder: Path, ranks: Ranks) -> ResidentImages | StreamedImages:
    """List both parts; decode them once if they fit in `resident_megabytes`, else stream."""
    train, evaluation = list_images(folder / "train"), list_images(folder / "val")
    with Image.open(train[0][0]) as first:
        side = min(*first.size, round(config.image_size / config.eval_crop))
    if (len(train) + len(evaluation)) * 3 * side * side > config.resident_megabytes * 2**20:
        return StreamedImages(config, train, evaluation, ranks)
    train_set, eval_set = (decode_all(files, side, ranks.device) for files in (train, evaluation))
    return ResidentImages(config, train=train_set, evaluation=eval_set, mirror=True)


def list_images(folder: Path) -> Files:
    """All images, sorted, so that a seed means the same order everywhere."""
    files = [
        (file, label)
        for label, name in enumerate(class_names(folder))
        for file in sorted((folder / name).iterdir())
        if file.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not files:
        raise FileNotFoundError(f"no {', '.join(sorted(IMAGE_SUFFIXES))} files in the class folders of {folder}")
    return files


def decode_all(files: Files, side: int, device: torch.device) -> ImageSet:
    """Central squares scaled to `side`, as uint8. Threads suffice: Pillow decodes outside the interpreter's lock."""
    with ThreadPoolExecutor(cpu_count()) as threads:
        images = list(threads.map(lambda file: decode_centre(file[0], side, 1.0), files, chunksize=256))
    labels = torch.tensor([label for _, label in files])
    return ImageSet(torch.stack(images).to(device), labels.to(device))


def decode_centre(file: Path, size: int, part: float) -> torch.Tensor:
    """(3, size, size) uint8: the central square with `part` of the shorter side."""
    with Image.open(file) as image:
        side = min(image.size) * part
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return decode_box(image, (left, top, left + side, top + side), size)


def decode_random_crop(file: Path, size: int, min_area: float, random: np.random.Generator) -> torch.Tensor:
    """(3, size, size) uint8: a random part of the image, mirrored or not."""
    with Image.open(file) as image:
        crop = decode_box(image, random_box(image.width, image.height, min_area, random), size)
    return crop.flip(2) if random.random() < 0.5 else crop


def random_box(
    width: int, height: int, min_area: float, random: np.random.Generator
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a crop: area uniform in [min_area, 1] of the image, ratio in [3/4, 4/3]."""
    area = random.uniform(min_area, 1.0, CROP_TRIES) * width * height
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3), CROP_TRIES))
    widths, heights = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = np.flatnonzero((widths <= width) & (heights <= height))
    if not len(fits):
        return 0.0, 0.0, float(width), float(height)
    w, h = float(widths[fits[0]]), float(heights[fits[0]])
    left, top = random.uniform(0, width - w), random.uniform(0, height - h)
    return left, top, left + w, top + h


def decode_box(image: Image.Image, box: tuple[float, float, float, float], size: int) -> torch.Tensor:
    """Decode with as little work as the crop needs: JPEG can be decoded at 1/2, 1/4 or 1/8 of its size."""
    width, height = image.size
    crop_width, crop_height = box[2] - box[0], box[3] - box[1]
    image.draft("RGB", (round(width * size / crop_width), round(height * size / crop_height)))
    scale_x, scale_y = image.width / width, image.height / height
    scaled = (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)
    pixels = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=scaled)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


class _Crops(Dataset[tuple[torch.Tensor, int]]):
    """Training crops by index; a sample's randomness depends on the epoch's seed and its index only."""

    def __init__(self, files: Files, config: Config, seed: int) -> None:
        self._files, self._config, self._seed = files, config, seed

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file, label = self._files[index]
        random = np.random.default_rng([self._seed, index])
        return decode_random_crop(file, self._config.image_size, self._config.min_crop_area, random), label


class _Centres(Dataset[tuple[torch.Tensor, int]]):
    """Evaluation crops by index."""

    def __init__(self, files: Files, config: Config) -> None:
        self._files, self._config = files, config

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file, label = self._files[index]
        return decode_centre(file, self._config.image_size, self._config.eval_crop), label


def _collate(samples: list[tuple[torch.Tensor, int]], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 3, size, size) and labels (B,); a rank's share of a short last batch may have none."""
    images = torch.stack([image for image, _ in samples]) if samples else torch.zeros((0, 3, size, size))
    return images, torch.tensor([label for _, label in samples], dtype=torch.int64)


class StreamedImages:
    """Images too many for memory: worker processes decode this rank's share of each global batch."""

    def __init__(self, config: Config, train: Files, evaluation: Files, ranks: Ranks) -> None:
        self.train_samples, self.eval_samples = len(train), len(evaluation)
        self._config, self._train, self._evaluation = config, train, evaluation
        self._workers = ranks.cores

    def epoch(self, seed: int, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """A full permutation, the same on all ranks, cut into global batches."""
        order = torch.randperm(self.train_samples, generator=torch.Generator().manual_seed(seed))
        batches = order.split(self._config.global_batch_size)
        mine = [batch[share(len(batch), ranks)].tolist() for batch in batches]
        loader = self._loader(_Crops(self._train, self._config, seed), mine)
        for (images, labels), batch in zip(loader, batches, strict=True):
            yield images.to(ranks.device, non_blocking=True), labels.to(ranks.device, non_blocking=True), len(batch)

    def evaluation(self, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This rank's part of the evaluation set, each image once."""
        mine = range(self.eval_samples)[share(self.eval_samples, ranks)]
        batches = [list(mine[start : start + EVAL_BATCH]) for start in range(0, len(mine), EVAL_BATCH)]
        for images, labels in self._loader(_Centres(self._evaluation, self._config), batches):
            yield images.to(ranks.device, non_blocking=True), labels.to(ranks.device, non_blocking=True)

    def _loader(self, images: Dataset[tuple[torch.Tensor, int]], batches: list[list[int]]) -> DataLoader:
        return DataLoader(
            images,
            batch_sampler=batches,
            num_workers=self._workers,
            collate_fn=partial(_collate, size=self._config.image_size),
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="forkserver" if torch.cuda.is_available() else "fork",
        )
