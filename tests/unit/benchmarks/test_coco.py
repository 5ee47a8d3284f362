"""Photographs in the COCO layout, made-up scenes, and the average precision of what is found in them."""

import dataclasses

import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from tests.unit.benchmarks.coco_folder import read_json, write_folder, write_json
from tests.unit.benchmarks.coco_reference import coco_eval

from podium_benchmarks.core import coco, detection_eval
from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.detection_eval import Detections, average_precision
from podium_benchmarks.core.scenes import make_scenes


def scenes(count, *, held_out=False):
    """Small ones, of three classes that carry the numbers 7, 18 and 90 like COCO's have gaps."""
    made = make_scenes(count, size=96, classes=3, seed=1, held_out=held_out)
    return dataclasses.replace(made, category_ids=(7, 18, 90))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "coco", scenes(6), scenes(4, held_out=True))


def test_scenes_are_the_same_for_the_same_seed_and_their_boxes_hold_their_masks_exactly():
    first, again = scenes(5), scenes(5)
    for photo, same in zip(first.photos, again.photos, strict=True):
        assert torch.equal(photo.image, same.image)
        assert photo.image.shape == (3, 96, 96)
        assert 1 <= len(photo.labels) <= 4
        assert set(photo.labels.tolist()) <= {1, 2, 3}
        for box, mask, area in zip(photo.boxes, photo.segmentations, photo.areas, strict=True):
            left, top, width, height = rle.toBbox(mask)
            assert box.tolist() == [left, top, left + width, top + height]
            assert area == rle.area(mask) > 0
    assert not torch.equal(first.photos[0].image, scenes(1, held_out=True).photos[0].image)


def test_a_folder_gives_back_what_was_written(folder):
    train, val = coco.read_folder(folder, segmentations=True)
    assert (len(train.photos), len(val.photos), train.category_ids) == (6, 4, (7, 18, 90))
    for photo, written in zip(train.photos, scenes(6).photos, strict=True):
        assert torch.equal(photo.boxes, written.boxes)
        assert torch.equal(photo.labels, written.labels)
        assert torch.equal(photo.areas, written.areas)
        assert rle.area(list(photo.segmentations)).tolist() == rle.area(list(written.segmentations)).tolist()
        assert (coco.decode(photo).float() - written.image.float()).abs().mean() < 12  # JPEG


def test_boxes_are_clipped_dropped_and_counted_for_training_only(folder):
    content = read_json(folder, "train")
    content["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [-4, 10, 20, 20]},
        {"id": 2, "image_id": 1, "category_id": 18, "bbox": [10, 10, 0, 20]},
        {"id": 3, "image_id": 2, "category_id": 90, "bbox": [200, 10, 20, 20]},
        {"id": 4, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        {"id": 5, "image_id": 4, "category_id": 7, "bbox": [90, 5, 20, 5]},
    ]
    write_json(folder, "train", content)
    train, _ = coco.read_folder(folder, segmentations=False)
    assert train.photos[0].boxes.tolist() == [[-4, 10, 16, 30], [10, 10, 10, 30]]
    usable, counts = coco.for_training(train, crowds=True)
    assert [photo.boxes.tolist() for photo in usable.photos] == [[[0, 10, 16, 30]], [[1, 2, 4, 6]], [[90, 5, 96, 10]]]
    assert counts == {"boxes_clipped": 2, "boxes_dropped": 2, "crowds_dropped": 0, "photos_without_objects": 3}
    usable, counts = coco.for_training(train, crowds=False)
    assert [photo.id for photo in usable.photos] == [1, 4]
    assert counts == {"boxes_clipped": 2, "boxes_dropped": 2, "crowds_dropped": 1, "photos_without_objects": 4}


def remove_image(folder):
    (folder / "train2017" / "000000000002.jpg").unlink()


def cut_json(folder):
    (folder / "annotations" / "instances_val2017.json").write_text('{"images": [')


def change(part, list_name, **fields):
    """Sets fields of the first entry of a list."""

    def apply(folder):
        content = read_json(folder, part)
        content[list_name][0] |= fields
        write_json(folder, part, content)

    return apply


def keep(part, list_name, predicate):
    """Keeps the entries of a list that `predicate` is true of."""

    def apply(folder):
        content = read_json(folder, part)
        content[list_name] = [entry for entry in content[list_name] if predicate(entry)]
        write_json(folder, part, content)

    return apply


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove_image, r"train2017 lacks 1 of the 6 images that its JSON lists, for example 000000000002\.jpg: add"),
        (cut_json, r"instances_val2017\.json is not JSON: Expecting value"),
        (keep("train", "images", lambda image: image["id"] != 1),
         r"instances_train2017\.json: annotation 1 is of image 1, which is not among the file's images: add the image"),
        (keep("train", "annotations", lambda a: a["category_id"] != 18),
         r"instances_train2017\.json has no object of category 18, which val2017 has: add training examples"),
        (keep("train", "categories", lambda c: c["id"] != 90), r"is of category 90, which is not among the file's"),
        (keep("train", "images", lambda image: False), r"instances_train2017\.json: the list 'images' is empty"),
        (keep("val", "annotations", lambda a: False), r"val2017\.json has no annotation: there is nothing to evaluate"),
        (change("train", "annotations", bbox=[1, 2, 3]), r"annotation 1 has bbox \[1, 2, 3\] and area"),
        (change("train", "annotations", bbox=[1, 2, None, 4], area=2), r"bbox \[1, 2, None, 4\] and area 2; they must"),
        (change("train", "annotations", segmentation="x"), r"annotation 1 has segmentation 'x', which can't be right"),
        (change("train", "images", id=2), r"image id 2 occurs twice; ids must be unique"),
        (change("val", "images", height=0), r"image 1 has height 0, which can't be right"),
        (change("train", "images", file_name=None), r"image 1 has file_name None, which can't be right"),
    ],
)  # fmt: skip
def test_what_can_not_be_trained_on_is_reported_in_one_sentence(folder, spoil, words):
    spoil(folder)
    with pytest.raises(DataError, match=words):
        coco.read_folder(folder, segmentations=True)


