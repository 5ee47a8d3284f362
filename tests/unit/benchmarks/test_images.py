"""Digits and image folders: every image once, whatever the ranks, the same crops whatever the ranks."""

import dataclasses
import tarfile
from collections import Counter

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.resnet import data, folder
from podium_benchmarks.resnet.config import TINY

CPU = torch.device("cpu")
CONFIG = dataclasses.replace(TINY, num_classes=2, global_batch_size=4, image_size=16)


def ranks(count):
    """All ranks of a world."""
    return [Ranks(rank=rank, world_size=count, device=CPU, cores=1) for rank in range(count)]


@pytest.fixture
def image_folder(tmp_path):
    """9 training and 5 evaluation images of two classes, each of one gray that tells it apart."""
    for part, per_class in (("train", (5, 4)), ("val", (3, 2))):
        for label, count in enumerate(per_class):
            (tmp_path / part / f"class{label}").mkdir(parents=True)
            for number in range(count):
                gray = 20 * (number + 1) + 120 * label
                Image.new("RGB", (40, 24), (gray,) * 3).save(tmp_path / part / f"class{label}" / f"{number}.jpg")
    return tmp_path


def grays(images):
    """The gray of each image, to the nearest ten."""
    return [int(round(value, -1)) for value in images.float().mean((1, 2, 3)).tolist()]


def test_digits_are_those_of_scikit_learn():
    images = data.digits(TINY, CPU)
    assert (images.train_samples, images.eval_samples) == (1437, 360)
    held_out = load_digits().target[::5].tolist()
    assert torch.cat([labels for _, labels in images.evaluation(ranks(1)[0])]).tolist() == held_out


def packed(folder):
    """The same images as two shards a part, in folder/tars."""
    for part in ("train", "val"):
        (folder / "tars" / part).mkdir(parents=True)
        images = sorted((folder / part).glob("*/*.jpg"))
        for shard in range(2):
            with tarfile.open(folder / "tars" / part / f"{shard}.tar", "w") as archive:
                for image in images[shard::2]:
                    archive.add(image, f"{image.parent.name}/{image.name}")
    return folder / "tars"


@pytest.mark.parametrize("megabytes", [2048, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize(("world_size", "tars"), [(1, False), (2, False), (3, False), (2, True)])
def test_each_image_is_seen_once_and_alike_for_any_number_of_ranks(image_folder, megabytes, world_size, tars):
    if tars:
        image_folder = packed(image_folder)
    config = dataclasses.replace(CONFIG, resident_megabytes=megabytes)
    trained, evaluated, sizes = Counter(), Counter(), set()
    for rank in ranks(world_size):
        images = folder.open_folder(config, image_folder, rank)
        for batch, labels, global_count in images.epoch(5, rank):
            trained.update(zip(grays(batch), labels.tolist(), strict=True))
            sizes.add(global_count)
        for batch, labels in images.evaluation(rank):
            evaluated.update(zip(grays(batch), labels.tolist(), strict=True))
    everything = [(20 * n + 20, 0) for n in range(5)] + [(20 * n + 140, 1) for n in range(4)]
    assert trained == Counter(everything)
    assert evaluated == Counter([(20, 0), (40, 0), (60, 0), (140, 1), (160, 1)])
    assert sizes == {4, 1}


@pytest.mark.parametrize("megabytes", ["2048", "0"], ids=["resident", "streamed"])
def test_a_run_ends_with_one_sentence_when_an_image_cannot_be_decoded(image_folder, megabytes, launch, log_lines):
    spoilt = image_folder / "train" / "class1" / "2.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:300])
    run = launch("resnet", "--data", str(image_folder), "--set", "num_classes=2", "--set", "image_size=32",
                 "--set", "global_batch_size=4", "--set", f"resident_megabytes={megabytes}")  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith(f"resnet: {spoilt} can't be decoded (")
    assert run.stderr.endswith("): replace the file\n")
    assert run.stderr.count("\n") == 1
    assert "run_stop" not in {line["key"] for line in log_lines(run.stdout)}


def test_streamed_crops_depend_on_seed_and_image_only(image_folder):
    config = dataclasses.replace(CONFIG, resident_megabytes=0, min_crop_area=0.2)
    images = folder.open_folder(config, image_folder, ranks(1)[0])
    first, again, other = (torch.cat([batch for batch, _, _ in images.epoch(seed, ranks(1)[0])]) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.uint8


def test_a_batch_whose_pieces_are_decoded_by_several_workers_is_the_same(image_folder, monkeypatch):
    """The first batch after an evaluation is waited for."""
    config = dataclasses.replace(CONFIG, global_batch_size=7, resident_megabytes=0)
    rank = Ranks(rank=0, world_size=1, device=CPU, cores=8)  # two of them decode

    def everything():
        images = folder.open_folder(config, image_folder, rank)
        return [*images.epoch(3, rank), *images.evaluation(rank)]

    whole = everything()
    monkeypatch.setattr(folder, "PIECE", 3)
    assert [list(piece.indices) for piece in folder.Task(0, range(8)).pieces()] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    in_pieces = everything()
    assert [len(labels) for _, labels, *_ in in_pieces] == [7, 2, 5]
    for (images, labels, *_), (expected, expected_labels, *_) in zip(in_pieces, whole, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)


def test_random_boxes_lie_within_the_image():
    x, y, width, height = data.random_boxes(1000, 0.05, torch.Generator().manual_seed(1)).unbind(1)
    assert ((x.abs() + width <= 1.00001) & (y.abs() + height <= 1.00001)).all()
    assert (width * height >= 0.05).all()
    ratio = width / height
    assert (ratio > 0.7499).all()
    assert (ratio < 1.3335).all()


def test_the_whole_box_at_the_same_size_is_the_image_and_a_negative_width_its_mirror():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, -1.0, 1.0]])
    same, mirrored = data.crop_and_resize(images, boxes, 8)
    torch.testing.assert_close(same, images[0].float(), atol=1e-2, rtol=0)
    torch.testing.assert_close(mirrored, images[1].flip(2).float(), atol=1e-2, rtol=0)
