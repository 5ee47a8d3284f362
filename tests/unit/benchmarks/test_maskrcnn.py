"""Mask R-CNN part by part: anchors, matching, sampling, proposals, pooling, losses, data, masks, schedule."""

import dataclasses
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pycocotools import mask as rle
from tests.unit.benchmarks.coco_folder import read_json, write_folder, write_json

from podium_benchmarks.core import cli, seeds
from podium_benchmarks.core.cli import DataError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.maskrcnn import BENCHMARK, boxes, config, data, detector, model, train
from podium_benchmarks.maskrcnn import eval as evaluation
from podium_benchmarks.maskrcnn.eval import best_of
from podium_benchmarks.maskrcnn.masks import rasterize

REPOSITORY = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
SMALL = dataclasses.replace(
    config.TINY, width=4, fpn_channels=8, box_features=16, mask_channels=8, min_image_size=64, num_classes=3,
    global_batch_size=4, train_scenes=9, eval_scenes=5, precision="fp32",
)  # fmt: skip


def ranks(count):
    """All ranks of a world."""
    return [Ranks(rank=rank, world_size=count, device=CPU, cores=1) for rank in range(count)]


# --- model


def test_the_full_model_has_the_reference_sizes():
    with torch.device("meta"):
        full = model.MaskRCNN(config.FULL, 80)
        maps, scores, offsets = detector.dense(full, torch.empty(2, 3, 800, 1088))
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in full.named_children()}
    assert sizes == {
        "backbone": 23_454_912, "pyramid": 3_344_384, "proposals": 593_935, "boxes": 14_310_805, "masks": 2_643_537,
    }  # fmt: skip
    assert sum(p.numel() for p in full.parameters() if p.requires_grad) == 44_125_173
    assert [tuple(x.shape[1:]) for x in maps] == [(256, 800 // s, 1088 // s) for s in (4, 8, 16, 32)] + [(256, 13, 17)]
    anchors = sum(x.shape[2] * x.shape[3] * 3 for x in maps)
    assert (scores.shape, offsets.shape) == ((2, anchors), (2, anchors, 4))


def test_strides_are_in_the_1x1_and_batch_normalization_is_frozen_without_epsilon():
    with torch.device("meta"):
        first = model.MaskRCNN(config.FULL, 80).backbone.layer2[0]
    assert (first.conv1.stride, first.conv2.stride) == ((2, 2), (1, 1))
    norm = model.FrozenBatchNorm(2)
    norm.running_mean[:], norm.running_var[:] = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 1e-8])
    norm.weight[:], norm.bias[:] = torch.tensor([2.0, 1.0]), torch.tensor([0.5, 0.0])
    found = norm(torch.tensor([3.0, 2.001]).view(1, 2, 1, 1)).flatten()
    torch.testing.assert_close(found, torch.tensor([2.5, 10.0]), rtol=1e-2, atol=0)
    assert not list(norm.parameters())