def test_different_categories_in_both_parts_are_refused(folder):
    content = read_json(folder, "val")
    content["categories"].append({"id": 91})
    write_json(folder, "val", content)
    with pytest.raises(DataError, match=r"different categories, for example ids \[91\]: both need the same list"):
        coco.read_folder(folder, segmentations=False)


def test_a_training_set_without_any_usable_box_is_refused(folder):
    train = coco.read_part(folder, "train", segmentations=False)
    empty = dataclasses.replace(train, photos=tuple(dataclasses.replace(p, boxes=p.boxes + 500) for p in train.photos))
    with pytest.raises(DataError, match="no training photo has a box within it"):
        coco.for_training(empty, crowds=True)


def test_a_corrupt_or_wrongly_sized_jpeg_is_named(folder):
    photo = coco.read_part(folder, "train", segmentations=False).photos[0]
    with pytest.raises(DataError, match=r"000000000001\.jpg has 96 x 96 pixels, but its annotation says 96 x 95"):
        coco.decode(dataclasses.replace(photo, height=95))
    photo.file.write_bytes(photo.file.read_bytes()[:700])
    with pytest.raises(DataError, match=r"000000000001\.jpg can't be decoded \(.*truncated.*\): replace the file"):
        coco.decode(photo)
    photo.file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"can't be decoded \(cannot identify image file"):
        coco.decode(photo)


def with_every_outline(folder):
    """Polygons, run lengths of both kinds, a crowd, a photo without objects, names of several lengths."""
    content = read_json(folder, "train")
    first, second, third, *others = content["annotations"]
    first["segmentation"] = [[1.5, 2.25, 30.1, 2.0, 30.0, 40.7], [50, 50, 60, 50, 60, 60], [1, 2, 3, 4]]
    second["segmentation"] = {"size": [96, 96], "counts": [5, 7, 96 * 96 - 12]}
    second["iscrowd"] = 1
    content["annotations"] = [a for a in (first, second, third, *others) if a["image_id"] != 4]
    content["images"][4]["file_name"] = "another.name.jpg"
    (folder / "train2017" / "000000000005.jpg").rename(folder / "train2017" / "another.name.jpg")
    content["images"].reverse()
    write_json(folder, "train", content)
    return folder


