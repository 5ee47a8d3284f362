"""Crops from JPEG: the same as from the whole image where that is claimed, close to it where not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from podium_benchmarks.core.cli import DataError
from podium_benchmarks.resnet.decode import center_box, decode_crop, random_box


def photo(width, height):
    """A JPEG with coarse and fine structure and some noise."""
    random = np.random.default_rng(3)
    pixels = random.normal(128, 6, (height, width, 3))
    for radius in (2, 8, 30):
        noise = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        blurred = np.asarray(noise.filter(ImageFilter.GaussianBlur(radius)), dtype=float)
        pixels += (blurred - blurred.mean()) / blurred.std() * 30
    return encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def encoded(image, kind="JPEG"):
    """The bytes of the image's file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def differences(data, boxes, size, *, reduced=True):
    """Mean absolute differences from the crops of the whole decoded image, one per box."""
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    for box in boxes:
        expected = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR, box=box), dtype=float)
        found = decode_crop(data, "photo", size, lambda *_, box=box: box, reduced=reduced).permute(1, 2, 0).numpy()
        yield float(np.abs(found - expected).mean())


def test_crops_less_than_twice_the_size_wanted_are_those_of_the_whole_image():
    boxes = [random_box(333, 250, 0.05, np.random.default_rng(seed)) for seed in range(20)]
    assert set(differences(photo(333, 250), boxes, 224)) == {0.0}


def test_larger_crops_are_decoded_at_a_half_or_less_and_differ_by_less_than_two_gray_levels():
    boxes = [random_box(641, 481, 0.6, np.random.default_rng(seed)) for seed in range(20)]
    found = list(differences(photo(641, 481), boxes, 160))
    assert 0 < np.mean(found) < 2
    assert max(found) < 3


def test_evaluation_decodes_the_whole_image():
    data = photo(641, 481)
    boxes = [center_box(641, 481, 0.875)]
    assert next(differences(data, boxes, 160)) > 0
    assert list(differences(data, boxes, 160, reduced=False)) == [0.0]


def test_random_boxes_lie_within_the_image():
    random = np.random.default_rng(1)
    for _ in range(200):
        left, top, right, bottom = random_box(300, 200, 0.05, random)
        assert 0 <= left < right <= 300.001
        assert 0 <= top < bottom <= 200.001
        assert (right - left) * (bottom - top) >= 0.049 * 300 * 200


def test_the_center_is_a_square():
    assert center_box(300, 200, 0.875) == (62.5, 12.5, 237.5, 187.5)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_images_in_other_colors_become_rgb(mode):
    data = encoded(Image.new("RGB", (20, 20), (200, 100, 50)).convert(mode), "JPEG" if mode in {"L", "CMYK"} else "PNG")
    crop = decode_crop(data, "photo", 10, lambda *_: (0.0, 0.0, 20.0, 20.0), reduced=True)
    expected = (124, 124, 124) if mode == "L" else (200, 100, 50)
    # a palette has 256 colors, none of which needs to be exact
    assert crop.float().mean((1, 2)).tolist() == pytest.approx(expected, abs=26 if mode == "P" else 3)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: b"", r"^cat/1\.jpg can't be decoded \(its 0 bytes are not an image\): replace the file$"),
        (lambda data: b"<html>" * 5, r"its 30 bytes are not an image"),
        (lambda data: data[:-1000], r"^cat/1\.jpg can't be decoded \(image file is truncated.*\): replace the file$"),
    ],
)
def test_what_cannot_be_decoded_is_named(spoil, words):
    with pytest.raises(DataError, match=words):
        decode_crop(spoil(photo(100, 80)), "cat/1.jpg", 32, lambda *_: (0.0, 0.0, 80.0, 80.0), reduced=True)