def test_one_step_of_the_full_model_at_its_input_size():
    full = dataclasses.replace(config.FULL, global_batch_size=1, precision="auto")
    alone = ranks(1)[0]
    trainee = train.build(full, 1, alone)
    batch = train.synthetic_batch(full, 1, CPU)
    assert batch.images.shape == (1, 3, 800, 1088)  # 800 x 1066, padded
    before = trainee.model.boxes.scores.weight.detach().clone()
    set_learning_rate(trainee.optimizer, 1e-4)
    loss = train.forward_backward(trainee.network, batch, alone)
    trainee.optimizer.step()
    assert loss.isfinite()
    trained = [p for p in trainee.model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    assert not torch.equal(trainee.model.boxes.scores.weight, before)


def test_a_rank_without_a_sample_contributes_gradients_of_zero():
    alone = ranks(1)[0]
    trainee = train.build(SMALL, 1, alone)
    assert train.forward_backward(trainee.network, data.collate([], data.padded([]), 4, CPU), alone) == 0
    assert all(parameter.grad.abs().sum() == 0 for parameter in trainee.model.parameters())


# --- anchors, codes, matching, sampling


def test_anchors_are_those_that_detectron_publishes():
    expected = [[-84, -40, 99, 55], [-56, -56, 71, 71], [-36, -80, 51, 95]]
    assert boxes.cell_anchors(stride=16, size=128).tolist() == expected
    (level,) = boxes.grid_anchors([(2, 3)], [16], [128], CPU)
    assert level.shape == (18, 4)
    assert level[3].tolist() == [-68, -40, 115, 55]  # next column
    assert level[9].tolist() == [-84, -24, 99, 71]  # next row


def test_boxes_survive_coding_and_corners_belong_to_them():
    generator = torch.Generator().manual_seed(1)
    low, size = torch.rand(2, 50, 2, generator=generator) * 50, 1 + torch.rand(2, 50, 2, generator=generator) * 90
    anchors, wanted = torch.cat([low, low + size], 2)
    found = boxes.decode(anchors, boxes.encode(anchors, wanted, (10.0, 10.0, 5.0, 5.0)), (10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)
    # an anchor of 0..9 is 10 pixels wide: twice that is a shift of half its width and a scale of ln 2
    offsets = boxes.encode(torch.tensor([0.0, 0, 9, 9]), torch.tensor([0.0, 0, 19, 9]), (1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(offsets, torch.tensor([0.5, 0.0, 0.6931472, 0.0]))


def test_matching_follows_thresholds_and_gives_each_object_its_best():
    objects = torch.tensor([[0.0, 0, 9, 9], [50, 50, 59, 59]])
    candidates = torch.tensor([
        [0.0, 0, 9, 9],  # the first object itself
        [0, 0, 9, 4],  # half of it: between the thresholds
        [0, 0, 9, 1],  # a fifth of it
        [50, 50, 59, 54],  # half of the second object, which nothing overlaps more
        [20, 20, 29, 29],
    ])  # fmt: skip
    none, ignored = boxes.NEGATIVE, boxes.IGNORED
    found = boxes.match(objects, candidates, low=0.3, high=0.7, best_of_each=True)
    assert found.tolist() == [0, ignored, none, 1, none]
    found = boxes.match(objects, candidates, low=0.3, high=0.7, best_of_each=False)
    assert found.tolist() == [0, ignored, none, ignored, none]
    alone = boxes.match(torch.tensor([[90.0, 90, 99, 99]]), candidates, low=0.3, high=0.7, best_of_each=True)
    assert alone.tolist() == [none] * 5  # nothing overlaps it: the best of nothing is nobody


def test_samples_are_the_highest_keys_of_each_kind():
    matched = torch.tensor([0, 1, 0, -1, -1, -1, -2, -1])
    keys = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.8, 0.3, 0.99, 0.7])
    assert boxes.sample(matched, 4, 0.5, keys).tolist() == [1, 2, 4, 7]
    assert boxes.sample(matched, 4, 0.25, keys).tolist() == [1, 4, 5, 7]
    assert boxes.sample(matched, 100, 0.5, keys).tolist() == [0, 1, 2, 3, 4, 5, 7]  # never what is ignored


# --- proposals and pooling


def test_proposals_are_the_best_anchors_less_those_that_overlap_a_better_one():
    anchors = [torch.tensor([[0.0, 0, 9, 9], [1, 0, 10, 9], [40, 40, 49, 49]]), torch.tensor([[0.0, 0, 9, 9]])]
    scores = torch.tensor([[3.0, 2, 1, 0], [0, 1, 2, 3]])
    find = {"offsets": torch.zeros(2, 4, 4), "levels": anchors, "sizes": [(64, 64), (64, 45)]}
    per_image = dataclasses.replace(SMALL, candidate_pool="image", num_image_candidates=2)
    first, second = detector.propose(per_image, scores, **find, training=True)
    assert first.tolist() == [[0, 0, 9, 9], [40, 40, 49, 49]]  # the other level's twin of the best comes third
    assert second.tolist() == [[0, 0, 9, 9], [40, 40, 44, 49]]  # moved into the image
    pooled = dataclasses.replace(SMALL, candidate_pool="rank", num_image_candidates=3)
    first, second = detector.propose(pooled, scores + torch.tensor([[0.1], [2.0]]), **find, training=True)
    assert (len(first), len(second)) == (1, 2)  # scores of 3.1; 5 and 4
    evaluated = detector.propose(
        dataclasses.replace(SMALL, eval_candidates=1), scores, **find, training=False
    )  # fmt: skip
    assert [len(image) for image in evaluated] == [1, 1]


def test_boxes_are_pooled_from_the_level_of_their_size():
    maps = [
        torch.full((1, 1, 256 // stride, 256 // stride), float(level)) for level, stride in enumerate((4, 8, 16, 32))
    ]
    sides = (20, 111, 112, 223, 224, 255)
    found = detector.pool(maps, [torch.tensor([[0.0, 0, side - 1, side - 1] for side in sides])], 7, 224)
    assert found.shape == (6, 1, 7, 7)
    assert found[:, 0, 3, 3].tolist() == [0, 0, 1, 1, 2, 2]


def test_losses_of_two_shares_add_up_to_those_of_the_batch():
    trainee = train.build(dataclasses.replace(SMALL, global_batch_size=3), 1, ranks(1)[0])
    trainee.model.eval()  # batch statistics are not what is added up here
    whole = next(data.open_data(dataclasses.replace(SMALL, global_batch_size=3), None, ranks(1)[0]).epoch(1))
    shares = [
        next(data.open_data(dataclasses.replace(SMALL, global_batch_size=3), None, rank).epoch(1)) for rank in ranks(2)
    ]
    assert [len(share.images) for share in shares] == [1, 2]
    sums, counts = trainee.network(whole)
    parts = [trainee.network(share) for share in shares]
    torch.testing.assert_close(sum(part[0] for part in parts), sums, rtol=1e-4, atol=1e-4)
    assert torch.equal(sum(part[1] for part in parts), counts)


# --- data


@pytest.mark.parametrize(
    ("height", "width", "scaled"),
    [(480, 640, (800, 1066)), (640, 480, (1066, 800)), (300, 640, (625, 1333)), (64, 64, (800, 800))],
)
def test_images_are_scaled_as_the_reference_scales_them(height, width, scaled):
    assert data.scaled_size(config.FULL, height, width) == scaled


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """9 training and 5 evaluation photos of 96 pixels with four classes."""
    make = {"size": 96, "classes": 4, "seed": 2}
    return write_folder(tmp_path_factory.mktemp("maskrcnn") / "coco", make_scenes(9, held_out=False, **make),
                        make_scenes(5, held_out=True, **make))  # fmt: skip


def open_small(rank, folder=None, **changes):
    return data.open_data(dataclasses.replace(SMALL, num_classes=0, **changes), folder, rank)


@pytest.mark.parametrize("world_size", [2, 3])
def test_each_photo_is_seen_once_and_alike_for_any_number_of_ranks(world_size):
    def fingerprints(batches):
        return Counter(
            (int(image.long().sum()), round(float(objects.sum()), 3), int(masks.shapes.long().sum()), seed)
            for batch in batches
            for image, objects, masks, seed in zip(batch.images, batch.boxes, batch.masks, batch.seeds, strict=True)
        )

    alone = list(open_small(ranks(1)[0]).epoch(7))
    assert [batch.global_count for batch in alone] == [4, 4, 1]
    together = [batch for rank in ranks(world_size) for batch in open_small(rank).epoch(7)]
    assert fingerprints(together) == fingerprints(alone)
    assert sum(fingerprints(alone).values()) == 9
    evaluated = [
        photo.id for rank in ranks(world_size) for photos, *_ in open_small(rank).evaluation() for photo in photos
    ]
    assert sorted(evaluated) == [1, 2, 3, 4, 5]


def test_outlines_are_made_in_a_thread_beside_the_network(monkeypatch):
    seen, threads = {}, set()
    outline = evaluation.outline

    def drawn(shape, box, photo):
        threads.add(threading.current_thread())
        return outline(shape, box, photo)

    def score(truth, mine, kinds):
        seen.update((found.photo_id, found) for found in mine)
        return dict.fromkeys(kinds, 0.0)

    monkeypatch.setattr(evaluation, "average_precision", score)
    monkeypatch.setattr(evaluation, "outline", drawn)
    monkeypatch.setattr(data, "EVAL_BATCH", 2)
    opened = open_small(ranks(1)[0])
    trainee = train.build(SMALL, 1, ranks(1)[0])
    evaluation.evaluate(trainee.model, opened, trainee.autocast)
    assert threading.main_thread() not in threads
    assert sorted(seen) == [1, 2, 3, 4, 5]
    trainee.model.eval()
    for photos, images, sizes in opened.evaluation():
        with torch.inference_mode():
            best, shapes = evaluation.detect(trainee.model, images, sizes, trainee.autocast)
        for expected in evaluation.describe(photos, sizes, best, shapes):
            found = seen[expected.photo_id]
            assert len(expected.scores)
            assert all(
                torch.equal(getattr(found, name), getattr(expected, name)) for name in ("boxes", "scores", "labels")
            )
            assert found.masks == expected.masks


def test_upright_photos_are_in_batches_of_their_own(folder, tmp_path):
    wide = data.open_data(SMALL, None, ranks(1)[0])
    photos = [dataclasses.replace(photo, height=64, width=64 - 8 * (photo.id % 2)) for photo in wide.truth.photos]
    photos = [dataclasses.replace(p, image=p.image[:, :, : p.width], segmentations=p.segmentations) for p in photos]
    mixed = data.Data(SMALL, dataclasses.replace(wide.truth, photos=tuple(photos)), wide.truth, ranks(1)[0], repairs={},
                      mirrored=False)  # fmt: skip
    batches = list(mixed.epoch(3))
    assert len(batches) == mixed.steps_per_epoch == 2
    assert sorted(len({height > width for height, width in batch.sizes}) for batch in batches) == [1, 1]


def test_masks_follow_their_photo_through_scaling_and_mirroring(folder):
    opened = open_small(ranks(1)[0], folder)
    kept, mirrored = (next(s for s in range(99) if seeds.derive(s, "photo", 0) % 2 == odd) for odd in (0, 1))
    first, second = opened._sample(kept, 0), opened._sample(mirrored, 0)
    assert first.masks.shapes.shape == (len(first.labels), 112, 112)
    for sample in (first, second):
        edges = sample.masks.extents - torch.tensor([0, 0, 1, 1])  # boxes end with the last pixel
        torch.testing.assert_close(edges, sample.boxes, atol=1.5, rtol=0)
    seen = [sample.masks.within(sample.boxes, torch.arange(len(sample.labels))) for sample in (first, second)]
    assert (seen[0].flip(2) != seen[1]).float().mean() < 0.06
    assert (seen[0] != seen[1]).float().mean() > 0.1


def test_polygons_and_both_run_length_encodings_are_read():
    square = [10.0, 10.0, 50.0, 10.0, 50.0, 50.0, 10.0, 50.0]
    packed = rle.merge(rle.frPyObjects([square, [20.0, 50.0, 40.0, 50.0, 30.0, 70.0]], 96, 80))
    runs = {"size": packed["size"], "counts": _runs(rle.decode(packed))}
    polygons = [square, [20.0, 50.0, 40.0, 50.0, 30.0, 70.0]]
    found = rasterize([polygons, packed, runs], 96, 80)
    torch.testing.assert_close(found.extents, torch.tensor([[10.0, 10, 50, 70]] * 3), atol=1, rtol=0)
    assert torch.equal(found.shapes[1], found.shapes[2])
    assert (found.shapes[0] != found.shapes[1]).float().mean() < 0.03
    with np.errstate(divide="raise", invalid="raise"):
        nothing = rasterize([rle.encode(np.zeros((96, 80), np.uint8, order="F")), [[5.0, 5, 9, 5, 7, 5]]], 96, 80)
    assert nothing.shapes[0].sum() == 0  # an empty mask and one without an area are no reason to stop
    assert nothing.extents.isfinite().all()


def _runs(mask):
    """COCO's uncompressed counts of a mask, column by column, from the number of zeros before the first one."""
    counts, current = [0], 0
    for value in mask.flatten(order="F").tolist():
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


def test_what_is_no_outline_is_reported(folder):
    good = read_json(folder, "train")
    broken = read_json(folder, "train")
    broken["annotations"][0]["segmentation"] = [[1.0, 2.0, 3.0, 4.0]]
    write_json(folder, "train", broken)
    message = r"train2017/000000000001\.jpg: segmentation of object 1 must be polygons of at least three corners"
    with pytest.raises(DataError, match=message):
        open_small(ranks(1)[0], folder)
    write_json(folder, "train", good)


# --- detections


def test_detection_keeps_the_best_of_overlapping_boxes_of_a_class():
    proposals = torch.tensor([[0.0, 0, 29, 29], [1, 0, 29, 29], [40, 40, 79, 59]])
    scores = torch.tensor([[0.1, 0.9, 0.0], [0.15, 0.8, 0.05], [0.3, 0.04, 0.66]])
    found, confidence, labels = best_of(proposals, scores, torch.zeros(3, 3, 4), (64, 64))
    assert labels.tolist() == [1, 2]  # .8 is the .9 again; neither .04 nor .05 is above .05
    assert confidence.tolist() == pytest.approx([0.9, 0.66])
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 29, 29], [40, 40, 63, 59]]))


