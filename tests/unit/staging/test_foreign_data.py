"""A data set that its owner changes while it is copied, and a target that others write to."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from podium.staging import FolderSource, StageError, journal, stage
from podium.stores import beneath
from tests.unit.stores.test_foreign_folders import SECRET, swapping

FILES = {"train/a/1.jpg": b"one", "train/b/2.jpg": b"two", "labels.txt": b"a b"}


@pytest.fixture(params=["openat2", "part by part"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "part by part":
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """What this container sees and the owner of the data set does not."""
    (tmp_path / "token").mkdir()
    (tmp_path / "token/1.jpg").write_bytes(SECRET)
    return tmp_path / "token/1.jpg"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def copy(source: Path, target: Path) -> None:
    stage(FolderSource(source), target, workers=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folders", [False, True], ids=["file", "folder"])
def test_no_byte_of_a_secret_in_two_thousand_fetches(source: Path, secret: Path, tmp_path: Path, folders: bool) -> None:
    """The file, or its folder, is swapped for a link to a secret between any two system calls."""
    data = FolderSource(source)
    (item,) = (item for item in data.items() if item.key == "train/a/1.jpg")
    swapped = source / "train/a" if folders else source / "train/a/1.jpg"
    fetched, refused, deadline = 0, 0, time.monotonic() + 15
    with swapping(swapped, secret.parent if folders else secret, folders=folders):
        while fetched + refused < 2000 or (not (fetched and refused) and time.monotonic() < deadline):
            with (tmp_path / "part").open("w+b") as part:
                try:
                    data.fetch(item, part, lambda _: None)
                    fetched += 1
                except StageError:
                    refused += 1
            assert (tmp_path / "part").read_bytes() in (b"", b"one")
            with contextlib.suppress(StageError):
                assert data.read("train/a/1.jpg") == b"one"
    assert (fetched > 0, refused > 0) == (True, True), "both were met"


@pytest.mark.parametrize("folders", [False, True], ids=["file", "folder"])
def test_no_byte_of_a_secret_in_whole_copies(source: Path, target: Path, secret: Path, folders: bool) -> None:
    swapped = source / "train/a" if folders else source / "train/a/1.jpg"
    with swapping(swapped, secret.parent if folders else secret, folders=folders):
        for _ in range(40):
            with contextlib.suppress(StageError):
                copy(source, target)
            assert SECRET not in contents(target).values()


def test_a_file_that_changes_meanwhile_is_not_recorded_as_what_was_listed(source: Path, target: Path) -> None:
    class Changing(FolderSource):
        def fetch(self, item, file, progress):
            (source / item.key).write_bytes(b"x" * item.size)
            os.utime(source / item.key, ns=(1, 1))
            super().fetch(item, file, progress)

    with pytest.raises(StageError, match=r"changed while it was copied; stage it again"):
        stage(Changing(source), target, workers=1)


def test_a_list_without_end_is_refused(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium.staging.source._MAX_LIST_BYTES", 1 << 20)
    with (source / "SHA256SUMS").open("wb") as sums:
        sums.truncate(8 << 30)  # sparse: it takes no room
    with pytest.raises(StageError, match=r"SHA256SUMS is larger than 1 MiB; it should list files, one per line"):
        copy(source, target)


PLANTED = {
    "a folder of the copy": ("train", "."),
    "a file of the copy": ("labels.txt", "victim"),
    "the records": (".podium-stage", "."),
    "the lock": (".podium-stage/lock", "victim"),
    "the lock, which would be made": (".podium-stage/lock", "missing"),
    "the parts": (".podium-stage/parts", "."),
    "what is verified": (".podium-stage/verified.jsonl", "victim"),
    "its next version": (".podium-stage/verified.new", "victim"),
    "what is recent": (".podium-stage/RECENT", "victim"),
}


@pytest.mark.parametrize("how", ["link", "hard link"])
@pytest.mark.parametrize("place", PLANTED)
def test_nothing_is_written_or_removed_through_what_others_planted(
    source: Path, target: Path, tmp_path: Path, place: str, how: str
) -> None:
    """Whatever the copy does about it: the files that the links name stay."""
    name, victim = PLANTED[place]
    (tmp_path / "victims/a").mkdir(parents=True)
    (tmp_path / "victims/victim").write_bytes(SECRET)
    (tmp_path / "victims/a/1.jpg").write_bytes(SECRET)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    planted = target / name.replace("RECENT", f"recent-{boot}.jsonl")
    planted.parent.mkdir(exist_ok=True)
    if how == "link":
        planted.symlink_to(tmp_path / "victims" / victim)
    elif victim != "victim":
        pytest.skip("only files have hard links")
    else:
        os.link(tmp_path / "victims/victim", planted)
    before = contents(tmp_path / "victims")
    with contextlib.suppress(StageError):
        copy(source, target)
    assert contents(tmp_path / "victims") == before
    assert sorted(path.name for path in (tmp_path / "victims").rglob("*")) == ["1.jpg", "a", "victim"]
    if place == "a file of the copy":
        assert contents(target)["labels.txt"] == b"a b"


@pytest.mark.parametrize("key", ["../victim", "/etc/hostname", "train/../../victim", 5, None, "", "a\0b"])
def test_records_name_no_file_outside(source: Path, target: Path, tmp_path: Path, key: object) -> None:
    """What is recorded and no longer in the source is removed."""
    (tmp_path / "victim").write_bytes(SECRET)
    copy(source, target)
    with (target / journal.FOLDER / "verified.jsonl").open("a") as records:
        records.write(json.dumps([key, "tag", 1, 1, "size"]) + "\n")
    copy(source, target)
    assert (tmp_path / "victim").read_bytes() == SECRET


def test_a_link_in_the_target_is_not_taken_for_a_copy(source: Path, target: Path, tmp_path: Path) -> None:
    copy(source, target)
    (target / "labels.txt").rename(tmp_path / "moved")
    (target / "labels.txt").symlink_to("abc")  # as long as the file, and of its time
    changed = (tmp_path / "moved").stat().st_mtime_ns
    os.utime(target / "labels.txt", ns=(changed, changed), follow_symlinks=False)
    copy(source, target)
    assert not (target / "labels.txt").is_symlink()
    (target / "extra").symlink_to("/etc")
    with pytest.raises(StageError, match="extra is not part of the data set"):
        copy(source, target)


@pytest.mark.timeout(20)
def test_a_pipe_in_the_target_blocks_nothing(source: Path, target: Path) -> None:
    copy(source, target)
    for name in ("lock", "verified.jsonl"):
        (target / journal.FOLDER / name).unlink()
        os.mkfifo(target / journal.FOLDER / name)
        with pytest.raises(StageError, match=f"{name}: "):
            copy(source, target)
        (target / journal.FOLDER / name).unlink()
