"""JPEGs decoded on the training device: the same crops, but for what two decoders and resizers differ by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.benchmarks.test_decode import encoded, photo

from podium_benchmarks.core import jpeg as core_jpeg
from podium_benchmarks.core.cli import DataError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.resnet import folder, jpeg
from podium_benchmarks.resnet.config import TINY
from podium_benchmarks.resnet.decode import decode_crop, random_box

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU, 1)


def fixed(box):
    return lambda *_: box


def test_crops_are_those_of_pillow_but_for_rounding():
    data = photo(641, 481)
    boxes = [random_box(641, 481, 0.05, np.random.default_rng(seed)) for seed in range(12)]
    mirrored = [seed % 2 == 1 for seed in range(12)]
    batch = jpeg.pack([(data, "photo", fixed(box)) for box in boxes], mirrored, 160)
    crops = jpeg.unpack(batch, ["photo"] * 12, 160, CPU)
    assert crops.dtype == torch.uint8
    off = []
    for crop, box, flipped in zip(crops, boxes, mirrored, strict=True):
        expected = decode_crop(data, "photo", 160, fixed(tuple(round(edge) for edge in box)), reduced=False)
        off.append((crop.float() - (expected.flip(2) if flipped else expected).float()).abs().mean().item())
    assert max(off) < 1


def test_what_is_not_a_jpeg_in_gray_or_rgb_is_decoded_by_pillow():
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    files = [encoded(image), encoded(image, "PNG"), encoded(image.convert("CMYK")), encoded(image.convert("L"))]
    box = (3.0, 2.0, 50.0, 35.0)
    batch = jpeg.pack([(data, str(number), fixed(box)) for number, data in enumerate(files)], [False] * 4, 20)
    assert len(batch.crops) == 2
    crops = jpeg.unpack(batch, list("0123"), 20, CPU)
    for data, crop in zip(files, crops, strict=True):
        expected = decode_crop(data, "", 20, fixed(box), reduced=False)
        assert (crop.float() - expected.float()).abs().mean() < 1.5


@pytest.mark.parametrize("spoilt", [slice(0, 300), slice(0, 2)], ids=["cut short", "no header"])
def test_what_cannot_be_decoded_is_named(spoilt):
    files = {"the first": photo(64, 48), "the second": photo(64, 48)[spoilt]}

    def there_and_back():
        packed = jpeg.pack([(data, name, fixed((0, 0, 9, 9))) for name, data in files.items()], [False, False], 8)
        jpeg.unpack(packed, list(files), 8, CPU)

    with pytest.raises(DataError, match=r"the second can't be decoded .*: replace the file"):
        there_and_back()


def test_a_jpeg_that_the_device_refuses_is_decoded_by_pillow(monkeypatch):
    """nvJPEG knows fewer kinds than libjpeg."""
    refused, good = photo(64, 48), photo(60, 50)
    decode = core_jpeg._decode_jpeg

    def picky(files, device):
        if any(len(file) == len(refused) for file in files):
            raise RuntimeError("unsupported")
        return decode(files, device)

    monkeypatch.setattr(core_jpeg, "_decode_jpeg", picky)
    batch = jpeg.pack([(data, "", fixed((0, 0, 40, 40))) for data in (refused, good, good)], [False] * 3, 40)
    crops = jpeg.unpack(batch, ["", "", ""], 40, CPU)
    expected = torch.stack(
        [decode_crop(data, "", 40, fixed((0, 0, 40, 40)), reduced=False) for data in (refused, good, good)]
    )
    assert (crops.float() - expected.float()).abs().mean() < 1


def epoch(image_folder, decoder):
    config = dataclasses.replace(TINY, num_classes=2, global_batch_size=4, min_crop_area=0.3, resident_megabytes=0,
                                 jpeg_decoder=decoder)  # fmt: skip
    return list(folder.open_folder(config, image_folder, ALONE).epoch(7, ALONE))


@pytest.fixture
def image_folder(tmp_path):
    for part in ("train", "val"):
        for number in range(10):
            file = tmp_path / part / f"class{number % 2}" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(photo(90 + number, 80))
    return tmp_path


def test_an_epoch_has_the_same_crops_with_either_decoder(image_folder):
    ours, pillows = (epoch(image_folder, decoder) for decoder in ("torchvision", "pillow"))
    assert [count for *_, count in ours] == [4, 4, 2]
    for (images, labels, _), (expected, expected_labels, _) in zip(ours, pillows, strict=True):
        assert torch.equal(labels, expected_labels)
        assert not torch.equal(images, expected)
        assert (images.float() - expected.float()).abs().mean() < 6  # boxes are in whole pixels here


def test_without_a_decoder_for_the_device_pillow_decodes(image_folder, monkeypatch):
    expected = epoch(image_folder, "pillow")
    core_jpeg.decodes.cache_clear()

    def none(*_, **__):
        raise RuntimeError("torchvision was built without it")

    monkeypatch.setattr(core_jpeg, "_decode_jpeg", none)
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in
               zip(epoch(image_folder, "torchvision"), expected, strict=True))  # fmt: skip
    core_jpeg.decodes.cache_clear()
