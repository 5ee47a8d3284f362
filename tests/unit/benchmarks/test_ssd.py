"""SSD part by part: anchors, matching, loss, augmentation, data, detection, schedule."""

import dataclasses
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.unit.benchmarks.coco_folder import write_folder
from torch.nn import functional
from torchvision.ops import box_convert, box_iou
from torchvision.transforms.v2 import functional as vision

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.precision import mixed_precision
from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.ssd import augment, boxes, config, data, model, train
from podium_benchmarks.ssd.eval import detect

REPOSITORY = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
SMALL = dataclasses.replace(config.TINY, width=4, global_batch_size=4, train_scenes=9, eval_scenes=5)


def ranks(count):
    """All ranks of a world."""
    return [Ranks(rank=rank, world_size=count, device=CPU, cores=1) for rank in range(count)]


# --- model


def test_the_full_model_has_the_reference_sizes():
    with torch.device("meta"):
        full = model.SSD(width=64, num_classes=80)
        offsets, logits = full(torch.empty(2, 3, 300, 300))
        maps = full.backbone(torch.empty(1, 3, 300, 300))
    assert sum(p.numel() for p in full.parameters()) == 19_972_534
    assert sum(p.numel() for p in full.backbone.parameters()) == 8_170_304
    assert maps.shape == (1, 256, 38, 38)
    assert (offsets.shape, logits.shape) == ((2, 8732, 4), (2, 8732, 81))


def test_one_step_of_the_full_model_at_its_input_size():
    full = dataclasses.replace(config.FULL, global_batch_size=2, precision="fp32")
    alone = ranks(1)[0]
    trainee = train.build(full, 1, alone)
    before = trainee.model.scores[0].weight.detach().clone()
    batch = data.Batch(
        images=torch.randint(0, 256, (2, 3, 300, 300), dtype=torch.uint8),
        boxes=torch.tensor([[[0.1, 0.1, 0.5, 0.6]], [[0.3, 0.2, 0.9, 0.9]]]),
        labels=torch.tensor([[1], [80]]),
        jitter=augment.Jitter(torch.tensor([[1.1, 0.7, 1.3, 0.04]] * 2), torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])),
        global_count=2,
    )
    set_learning_rate(trainee.optimizer, 1e-3)
    loss = train.forward_backward(
        trainee.network, boxes.make_anchors(), batch, scale=0.5, autocast=mixed_precision(full.precision, CPU)
    )
    trainee.optimizer.step()
    assert 10 < loss.item() / 2 < 60  # near (1 + 3) * ln 81 = 17.6 for the classes, plus boxes
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trainee.model.parameters())
    assert not torch.equal(trainee.model.scores[0].weight, before)


def test_a_rank_without_a_sample_contributes_gradients_of_zero():
    alone = ranks(1)[0]
    trainee = train.build(dataclasses.replace(SMALL, num_classes=3), 1, alone)
    empty = data._collate([], data._stacked([]), 4, CPU)
    loss = train.forward_backward(
        trainee.network, boxes.make_anchors(), empty, scale=1.0, autocast=mixed_precision(SMALL.precision, CPU)
    )
    assert loss == 0
    assert all(parameter.grad.abs().sum() == 0 for parameter in trainee.model.parameters())


# --- anchors and matching


def test_anchors_are_the_reference_s():
    anchors = boxes.make_anchors()
    assert anchors.shape == (8732, 4)
    side, between, root = 21 / 300, math.sqrt(21 * 45) / 300, math.sqrt(2)
    first_cell = [[4 / 300, 4 / 300, w, h] for w, h in [
        (side, side), (between, between), (side * root, side / root), (side / root, side * root)
    ]]  # fmt: skip
    torch.testing.assert_close(anchors[:4], torch.tensor(first_cell))
    assert anchors[4, 0].item() == pytest.approx(12 / 300)  # next column, same row
    assert anchors[4, 1].item() == pytest.approx(4 / 300)
    torch.testing.assert_close(anchors[-4, :], torch.tensor([0.5, 0.5, 261 / 300, 261 / 300]))
    assert anchors[-2, 2] == 1  # 261 * sqrt(2) is wider than the image


def match_by_hand(anchors, image_boxes, labels):
    """The reference's loops for one image (utils.Encoder.encode)."""
    overlaps = box_iou(image_boxes, box_convert(anchors, "cxcywh", "xyxy"))
    overlap, chosen = overlaps.max(0)
    for number, anchor in enumerate(overlaps.argmax(1).tolist()):
        overlap[anchor], chosen[anchor] = 2.0, number
    return torch.where(overlap > 0.5, labels[chosen], 0), image_boxes[chosen]


