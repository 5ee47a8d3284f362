"""Folders and tar shards of images: what is found in them, and what is refused, by name."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.resnet.sources import check_folder, open_both

RANKS = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
OTHER_CLASSES = "name a data set with 2 classes, or, in the open division, add --set num_classes=1"


def jpeg(gray):
    """The bytes of a small image."""
    file = io.BytesIO()
    Image.new("RGB", (12, 10), (gray,) * 3).save(file, "JPEG")
    return file.getvalue()


def write_tar(path, members):
    """An uncompressed tar of (name, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_folder(folder, names):
    """A file of two bytes under each name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"ab")


def shards(folder, train, val=(("a/1.jpg", b"1"), ("b/1.jpg", b"2"))):
    """DIR with one shard in train/ and one in val/."""
    write_tar(folder / "train" / "0.tar", train)
    write_tar(folder / "val" / "0.tar", val)
    return folder


def test_files_are_sorted_by_class_and_name(tmp_path):
    write_folder(tmp_path, ["train/dog/b.jpg", "train/dog/a.JPEG", "train/cat/z.png", "val/cat/1.jpg", "val/dog/1.jpg",
                            "train/cat/.hidden"])  # fmt: skip
    check_folder(tmp_path, 2)
    train, val = open_both(tmp_path, 2, RANKS)
    assert [train.name(i).removeprefix(f"{tmp_path}/train/") for i in range(3)] == [
        "cat/z.png", "dog/a.JPEG", "dog/b.jpg",
    ]  # fmt: skip
    assert (train.labels.tolist(), val.labels.tolist(), train.class_names) == ([0, 1, 1], [0, 1], ("cat", "dog"))
    assert train.read(2) == b"ab"


def test_members_of_shards_are_read_in_place(tmp_path):
    shards(tmp_path, [("b/1.jpg", jpeg(10)), ("a/2.jpg", jpeg(20)), ("./a/" + "long" * 40 + ".jpg", jpeg(30))])
    write_tar(tmp_path / "train" / "1.tar", [("a/9.jpg", jpeg(40)), ("README", b"no image, no class")])
    check_folder(tmp_path, 2)
    train, val = open_both(tmp_path, 2, RANKS)
    assert (train.labels.tolist(), train.class_names) == ([1, 0, 0, 0], ("a", "b"))
    assert [train.read(i) for i in range(4)] == [jpeg(10), jpeg(20), jpeg(30), jpeg(40)]
    assert train.name(3) == f"a/9.jpg in {tmp_path}/train/1.tar"
    assert [val.read(i) for i in range(2)] == [b"1", b"2"]


def test_members_in_pairs_carry_the_number_of_their_class(tmp_path):
    pairs = [("000.cls", b"1\n"), ("000.jpg", jpeg(1)), ("001.jpg", jpeg(2)), ("001.cls", b"0")]
    shards(tmp_path, pairs, val=pairs)
    train, _ = open_both(tmp_path, 3, RANKS)
    assert (train.labels.tolist(), train.class_names) == ([1, 0], ())
    np.testing.assert_array_equal(train.read(1), jpeg(2))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], r"has no folder train/; expected DIR/train/<class>/\*\.jpg and DIR/val/<class>/\*\.jpg, or \.tar files"),
        (["train/a/1.jpg"], "has no folder val/; expected"),
        (["train/a/1.jpg", "val/b/1.jpg"], r"train/ and val/ have different classes, for example \['a', 'b'\]"),
        (["train/a/1.jpg", "val/a/1.jpg"], f"has 1 classes in train/, but num_classes is 2: {OTHER_CLASSES}"),
        (["train/a/1.jpg", "train/b/1.txt", "val/a/1.jpg", "val/b/1.jpg"],
         r"train/b has no image \(\.jpeg, \.jpg, \.png\): fill the class or remove its folders"),
        (["train/0.tar", "val/a/1.jpg"], r"val/ must hold nothing but \.tar files, .* but has class folders"),
        (["train/0.tar", "train/a/1.jpg", "val/0.tar"], r"train/ must hold nothing but \.tar files, .* but has class"),
        (["train/0.tar", "val/README"], r"val/ must hold nothing but \.tar files, as the other .* but has none"),
    ],
)  # fmt: skip
def test_folders_refused_before_the_clock_runs(tmp_path, names, words):
    write_folder(tmp_path, names)
    with pytest.raises(UsageError, match=words):
        check_folder(tmp_path, 2)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ([("1.jpg", b"x")], r"1\.jpg in .*0\.tar has no class: expected <class>/1\.jpg, or 1\.cls"),
        ([("1.cls", b"0")], r"0\.tar holds 1\.cls, but no image of that name"),
        ([("1.jpg", b"x"), ("1.cls", b"cat")], r"1\.cls in .*0\.tar must hold the number of a class, not 'cat'"),
        ([("1.jpg", b"x"), ("1.cls", b"2")], r"1\.jpg in .*0\.tar is of class number 2; expected 0 to 1"),
        ([("1.jpg", b"x"), ("1.cls", b"0"), ("a/2.jpg", b"x"), ("b/2.jpg", b"x")],
         r"1\.jpg in .* is of class number 0; other images have classes by folder"),
        ([("a/1.jpg", b"x"), ("a/1.jpeg", b"x")], r"0\.tar holds a/1 twice: names of members must differ"),
        ([("a/1.jpg", b"x")], f"train: the shards have 1 classes, but num_classes is 2: {OTHER_CLASSES}"),
        ([("a/1.jpg", b"x"), ("c/1.jpg", b"x")], r"train/ and val/ have different classes, for example \['b', 'c'\]"),
        ([("README", b"x")], r"has \.tar files, but no image"),
    ],
)  # fmt: skip
def test_shards_refused(tmp_path, train, words):
    with pytest.raises(DataError, match=words):
        open_both(shards(tmp_path, train), 2, RANKS)


def test_a_shard_cut_short_is_named(tmp_path):
    shards(tmp_path, [("a/1.jpg", bytes(3000)), ("b/1.jpg", bytes(3000))])
    shard = tmp_path / "train" / "0.tar"
    shard.write_bytes(shard.read_bytes()[:5500])
    with pytest.raises(DataError, match=r"train/0\.tar .*: copy the shard again"):
        open_both(tmp_path, 2, RANKS)
    shard.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match=r"train/0\.tar can't be read as an uncompressed tar \(.*\): copy the shard"):
        open_both(tmp_path, 2, RANKS)


def test_a_file_that_is_no_image_is_never_skipped_in_silence(tmp_path):
    write_folder(tmp_path, ["train/a/1.jpg", "train/a/notes.txt", "val/a/1.jpg"])
    with pytest.raises(DataError, match=r"train/a/notes\.txt is not an image \(\.jpeg, \.jpg, \.png\): remove it"):
        open_both(tmp_path, 1, RANKS)


def test_an_image_removed_after_listing_is_named(tmp_path):
    write_folder(tmp_path, ["train/a/1.jpg", "val/a/1.jpg"])
    train, _ = open_both(tmp_path, 1, RANKS)
    (tmp_path / "train/a/1.jpg").unlink()
    with pytest.raises(DataError, match=r"train/a/1\.jpg can't be read \(No such file or directory\): put the file"):
        train.read(0)
