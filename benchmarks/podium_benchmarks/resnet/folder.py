"""Images from a folder, decoded by worker processes: once if all fit into memory, else a batch at a time."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from podium_benchmarks.core.cli import DataError
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.jpeg import decodes, one_ahead
from podium_benchmarks.resnet import decode, jpeg
from podium_benchmarks.resnet.config import Config
from podium_benchmarks.resnet.data import EVAL_BATCH, ImageSet, ResidentImages
from podium_benchmarks.resnet.sources import Images, open_both

PIECE = 32  # images that a worker decodes at a time: all of them work on a batch that is waited for
IMAGES_AHEAD = 2048  # decoded and waiting, over all workers


def open_folder(config: Config, data_dir: Path, ranks: Ranks) -> ResidentImages | StreamedImages:
    """List both parts; decode them once if they fit in `resident_megabytes`, else stream."""
    train, evaluation = open_both(data_dir, config.num_classes, ranks)
    side = round(config.image_size / config.eval_crop)
    for images in (train, evaluation):
        side = min(side, decode.shorter_side(images.read(0), images.name(0)))
    if (len(train.labels) + len(evaluation.labels)) * 3 * side * side > config.resident_megabytes * 2**20:
        return StreamedImages(config, train, evaluation, ranks)
    train_set, eval_set = (decode_all(images, side, ranks) for images in (train, evaluation))
    return ResidentImages(config, train=train_set, evaluation=eval_set, mirror=True)


def decode_all(images: Images, side: int, ranks: Ranks) -> ImageSet:
    """Central squares scaled to `side`, as uint8 on the device."""
    count = len(images.labels)
    tasks = [Task(0, range(start, min(start + EVAL_BATCH, count))) for start in range(0, count, EVAL_BATCH)]
    workers = Workers([images], side, ranks, cores=ranks.cores, eval_crop=1.0)
    batches = [batch for batch, _ in workers.decoded(tasks)]
    return ImageSet(torch.cat(batches).to(ranks.device), torch.from_numpy(images.labels).to(ranks.device))


@dataclass(frozen=True)
class Task:
    """One batch for a worker: which part of the data, which images; with a seed random crops, else central ones."""

    part: int
    indices: Sequence[int]
    seed: int | None = None
    min_area: float = 1.0
    encoded: bool = False  # leave the JPEGs of a training batch to the training device

    def pieces(self) -> list[Task]:
        """What a worker does at a time."""
        starts = range(0, max(1, len(self.indices)), PIECE)
        return [dataclasses.replace(self, indices=self.indices[start : start + PIECE]) for start in starts]


class Workers:
    """Processes that turn tasks into batches, ahead of need; the same ones for a whole run."""

    def __init__(self, parts: Sequence[Images], size: int, ranks: Ranks, *, cores: int, eval_crop: float) -> None:
        self._tasks: list[Task] = []
        self._device = ranks.device
        cuda = ranks.device.type == "cuda"
        self._loader = DataLoader(
            _Batches(parts, size, eval_crop),
            batch_size=None,
            sampler=self._tasks,
            num_workers=cores,
            prefetch_factor=max(2, -(-IMAGES_AHEAD // PIECE // cores)),
            persistent_workers=True,
            pin_memory=cuda,
            multiprocessing_context="forkserver" if cuda else "fork",  # CUDA doesn't survive a fork
        )

    def decoded(self, tasks: Sequence[Task]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (B, 3, size, size) uint8 and labels (B,) of each task on the device, in order."""
        for pieces in self.pieces(tasks):
            # Each is in pinned memory, which all of them joined would not be
            images, labels = (
                torch.cat([part.to(self._device, non_blocking=True) for part in parts])
                for parts in zip(*pieces, strict=True)
            )
            yield images, labels

    def pieces(self, tasks: Sequence[Task]) -> Iterator[list[Any]]:
        """Images or what is encoded, and labels, of each piece of each task, in order; raises what a worker met."""
        self._tasks[:] = itertools.chain.from_iterable(task.pieces() for task in tasks)
        found = iter(self._loader)
        for task in tasks:
            pieces = list(itertools.islice(found, len(task.pieces())))
            for piece in pieces:
                if isinstance(piece, DataError):
                    raise piece
            yield pieces