def test_matching_is_the_reference_s_for_any_filling():
    anchors = boxes.make_anchors()
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(3, 5, 2, generator=generator) * 0.6
    all_boxes = torch.cat([corners, corners + 0.02 + 0.38 * torch.rand(3, 5, 2, generator=generator)], 2)
    all_boxes[1, 1] = all_boxes[1, 0]  # two boxes with the same best anchor: it is for the latter
    labels = torch.tensor([[1, 2, 3, 0, 0], [1, 2, 3, 1, 2], [3, 0, 0, 0, 0]])
    offsets, classes = boxes.match(anchors, all_boxes, labels)
    for image in range(3):
        count = int((labels[image] > 0).sum())
        by_hand, matched = match_by_hand(anchors, all_boxes[image, :count], labels[image, :count])
        assert torch.equal(classes[image], by_hand)
        positive = by_hand > 0
        assert positive.sum() >= count - 1
        torch.testing.assert_close(offsets[image][positive], boxes.encode(anchors, matched)[positive])


def test_boxes_survive_coding():
    anchors = boxes.make_anchors()
    corners = torch.rand(1, 8732, 2) * 0.5
    wanted = torch.cat([corners, corners + 0.01 + torch.rand(1, 8732, 2) * 0.4], 2)
    torch.testing.assert_close(boxes.decode(anchors, boxes.encode(anchors, wanted)), wanted, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_reference_s_formula():
    generator = torch.Generator().manual_seed(4)
    offsets, wanted = (torch.randn(3, 60, 4, generator=generator) for _ in range(2))
    logits = torch.randn(3, 60, 4, generator=generator)
    classes = torch.zeros(3, 60, dtype=torch.int64)
    classes[0, :3], classes[1, 10:12] = torch.tensor([1, 2, 3]), 2  # the third image has no positive
    found = boxes.image_losses(offsets, logits, wanted, classes)
    for image, positives in ((0, 3), (1, 2)):
        positive = classes[image] > 0
        entropy = functional.cross_entropy(logits[image], classes[image], reduction="none")
        hardest = sorted(entropy[~positive].tolist(), reverse=True)[: 3 * positives]
        box_loss = functional.smooth_l1_loss(offsets[image][positive], wanted[image][positive], reduction="sum").item()
        expected = (box_loss + entropy[positive].sum().item() + sum(hardest)) / positives
        assert found[image].item() == pytest.approx(expected, rel=1e-5)
    assert found[2] == 0


# --- augmentation


def test_crops_hold_the_center_of_each_object_they_keep():
    random = np.random.default_rng(1)
    image_boxes = np.array([[0.1, 0.1, 0.3, 0.5], [0.6, 0.5, 0.9, 0.9]], dtype=np.float32)
    whole = 0
    for _ in range(500):
        crop = augment.random_crop(image_boxes, 1, random)
        whole += (crop.right - crop.left, crop.bottom - crop.top) == (1, 1)
        centers = (image_boxes[crop.kept, :2] + image_boxes[crop.kept, 2:]) / 2
        assert len(crop.kept)
        assert (centers > (crop.left, crop.top)).all()
        assert (centers < (crop.right, crop.bottom)).all()
        assert ((crop.boxes >= 0) & (crop.boxes <= 1)).all()
        assert 0.5 <= (crop.right - crop.left) / (crop.bottom - crop.top) <= 2.001
        # back in parts of the image, a box lies within the original
        size = np.array([crop.right - crop.left, crop.bottom - crop.top] * 2)
        back = crop.boxes * size + np.array([crop.left, crop.top] * 2)
        assert (back[:, :2] >= image_boxes[crop.kept, :2] - 1e-6).all()
        assert (back[:, 2:] <= image_boxes[crop.kept, 2:] + 1e-6).all()
    # A seventh of the draws say whole at once; draws that find no crop are repeated, which makes it more.
    assert 500 / 7 < whole < 350


def test_a_mirrored_box_is_as_far_from_the_other_side():
    assert augment.mirror(np.array([[0.1, 0.2, 0.4, 0.8]])) == pytest.approx(np.array([[0.6, 0.2, 0.9, 0.8]]))


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_colors_change_as_torchvision_s_colorjitter_changes_them(device, monkeypatch):
    if device == "other":  # the way of a GPU, which takes all images at once
        monkeypatch.setattr(augment, "_one_by_one", lambda images: False)
    random = np.random.default_rng(2)
    drawn = [augment.random_jitter(random) for _ in range(6)]
    jitter = augment.Jitter(*(torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)))
    images = torch.randint(0, 256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(1)).float()
    images[0, :, 0, 0] = 77  # gray has no hue
    found = augment.jitter_colors(images.clone(), jitter)
    changes = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue)
    for image, changed, (factors, order) in zip(images, found, drawn, strict=True):
        expected = image / 255
        for change in order:
            expected = changes[change](expected, float(factors[change]))
        torch.testing.assert_close(changed, expected * 255, atol=1e-2, rtol=0)


