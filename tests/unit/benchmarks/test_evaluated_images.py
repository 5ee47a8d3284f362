"""What ResNet and SSD evaluate: the images that the references evaluate, decoded at their full size."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.benchmarks.coco_folder import read_json, write_folder, write_json

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.resnet import config as resnet_config
from podium_benchmarks.resnet.folder import open_folder
from podium_benchmarks.ssd import config as ssd_config
from podium_benchmarks.ssd.data import cut, open_data

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
WHOLE = (0, 0, 700, 700)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """3 training and 3 evaluation images of 700 pixels."""
    make = {"size": 700, "classes": 1, "seed": 2}
    return write_folder(tmp_path_factory.mktemp("evaluated") / "coco", make_scenes(3, held_out=False, **make),
                        make_scenes(3, held_out=True, **make))  # fmt: skip


def open_ssd(folder):
    return open_data(dataclasses.replace(ssd_config.TINY, resident_megabytes=0), folder, ALONE)


def full_size(photo, size, box):
    """The part of the file in `box`, scaled by Pillow after decoding all of it."""
    whole = Image.open(photo).convert("RGB")
    return torch.from_numpy(np.array(whole.resize((size, size), Image.Resampling.BILINEAR, box=box))).permute(2, 0, 1)


def test_ssd_does_not_evaluate_photos_without_boxes(tmp_path):
    """Of COCO's 5,000 the reference evaluates 4,952; a box around a crowd is one."""
    scenes = [make_scenes(4, size=300, classes=3, seed=2, held_out=held_out) for held_out in (False, True)]
    folder = write_folder(tmp_path / "coco", *scenes)
    val = read_json(folder, "val")
    kept = [annotation for annotation in val["annotations"] if annotation["image_id"] not in (2, 3)]
    crowd = next(annotation for annotation in val["annotations"] if annotation["image_id"] == 3) | {"iscrowd": 1}
    write_json(folder, "val", val | {"annotations": [*kept, crowd]})
    data = open_ssd(folder)
    assert [photo.id for photos, _ in data.evaluation() for photo in photos] == [1, 3, 4]
    assert (data.eval_samples, [photo.id for photo in data.truth.photos]) == (3, [1, 3, 4])


def test_ssd_evaluates_photos_decoded_at_full_size(folder):
    ((photos, images),) = open_ssd(folder).evaluation()
    for photo, image in zip(photos, images, strict=True):
        assert torch.equal(image, full_size(photo.file, 300, WHOLE))
        assert not torch.equal(image, cut(photo, WHOLE, reduced=True)), "there is no difference to be seen"


@pytest.mark.parametrize("resident_megabytes", [0, 2048])
def test_resnet_evaluates_images_decoded_at_full_size(tmp_path, folder, resident_megabytes):
    for part in ("train", "val"):
        (tmp_path / part / "digit").mkdir(parents=True)
        for file in (folder / f"{part}2017").iterdir():
            (tmp_path / part / "digit" / file.name).symlink_to(file)
    config = dataclasses.replace(resnet_config.TINY, num_classes=1, image_size=350, eval_crop=1.0,
                                 resident_megabytes=resident_megabytes)  # fmt: skip
    ((images, _),) = open_folder(config, tmp_path, ALONE).evaluation(ALONE)
    files = sorted((tmp_path / "val" / "digit").iterdir())
    expected = torch.stack([full_size(file, 350, WHOLE) for file in files])
    torch.testing.assert_close(images.float(), expected.float(), atol=0.01, rtol=0)