class _Batches(Dataset):
    """Decodes the images of a task; a sample's randomness depends on the epoch's seed and its index only."""

    def __init__(self, parts: Sequence[Images], size: int, eval_crop: float) -> None:
        self._parts, self._size, self._eval_crop = parts, size, eval_crop

    def __getitem__(self, task: Task) -> tuple[torch.Tensor | jpeg.Encoded, torch.Tensor] | DataError:
        images = self._parts[task.part]
        try:
            batch = self._encoded(images, task) if task.encoded else self._decoded(images, task)
        except DataError as error:  # raised in here it would come out with a worker's traceback in its text
            return error
        return batch, torch.from_numpy(images.labels[list(task.indices)])

    def _decoded(self, images: Images, task: Task) -> torch.Tensor:
        batch = torch.empty((len(task.indices), 3, self._size, self._size), dtype=torch.uint8)
        for row, index in zip(batch, task.indices, strict=True):
            row.copy_(self._decode(images, index, task))
        return batch

    def _decode(self, images: Images, index: int, task: Task) -> torch.Tensor:
        data, name = images.read(index), images.name(index)
        if task.seed is None:
            center = partial(decode.center_box, part=self._eval_crop)
            return decode.decode_crop(data, name, self._size, center, reduced=False)
        random = np.random.default_rng([task.seed, index])
        choose = partial(decode.random_box, min_area=task.min_area, random=random)
        crop = decode.decode_crop(data, name, self._size, choose, reduced=True)
        return crop.flip(2) if random.random() < 0.5 else crop

    def _encoded(self, images: Images, task: Task) -> jpeg.Encoded:
        """As `_decode` cuts and mirrors them."""
        randoms = [np.random.default_rng([task.seed, index]) for index in task.indices]
        chosen = [
            (images.read(index), images.name(index), partial(decode.random_box, min_area=task.min_area, random=random))
            for index, random in zip(task.indices, randoms, strict=True)
        ]
        return jpeg.pack(chosen, (random.random() < 0.5 for random in randoms), self._size)


class StreamedImages:
    """Images too many for memory: worker processes decode this rank's shard of each global batch."""

    def __init__(self, config: Config, train: Images, evaluation: Images, ranks: Ranks) -> None:
        self.train_samples, self.eval_samples = len(train.labels), len(evaluation.labels)
        self._config, self._names = config, train.name
        self._encoded = config.jpeg_decoder == "torchvision" and decodes(ranks.device)
        # On a GPU one core is busy launching kernels. On CPUs training itself takes them all and decoding a tenth of it
        cores = max(1, ranks.cores - 1 if ranks.device.type == "cuda" else ranks.cores // 4)
        self._workers = Workers([train, evaluation], config.image_size, ranks, cores=cores, eval_crop=config.eval_crop)

    def epoch(self, seed: int, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """A full permutation, the same on all ranks, cut into global batches."""
        order = torch.randperm(self.train_samples, generator=torch.Generator().manual_seed(seed))
        batches = order.split(self._config.global_batch_size)
        tasks = [Task(0, batch[shard(len(batch), ranks)].tolist(), seed, self._config.min_crop_area, self._encoded)
                 for batch in batches]  # fmt: skip
        found = self._decoded_here(tasks, ranks.device) if self._encoded else self._workers.decoded(tasks)
        for (images, labels), batch in zip(found, batches, strict=True):
            yield images, labels, len(batch)

    def _decoded_here(self, tasks: Sequence[Task], device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """A batch ahead, in a thread and a stream beside those of training."""

        def unpack(given: tuple[Task, list[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
            task, pieces = given
            crops = [
                jpeg.unpack(batch, [self._names(index) for index in piece.indices], self._config.image_size, device)
                for piece, (batch, _) in zip(task.pieces(), pieces, strict=True)
            ]
            return torch.cat(crops), torch.cat([labels for _, labels in pieces]).to(device)

        yield from one_ahead(unpack, zip(tasks, self._workers.pieces(tasks), strict=True), device)

    def evaluation(self, ranks: Ranks) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This rank's part of the evaluation set, each image once."""
        mine = range(self.eval_samples)[shard(self.eval_samples, ranks)]
        tasks = [Task(1, mine[start : start + EVAL_BATCH]) for start in range(0, len(mine), EVAL_BATCH)]
        yield from self._workers.decoded(tasks)
