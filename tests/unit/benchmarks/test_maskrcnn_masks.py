"""Mask R-CNN's masks: outlines cut out and scaled to boxes, and detected ones put back into the photo."""

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.maskrcnn.eval import encode, outline
from podium_benchmarks.maskrcnn.masks import Masks, rasterize


def test_masks_in_boxes_are_the_reference_s():
    """project_masks_on_boxes: polygons moved and scaled into each box, and drawn at 28 x 28."""
    random = np.random.default_rng(1)
    different = []
    for _ in range(60):
        center, radii = random.uniform([80, 80], [560, 400]), np.exp(random.uniform(1.5, 4.3, 2))
        angles = np.sort(random.uniform(0, 2 * np.pi, 12))
        corners = center + radii * random.uniform(0.5, 1, (12, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        hole = center + 0.2 * (corners[:3] - center)
        scale = np.array([1066 / 640, 800 / 480])
        low, high = corners.min(0) * scale, corners.max(0) * scale
        box = np.concatenate([low, high - 1]) + random.uniform(-0.15, 0.15, 4) * np.tile(high - low, 2)
        sides = np.maximum(box[2:] - box[:2], 1)
        drawn = rle.frPyObjects(
            [((part * scale - box[:2]) * (28 / sides)).flatten() for part in (corners, hole)], 28, 28
        )
        masks = rasterize([[corners.flatten().tolist(), hole.flatten().tolist()]], 480, 640).scaled(*scale)
        found = masks.within(torch.tensor(box[None], dtype=torch.float32), torch.tensor([0]))[0].numpy()
        different.append((found != rle.decode(rle.merge(drawn))).mean())
    assert np.mean(different) < 0.015
    assert max(different) < 0.06


def test_a_box_sees_nothing_beyond_the_mask_s_extent():
    masks = Masks(torch.ones(2, 112, 112, dtype=torch.uint8), torch.tensor([[0.0, 0, 8, 8], [16, 16, 32, 48]]))
    found = masks.within(torch.tensor([[16.0, 16, 48, 48], [8, 8, 8, 8]]), torch.tensor([1, 1]))
    assert found[0, :, :14].all()
    assert not found[0, :, 14:].any()
    assert not found[1].any()


@pytest.mark.parametrize("full", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("shape", "x", "y"),
    [((5, 7), 3, 2), ((11, 13), 0, 0), ((11, 4), 9, 0), ((3, 13), 0, 8), ((1, 1), 12, 10), ((0, 4), 2, 11)],
)
def test_a_part_s_run_lengths_are_pycocotools_of_the_whole_mask(shape, x, y, full):
    """Byte for byte: runs that end at the foot of a column, or with the mask, included."""
    for seed in range(20):
        part = np.random.default_rng(seed).random(shape) < full
        whole = np.zeros((11, 13), dtype=np.uint8, order="F")
        whole[y : y + shape[0], x : x + shape[1]] = part
        assert encode(part, x, y, 11, 13) == rle.encode(whole)


def test_a_mask_is_put_back_where_its_box_is():
    photo = make_scenes(1, size=80, classes=3, seed=1, held_out=False).photos[0]
    shape = torch.zeros(28, 28)
    shape[:, :14] = 1.0
    pasted = torch.from_numpy(rle.decode(outline(shape, (20.0, 30.0, 59.0, 69.0), photo)))
    rows, columns = pasted.any(1).nonzero().flatten(), pasted.any(0).nonzero().flatten()
    assert [int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])] == pytest.approx([30, 69, 20, 39], abs=1)
    outside = torch.from_numpy(rle.decode(outline(torch.ones(28, 28), (-20.0, 70.0, 19.0, 109.0), photo)))
    assert int(outside.sum()) == pytest.approx(20 * 10, rel=0.1)
