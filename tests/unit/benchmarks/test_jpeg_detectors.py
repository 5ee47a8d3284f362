"""The detectors' photos decoded on the training device: the same samples, but for what two decoders differ by."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
import torch
from PIL import Image
from tests.unit.benchmarks.coco_folder import write_folder

from podium_benchmarks.core import jpeg, photos
from podium_benchmarks.core.cli import DataError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.maskrcnn import config as maskrcnn_config
from podium_benchmarks.maskrcnn import data as maskrcnn
from podium_benchmarks.ssd import config as ssd_config
from podium_benchmarks.ssd import data as ssd

ALONE = Ranks(0, 1, torch.device("cpu"), 1)
DETECTORS = {"ssd": (ssd, ssd_config.TINY), "maskrcnn": (maskrcnn, maskrcnn_config.TINY)}


@pytest.fixture(params=DETECTORS)
def detector(request):
    return DETECTORS[request.param]


@pytest.fixture
def folder(tmp_path):
    """Seven training photos, one of which is a PNG."""
    train, val = (make_scenes(count, size=200, classes=3, seed=1, held_out=held_out)
                  for count, held_out in ((7, False), (2, True)))  # fmt: skip
    made = write_folder(tmp_path / "coco", train, val)
    png = Image.fromarray(train.photos[2].image.permute(1, 2, 0).numpy())
    png.save(made / "train2017" / f"{train.photos[2].id:012}.jpg", format="PNG")
    return made


def epoch(detector, folder, decoder, seed=3):
    data, config = detector
    config = dataclasses.replace(config, num_classes=0, global_batch_size=3, resident_megabytes=0, jpeg_decoder=decoder)
    return list(data.open_data(config, folder, ALONE).epoch(seed))


def everything_else(batch):
    """What goes with the images, as tensors."""
    parts = [batch.boxes, batch.labels]
    if hasattr(batch, "masks"):
        parts += [
            [mask.shapes for mask in batch.masks],
            [mask.extents for mask in batch.masks],
            [torch.tensor(batch.seeds)],
        ]
    else:
        parts += [[batch.jitter.factors], [batch.jitter.order]]
    return [tensor for part in parts for tensor in part]


@pytest.mark.parametrize("seed", range(3))
def test_batches_differ_by_no_more_than_two_decoders(detector, folder, seed):
    ours, pillows = (epoch(detector, folder, decoder, seed) for decoder in ("torchvision", "pillow"))
    assert [len(batch.images) for batch in ours] == [3, 3, 1]
    for batch, expected in zip(ours, pillows, strict=True):
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == expected.images.shape
        torch.testing.assert_close(everything_else(batch), everything_else(expected), rtol=0, atol=0)
        assert (batch.images.float() - expected.images.float()).abs().mean() < 1.5
    assert any(not torch.equal(batch.images, expected.images) for batch, expected in zip(ours, pillows, strict=True))


def test_the_device_decodes_all_jpegs_and_nothing_else(detector, folder, monkeypatch):
    counts = []

    def render(crops, device):
        counts.append(len(crops))
        return jpeg.render(crops, device)

    monkeypatch.setattr(photos, "render", render)
    epoch(detector, folder, "torchvision")
    assert sum(counts) == 6
    epoch(detector, folder, "pillow")
    assert sum(counts) == 6


def test_images_are_joined_in_a_thread_beside_training_a_batch_ahead(detector, folder, monkeypatch):
    joined = []

    def place(images, device):
        joined.append(threading.current_thread())
        return images

    monkeypatch.setattr(photos, "to_device", place)
    data, config = detector
    config = dataclasses.replace(config, num_classes=0, global_batch_size=3, resident_megabytes=0)
    batches = data.open_data(config, folder, ALONE).epoch(1)
    next(batches)
    deadline = time.monotonic() + 30
    while len(joined) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(joined) == 2
    assert threading.main_thread() not in joined


def test_without_a_decoder_for_the_device_pillow_decodes(detector, folder, monkeypatch):
    expected = epoch(detector, folder, "pillow")
    jpeg.decodes.cache_clear()

    def none(*_):
        raise RuntimeError("torchvision was built without it")

    monkeypatch.setattr(jpeg, "_decode_jpeg", none)
    ours = epoch(detector, folder, "torchvision")
    jpeg.decodes.cache_clear()
    assert all(torch.equal(batch.images, other.images) for batch, other in zip(ours, expected, strict=True))


def test_a_photo_that_cannot_be_decoded_or_has_another_size_is_named(detector, folder):
    broken = folder / "train2017" / f"{5:012}.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:300])
    with pytest.raises(DataError, match=rf"{broken} can't be decoded .*: replace the file"):
        epoch(detector, folder, "torchvision")
    Image.new("RGB", (20, 30)).save(broken)
    with pytest.raises(DataError, match="its annotation says"):
        epoch(detector, folder, "torchvision")