# --- data


def open_small(rank, folder=None, **changes):
    return data.open_data(dataclasses.replace(SMALL, **changes), folder, rank)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """9 training and 5 evaluation images of 360 pixels with four classes."""
    make = {"size": 360, "classes": 4, "seed": 2}
    return write_folder(tmp_path_factory.mktemp("ssd") / "coco", make_scenes(9, held_out=False, **make),
                        make_scenes(5, held_out=True, **make))  # fmt: skip


@pytest.mark.parametrize("world_size", [2, 3])
def test_each_photo_is_seen_once_and_alike_for_any_number_of_ranks(world_size):
    def fingerprints(batches):
        return Counter(
            (int(image.sum()), int((labels > 0).sum()), round(float(image_boxes.sum()), 4), *factors.tolist())
            for batch in batches
            for image, labels, image_boxes, factors in zip(
                batch.images.long(), batch.labels, batch.boxes, batch.jitter.factors, strict=True
            )
        )

    alone = list(open_small(ranks(1)[0]).epoch(7))
    assert [batch.global_count for batch in alone] == [4, 4, 1]
    together = [batch for rank in ranks(world_size) for batch in open_small(rank).epoch(7)]
    assert fingerprints(together) == fingerprints(alone)
    assert sum(fingerprints(alone).values()) == 9
    evaluated = [
        photo.id for rank in ranks(world_size) for photos, _ in open_small(rank).evaluation() for photo in photos
    ]
    assert sorted(evaluated) == [1, 2, 3, 4, 5]


def test_decoding_crops_from_files_gives_what_cropping_resident_images_gives(folder):
    resident, streamed = (open_small(ranks(1)[0], folder, resident_megabytes=size) for size in (2048, 0))
    assert resident.num_classes == streamed.num_classes == 4
    for kept, decoded in zip(resident.epoch(3), streamed.epoch(3), strict=True):
        assert torch.equal(kept.boxes, decoded.boxes)
        assert torch.equal(kept.labels, decoded.labels)
        assert (kept.images.float() - decoded.images.float()).abs().mean() < 1
    ((photos, images),) = resident.evaluation()
    assert (len(photos), images.shape) == (5, (5, 3, 300, 300))


def test_a_mirrored_photo_carries_its_boxes_along(folder):
    """Mirroring the whole image back must put the box on the very pixels it came from."""
    streamed = open_small(ranks(1)[0], folder)
    sample = streamed._sample(3, 0)
    straight = data.Data(SMALL, dataclasses.replace(streamed.truth, photos=tuple(streamed._train)), streamed.truth,
                         ranks(1)[0], repairs={}, mirrored=False)  # fmt: skip
    seeds = [
        seed for seed in range(20) if not torch.equal(streamed._sample(seed, 0).image, straight._sample(seed, 0).image)
    ]
    assert 3 <= len(seeds) <= 17
    for seed in seeds:
        flipped, plain = streamed._sample(seed, 0), straight._sample(seed, 0)
        assert torch.equal(flipped.image.flip(2), plain.image)
        assert flipped.boxes == pytest.approx(augment.mirror(plain.boxes))
    assert sample.image.shape == (3, 300, 300)


def test_a_wrong_number_of_classes_is_reported(folder):
    remedy = "name a data set with 80, or, in the open division, add --set num_classes=4"
    with pytest.raises(DataError, match=f"has 4 categories, but num_classes is 80: {remedy}"):
        open_small(ranks(1)[0], folder, num_classes=80)


# --- detection


def test_detection_keeps_the_best_of_overlapping_boxes_of_a_class():
    found = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9], [0.1, 0.1, 0.5, 0.5]])
    scores = torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.9, 0.04, 0.06], [0.3, 0.0, 0.7]])
    kept, confidence, labels = detect(found, scores)
    assert confidence.tolist() == pytest.approx([0.9, 0.7, 0.06])  # 0.04 is too little, 0.8 is the 0.9 again
    assert labels.tolist() == [1, 2, 2]
    assert torch.equal(kept, found[[0, 3, 2]])