# --- schedule and settings


def test_the_rate_rises_from_a_third_and_falls_at_each_step():
    """The reference's scheduler has stepped once before the first iteration, so that one is its number 1."""
    settings = dataclasses.replace(SMALL, opt_base_learning_rate=0.9, opt_learning_rate_warmup_steps=2,
                                   opt_learning_rate_decay_steps=(4, 5))  # fmt: skip
    rates = [train.learning_rate(settings, step) for step in range(6)]
    assert rates == pytest.approx([0.6, 0.9, 0.9, 0.09, 0.009, 0.009])


def test_mlperf_linear_rises_by_the_factor_in_each_step():
    settings = dataclasses.replace(SMALL, opt_base_learning_rate=0.9, opt_learning_rate_warmup_steps=3,
                                   opt_learning_rate_warmup_method="mlperf_linear",
                                   opt_learning_rate_warmup_factor=0.2)  # fmt: skip
    assert [train.learning_rate(settings, step) for step in range(4)] == pytest.approx([0.5, 0.7, 0.9, 0.9])
    with pytest.raises(ValueError, match=r"it must be at most 0\.3, the rate over the steps, not 0\.4"):
        dataclasses.replace(settings, opt_learning_rate_warmup_factor=0.4)


@pytest.mark.parametrize(("batch", "steps"), [(16, (60_000, 80_000)), (48, (20_000, 26_666)), (192, (5000, 6666))])
def test_the_rate_drops_after_as_many_images_whatever_the_batch(batch, steps):
    settings = dataclasses.replace(config.FULL, global_batch_size=batch, opt_base_learning_rate=1.0)
    assert settings.decay_steps == steps
    assert settings.log_values()["opt_learning_rate_decay_steps"] == list(steps)