def test_an_index_holds_what_the_json_says(folder):
    with_every_outline(folder)
    read = coco.read_folder(folder, segmentations=True)
    coco.write_indexes(folder)
    for part in ("train", "val"):  # as long as before, and not JSON any more: it must not be read
        file = folder / "annotations" / f"instances_{part}2017.json"
        file.write_bytes(b"x" * file.stat().st_size)
    mapped = coco.read_folder(folder, segmentations=True)
    assert [len(part.photos) for part in mapped] == [6, 4]
    for before, after in zip(read, mapped, strict=True):
        assert (before.category_ids, before.polygons_dropped) == (after.category_ids, after.polygons_dropped)
        for one, same in zip(before.photos, after.photos, strict=True):
            assert (one.id, one.file, one.height, one.width) == (same.id, same.file, same.height, same.width)
            assert list(one.segmentations) == list(same.segmentations)
            assert len(same.segmentations) == len(same.labels)
            for name in ("boxes", "labels", "areas", "crowd"):
                assert torch.equal(getattr(one, name), getattr(same, name))
    train, val = mapped
    assert train.polygons_dropped == 1
    outlines = [outline for photo in train.photos for outline in photo.segmentations]
    assert outlines[0] == [[1.5, 2.25, 30.1, 2.0, 30.0, 40.7], [50, 50, 60, 50, 60, 60]]
    assert rle.area(outlines[1]) == 7
    assert torch.cat([photo.crowd for photo in train.photos]).tolist()[:3] == [False, True, False]
    assert [len(photo.labels) for photo in train.photos][3] == 0
    assert train.photos[4].file.name == "another.name.jpg"
    assert all(isinstance(outline["counts"], bytes) for photo in val.photos for outline in photo.segmentations)
    assert coco.read_folder(folder, segmentations=False)[0].photos[0].segmentations == ()


def test_polygons_of_the_evaluation_set_are_kept_as_what_pycocotools_makes_of_them(folder):
    content = read_json(folder, "val")
    polygons = [[10.0, 10.0, 50.5, 12.25, 40.0, 70.0], [60.0, 60.0, 70.0, 60.0, 70.0, 80.0]]
    content["annotations"][0]["segmentation"] = polygons
    write_json(folder, "val", content)
    _, val = coco.read_folder(folder, segmentations=True)
    assert val.photos[0].segmentations[0]["counts"] == rle.merge(rle.frPyObjects(polygons, 96, 96))["counts"]


def test_an_index_of_another_json_or_version_is_refused(folder):
    coco.write_indexes(folder)
    file = coco.index_path(folder, "val")
    annotations = folder / "annotations" / "instances_val2017.json"
    annotations.write_text(annotations.read_text() + " ")
    with pytest.raises(DataError, match=r"index_val2017\.pt was not made of this instances_val2017\.json: delete the"):
        coco.check_folder(folder)
    torch.save(
        torch.load(file) | {"version": torch.tensor(0), "json_bytes": torch.tensor(annotations.stat().st_size)}, file
    )
    with pytest.raises(DataError, match="was not made of this"):
        coco.check_folder(folder)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"index_val2017\.pt can't be read \(.*\): delete it"):
        coco.check_folder(folder)
    file.unlink()
    coco.check_folder(folder)


@pytest.mark.parametrize("missing", ["train2017", "val2017", "annotations/instances_val2017.json"])
def test_folders_that_are_no_data_set(folder, missing):
    coco.check_folder(folder)
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(UsageError, match=rf"has no f\w+ {missing}/?; expected DIR/\{{train,val\}}2017/\*\.jpg and"):
        coco.check_folder(folder)
    with pytest.raises(UsageError, match="is not a folder; expected"):
        coco.check_folder(folder / "nowhere")


def test_average_precision_of_perfect_absent_and_half_right_detections():
    truth = scenes(4, held_out=True)
    perfect = [Detections(p.id, p.boxes, torch.full(p.labels.shape, 0.9), p.labels, p.segmentations)
               for p in truth.photos]  # fmt: skip
    found = average_precision(truth, perfect, ("bbox", "segm"))
    assert found == pytest.approx({"bbox": 1.0, "segm": 1.0})
    nothing = [Detections(p.id, torch.zeros(0, 4), torch.zeros(0), torch.zeros(0)) for p in truth.photos]
    assert average_precision(truth, nothing) == {"bbox": 0.0}
    # a box moved by a quarter of its width has an IoU of .75/1.25 = .6: right at the thresholds .50, .55 and .60 only
    moved = [dataclasses.replace(d, boxes=d.boxes + 0.2499 * (d.boxes[:, 2:3] - d.boxes[:, :1]) * torch.tensor([1, 0, 1, 0]))
             for d in perfect]  # fmt: skip
    assert average_precision(truth, moved)["bbox"] == pytest.approx(0.3, abs=1e-6)


