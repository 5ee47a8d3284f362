"""The photos that a detector is trained and evaluated on: a folder in the COCO layout, or synthetic scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from podium_benchmarks.core import coco
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.coco import CocoSet, Photo
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.jpeg import Crop, decodes, one_ahead, render
from podium_benchmarks.core.prefetch import thread_pool, to_device
from podium_benchmarks.core.scenes import make_scenes

SCENE_CLASSES = 3
SCENES_SEED = 2019  # of the data set itself, which is the same in every run


class PhotoConfig(Protocol):
    """The settings that both detectors have."""

    @property
    def num_classes(self) -> int: ...
    @property
    def train_scenes(self) -> int: ...
    @property
    def eval_scenes(self) -> int: ...
    @property
    def jpeg_decoder(self) -> str: ...


class Sample(Protocol):
    """A training sample of either: a frozen dataclass."""

    image: torch.Tensor | Crop  # (3, H, W) uint8, or what the device makes it of


S = TypeVar("S", bound=Sample)


def check_photos(config: PhotoConfig, data_dir: Path | None) -> None:
    """Raise UsageError for a folder or a number of classes that can't be used; no image is opened."""
    if data_dir is not None:
        coco.check_folder(data_dir)
    elif config.num_classes not in {0, SCENE_CLASSES}:
        raise UsageError(f"without --data there are only {SCENE_CLASSES} digits to find, but num_classes is "
                         f"{config.num_classes}: give --data DIR; {coco.LAYOUT}")  # fmt: skip


def read_photos(
    config: PhotoConfig, data_dir: Path | None, *, scene_size: int, segmentations: bool
) -> tuple[CocoSet, CocoSet]:
    """Training and evaluation set: the folder's annotations, or scenes of `scene_size` pixels."""
    if data_dir is None:
        make = partial(make_scenes, size=scene_size, classes=SCENE_CLASSES, seed=SCENES_SEED)
        return make(config.train_scenes, held_out=False), make(config.eval_scenes, held_out=True)
    train, evaluation = coco.read_folder(data_dir, segmentations=segmentations)
    coco.check_num_classes(train, config.num_classes, data_dir)
    return train, evaluation


class Photos:
    """What a rank trains on and its shard of the evaluation set, with a pool of threads that prepares samples."""

    def __init__(
        self, config: PhotoConfig, train: CocoSet, evaluation: CocoSet, ranks: Ranks, *, repairs: Mapping[str, int],
        mirrored: bool,
    ) -> None:  # fmt: skip
        self.truth, self.repairs = evaluation, repairs
        self.num_classes = len(train.category_ids)
        self.train_samples, self.eval_samples = len(train.photos), len(evaluation.photos)
        self._ranks, self._mirrored = ranks, mirrored
        self._train: Sequence[Photo] = train.photos
        self._evaluation: Sequence[Photo] = evaluation.photos[shard(self.eval_samples, ranks)]
        self._threads = thread_pool(ranks)
        self._decodes_on_device = config.jpeg_decoder == "torchvision" and decodes(ranks.device)

    def _encoded(self, photo: Photo) -> torch.Tensor | None:
        """Its file, if the device is to decode it."""
        return coco.encoded(photo) if self._decodes_on_device else None

    def _placed(
        self, batches: Iterable[list[S]], join: Callable[[Sequence[torch.Tensor]], torch.Tensor]
    ) -> Iterator[tuple[list[S], torch.Tensor]]:
        """The samples of each batch, and their images, joined, on the device: a batch ahead, beside training."""
        device = self._ranks.device

        def place(samples: list[S]) -> tuple[list[S], torch.Tensor]:
            made = iter(render([sample.image for sample in samples if isinstance(sample.image, Crop)], device))
            images = [next(made) if isinstance(sample.image, Crop) else sample.image for sample in samples]
            if self._decodes_on_device:
                images = [image.to(device) for image in images]
            return samples, to_device(join(images), device)

        yield from one_ahead(place, batches, device)

    def decode_if_within(self, megabytes: int) -> None:
        """Keep all pixels in memory if those of both sets fit into `megabytes`."""
        pixels = sum(photo.height * photo.width for photo in (*self._train, *self.truth.photos))
        if pixels * 3 <= megabytes * 2**20:
            self._train = list(self._threads.map(coco.decoded, self._train))
            self._evaluation = list(self._threads.map(coco.decoded, self._evaluation))