def test_biases_learn_twice_as_fast_and_do_not_decay():
    optimizer = train.make_optimizer(model.MaskRCNN(SMALL, 3), SMALL)
    set_learning_rate(optimizer, 0.1)
    others, biases = optimizer.param_groups
    assert (others["lr"], others["weight_decay"]) == (0.1, 1e-4)
    assert (biases["lr"], biases["weight_decay"]) == (0.2, 0.0)
    assert all(parameter.dim() == 1 for parameter in biases["params"])


@pytest.mark.parametrize("version", ["v0.5", "v0.6"])
def test_every_tunable_hyperparameter_of_the_round_can_be_set(version):
    (file,) = (REPOSITORY / "operator" / "podium").glob(f"*/{version}.yaml")
    names = yaml.safe_load(file.read_text())["benchmarks"]["maskrcnn"]["tunable"]
    assert "num_image_candidates" in names
    small = dataclasses.replace(BENCHMARK, presets={"small": SMALL})
    request = cli.Request("small", target=None, hyperparameters=dict.fromkeys(names, 1), settings=RunSettings())
    lists = {name: [3, 5] for name in names if name.endswith("_steps") and "decay" in name}
    words = {name: "linear" for name in names if name.endswith("_method")}
    request = dataclasses.replace(request, hyperparameters=request.hyperparameters | lists | words)
    changed = cli.configure(small, request)
    assert changed.num_image_candidates == 1
    assert changed.opt_learning_rate_decay_steps == ((3, 5) if lists else SMALL.opt_learning_rate_decay_steps)