def crowded(seed):
    """12 photos with crowds, photos without objects or detections, equal scores, and objects that two detections find.

    Every third photo has more than 100 detections of one class.
    """
    random = np.random.default_rng(seed)
    photos, found = [], []
    for number in range(12):
        count, several = int(random.poisson(3)) * (number % 5 > 0), (40, 0, 150)[number % 3]
        corner = random.uniform(0, 250, (count, 2))
        boxes = np.concatenate([corner, corner + np.exp(random.normal(4, 0.5, (count, 2)))], 1).astype(np.float32)
        labels = random.integers(1, 4, count)
        known = random.integers(0, count, several) if count else np.zeros(several, dtype=np.int64)
        guesses = boxes[known] if count else np.tile(np.float32([5, 5, 60, 60]), (several, 1))
        guesses = guesses + random.normal(0, 8, (several, 4)).astype(np.float32) * np.float32([1, 1, 0, 0])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        guessed = np.where(random.random(several) < 0.8, labels[known], 1) if count else np.ones(several)
        scores = torch.from_numpy(random.integers(1, 20, several) / np.float32(20))
        photos.append(
            coco.Photo(3 * number + 1, None, None, 400, 400, torch.from_numpy(boxes), torch.from_numpy(labels),
                       tuple([_corners(box)] for box in boxes.tolist()), torch.ones(count),
                       torch.from_numpy(random.random(count) < 0.2))
        )  # fmt: skip
        masks = [rle.frPyObjects([_corners(box)], 400, 400)[0] for box in guesses.tolist()]
        found.append(
            Detections(3 * number + 1, torch.from_numpy(guesses), scores, torch.from_numpy(guessed).long(), masks)
        )
    return coco.CocoSet(tuple(photos), (7, 18, 90)), found


def _corners(box):
    left, top, right, bottom = box
    return [left, top, right, top, (left + right) / 2, bottom, left, bottom]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_average_precision_is_pycocotools_s_to_the_last_bit(seed, kind):
    truth, found = crowded(seed)
    wanted = coco_eval(truth, found, kind)
    assert 0.02 < wanted < 0.9
    assert average_precision(truth, found, (kind,)) == {kind: wanted}
    assert average_precision(truth, found[::-1], (kind,)) == {kind: wanted}  # photos in any order


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_average_precision_of_parts_is_that_of_the_whole(kind):
    truth, found = crowded(3)
    pairs = list(zip(truth.photos, found, strict=True))
    parts = [detection_eval.match_photos(part, kind) for part in (pairs[8:], pairs[:3], [], pairs[3:8])]
    assert detection_eval.mean_precision(detection_eval.joined(parts), kind) == coco_eval(truth, found, kind)


def test_average_precision_gives_the_last_of_equally_near_objects():
    thresholds = np.array([0.5, 0.65])
    overlaps = np.array([[0.6, 0.6, 0.9], [0.7, 0.0, 0.8], [0.0, 0.0, 0.6]])
    matched, ignored = detection_eval.match(overlaps, np.array([False, False, True]), thresholds)
    assert matched.tolist() == [[True, True], [True, True], [True, False]]
    assert ignored.tolist() == [[False, True], [False, False], [True, False]]


def test_average_precision_without_anything_to_find():
    truth, found = crowded(1)
    empty = dataclasses.replace(truth, photos=tuple(dataclasses.replace(p, crowd=p.crowd | True) for p in truth.photos))
    assert average_precision(empty, found) == {"bbox": coco_eval(empty, found, "bbox")} == {"bbox": -1.0}


def test_a_photo_evaluated_twice_or_never_is_a_defect():
    truth = scenes(2)
    found = [Detections(p.id, p.boxes, torch.ones(p.labels.shape), p.labels) for p in truth.photos]
    for wrong in (found[:1], [found[0], *found]):
        with pytest.raises(AssertionError, match="every photo is evaluated exactly once"):
            average_precision(truth, wrong)