def test_an_image_has_at_most_200_detections():
    places = torch.arange(400.0)
    found = torch.stack([places, places, places + 0.5, places + 0.5], dim=1)
    scores = torch.full((400, 3), 0.3)
    assert detect(found, scores)[1].shape == (200,)


# --- schedule and settings


@pytest.mark.parametrize(
    ("factor", "rates"),
    [
        (0, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.1, 0.01]),
        (1, [0.5, 0.625, 0.75, 0.875, 1.0, 1.0, 0.1, 0.1, 0.01]),
    ],
)
def test_the_rate_rises_from_1_minus_2_to_the_minus_k_and_falls_at_boundaries(factor, rates):
    steps = {"opt_learning_rate_warmup_steps": 4, "opt_learning_rate_decay_boundary_steps": (6, 8)}
    settings = dataclasses.replace(SMALL, opt_base_learning_rate=1.0, opt_learning_rate_warmup_factor=factor, **steps)
    assert [train.learning_rate(settings, step) for step in range(9)] == pytest.approx(rates)


def test_the_reference_evaluates_after_as_many_images_whatever_the_batch():
    steps = config.FULL.evaluation_steps(steps_per_epoch=3665)
    assert sorted(steps)[:6] == [120_000, 160_000, 180_000, 200_000, 220_000, 240_000]
    assert sorted(steps)[6:] == [260_000, 280_000], "published runs went on beyond the reference"
    larger = dataclasses.replace(config.FULL, global_batch_size=1024).evaluation_steps(steps_per_epoch=115)
    assert sorted(larger) == [3750, 5000, 5625, 6250, 6875, 7500, 8125, 8750]
    by_epoch = dataclasses.replace(SMALL, epochs_between_evals=2, max_epochs=5)
    assert sorted(by_epoch.evaluation_steps(steps_per_epoch=3)) == [6, 12, 15]


@pytest.mark.parametrize(("batch", "steps"), [(32, (160_000, 200_000)), (960, (5333, 6666)), (2048, (2500, 3125))])
def test_the_rate_drops_after_as_many_images_whatever_the_batch(batch, steps):
    """The reference: at iteration 160,000 x 32 // batch, counted from 0."""
    settings = dataclasses.replace(config.FULL, global_batch_size=batch, opt_base_learning_rate=1.0)
    assert settings.decay_steps == steps
    rates = [train.learning_rate(settings, step + change) for step in steps for change in (-1, 0)]
    assert rates == pytest.approx([1.0, 0.1, 0.1, 0.01])
    assert settings.log_values(8)["opt_learning_rate_decay_boundary_steps"] == list(steps)
    given = dataclasses.replace(settings, opt_learning_rate_decay_boundary_steps=(7, 9))
    assert given.decay_steps == (7, 9)


@pytest.mark.parametrize("version", ["v0.5", "v0.6"])
def test_every_tunable_hyperparameter_of_the_round_can_be_set(version):
    (file,) = (REPOSITORY / "operator" / "podium").glob(f"*/{version}.yaml")
    tunable = set(yaml.safe_load(file.read_text())["benchmarks"]["ssd"]["tunable"])
    assert "opt_learning_rate_warmup_factor" in tunable
    assert tunable <= {field.name for field in dataclasses.fields(config.Config)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 6}, "width must be a multiple of 4, not 6"),
        ({"max_samples": 0}, "max_samples must be above 0, not 0"),
        ({"eval_iterations": (5, 3)}, r"eval_iterations must be rising whole numbers above 0, not \(5, 3\)"),
        ({"opt_momentum": 1.0}, "opt_momentum must be from 0 to below 1, not 1.0"),
    ],
)
def test_settings_out_of_bounds(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "folder_given", "words"),
    [
        ({"num_classes": 80}, None, "only 3 digits to find, but num_classes is 80: give --data DIR; expected"),
        ({"backbone_weights": "/nowhere.pt"}, None, "backbone_weights /nowhere.pt is not a file"),
        (
            {"model_bn_span": 3},
            None,
            r"shard of the batch \(2, or 0\), the shards of ranks in equal groups, or the whole batch \(4\), not 3",
        ),
        ({}, "/nowhere", "--data /nowhere is not a folder; expected DIR/{train,val}2017"),
    ],
)
def test_requests_refused_before_any_log_line(changes, folder_given, words, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=words.replace("{", r"\{")):
        data.check_data(dataclasses.replace(SMALL, **changes), folder_given and Path(folder_given))
