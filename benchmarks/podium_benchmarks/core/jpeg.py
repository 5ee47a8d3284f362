"""JPEG bytes to crops on the training device: a GPU's decoder (nvJPEG) by way of torchvision, on a CPU libjpeg.

What a GPU's decoder doesn't take, such as PNG and CMYK, is decoded by Pillow as ever.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from podium_benchmarks.core.cli import DataError

UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises
S, T = TypeVar("S"), TypeVar("T", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Crop:
    """A part of an encoded image, and what it is scaled to."""

    data: torch.Tensor  # (bytes,) uint8: a JPEG in gray or RGB
    name: str  # for messages
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels
    size: tuple[int, int]  # height, width
    mirrored: bool = False


def is_taken(image: Image.Image) -> bool:
    """Whether an opened image can be left to the device: a JPEG in gray or RGB."""
    return image.format == "JPEG" and image.mode in {"L", "RGB"}


def render(crops: Sequence[Crop], device: torch.device) -> list[torch.Tensor]:
    """Each (3, *size) uint8 on the device. Raises DataError naming the image that can't be decoded."""
    images = _decoded([crop.data for crop in crops], [crop.name for crop in crops], device)
    return [_cut(image, crop) for image, crop in zip(images, crops, strict=True)]


def _cut(image: torch.Tensor, crop: Crop) -> torch.Tensor:
    left, top, right, bottom = crop.box
    part = image[:, top:bottom, left:right]
    if part.shape[1:] != crop.size:
        scaled = F.interpolate(part[None].float(), crop.size, mode="bilinear", antialias=True)[0]
        part = scaled.round_().clamp_(0, 255).to(torch.uint8)
    return part.flip(2) if crop.mirrored else part


def decode_whole(data: bytes, name: str) -> torch.Tensor:
    """(3, height, width) uint8, by Pillow. Raises DataError naming the image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except UNDECODABLE as error:
        raise DataError(f"{name} can't be decoded ({error}): replace the file") from error


@functools.cache
def decodes(device: torch.device) -> bool:
    """Whether torchvision has a decoder for the device: the first call takes the time to start it."""
    example = io.BytesIO()
    Image.new("RGB", (16, 16)).save(example, "JPEG")
    try:
        _decode_jpeg([torch.frombuffer(bytearray(example.getvalue()), dtype=torch.uint8)], device)
    except RuntimeError:
        return False
    return True


def one_ahead(work: Callable[[S], T], items: Iterable[S], device: torch.device) -> Iterator[T]:
    """`work` of each item, a tuple, in a thread and a stream beside those of training, while the one before is used."""
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def aside(item: S) -> T:
        with torch.cuda.stream(stream):
            found = work(item)
        if stream is not None:
            stream.synchronize()
        return found

    def arrived(future: Future[T]) -> T:
        found = future.result()
        for value in found:
            if isinstance(value, torch.Tensor) and value.is_cuda:
                value.record_stream(torch.cuda.current_stream(device))  # made in another, used in this one
        return found

    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as thread:
        ahead: Future[T] | None = None
        for item in items:
            before, ahead = ahead, thread.submit(aside, item)
            if before is not None:
                yield arrived(before)
        if ahead is not None:
            yield arrived(ahead)


def _decoded(files: list[torch.Tensor], names: Sequence[str], device: torch.device) -> list[torch.Tensor]:
    """Each (3, height, width) uint8; those that the device refuses are decoded by Pillow, or their names reported."""
    try:
        return _decode_jpeg(files, device) if files else []
    except RuntimeError:
        if len(files) > 1:
            return [_decoded([file], [name], device)[0] for file, name in zip(files, names, strict=True)]
    return [decode_whole(files[0].numpy().tobytes(), names[0]).to(device)]


def _decode_jpeg(files: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    from torchvision import io as images  # noqa: PLC0415 - takes seconds, which few runs need

    return images.decode_jpeg(files, mode=images.ImageReadMode.RGB, device=device)  # type: ignore[no-any-return]
