"""Copying a data set from a folder, as from a volume claim. tests/api/test_stage_s3.py has a bucket."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

import pytest
from botocore.stub import Stubber

from podium.staging import BucketSource, FolderSource, StageError, StageInterrupted, open_source, stage
from podium.staging.checks import Check, parse_sums
from podium.stores import StoreUnavailable
from podium.stores.s3 import S3Store
from podium.stores.s3_client import Access

FILES = {"train/a/1.jpg": b"one", "train/b/2.jpg": b"two" * 1000, "val/a/3.jpg": b"", "labels.txt": b"a b"}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


def present(folder: Path) -> dict[str, bytes]:
    """The files that a trainer sees."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".podium-stage" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", FILES)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "data"


def copy(source: Path, target: Path, **options):
    return stage(FolderSource(source), target, workers=3, **options)


def test_every_file_is_copied_and_a_second_time_none(source, target):
    first = copy(source, target)
    assert present(target) == FILES
    assert (first.files, first.copied_files, first.checked) == (4, 4, {"size": 4})
    assert first.bytes == first.copied_bytes == sum(map(len, FILES.values()))
    assert not (target / ".podium-stage/parts").exists()
    again = copy(source, target)
    assert (again.files, again.copied_files, again.copied_bytes) == (4, 0, 0)


def test_sums_are_what_files_are_compared_with(source, target):
    (source / "SHA256SUMS").write_bytes(sums({k: v for k, v in FILES.items() if k != "labels.txt"}))
    assert copy(source, target).checked == {"SHA256SUMS": 3, "size": 2}
    assert present(target).keys() == {*FILES, "SHA256SUMS"}


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda source: (source / "train/a/1.jpg").write_bytes(b"ONE"), r"train/a/1\.jpg is corrupt: expected .* \(SHA256SUMS\), found"),
    (lambda source: (source / "val/a/3.jpg").unlink(), r"lacks val/a/3\.jpg, which its SHA256SUMS lists"),
    (lambda source: (source / "SHA256SUMS").write_text("0123  x\n"), "SHA256SUMS, line 1: expected a SHA-256 and a path"),
    (lambda source: (source / "train/secret").symlink_to("/proc/self/environ"), "is a link to /proc/self/environ, outside the data set"),
    (lambda source: (source / "train/c").symlink_to(source / "train/a"), "is a link to a folder"),
    (lambda source: (source / "train/c").symlink_to(source), "is a link to a folder"),
    (lambda source: os.mkfifo(source / "pipe"), "pipe is neither a file nor a folder"),
    (lambda source: (shutil.rmtree(source), source.mkdir()), "has no files; check bucket, prefix and permissions"),
    (lambda source: write(source, {".podium-stage/x": b""}), "a copy keeps its records in"),
])  # fmt: skip
def test_what_is_wrong_in_the_source_is_named(source, target, change, sentence):
    (source / "SHA256SUMS").write_bytes(sums(FILES))
    change(source)
    with pytest.raises(StageError, match=sentence):
        copy(source, target)
    assert "train/secret" not in present(target)


def test_a_link_within_the_data_set_is_a_file(source, target):
    (source / "train/b/link.jpg").symlink_to("2.jpg")
    copy(source, target)
    assert present(target) == FILES | {"train/b/link.jpg": FILES["train/b/2.jpg"]}
    assert not (target / "train/b/link.jpg").is_symlink()


def test_only_what_changed_is_copied_again(source, target):
    copy(source, target)
    write(source, {"train/b/2.jpg": b"new", "train/c/4.jpg": b"four"})
    (source / "train/a/1.jpg").unlink()
    outcome = copy(source, target)
    assert outcome.copied_files == 2
    wanted = {k: v for k, v in FILES.items() if k != "train/a/1.jpg"} | {
        "train/b/2.jpg": b"new",
        "train/c/4.jpg": b"four",
    }
    assert present(target) == wanted
    assert not (target / "train/a").exists(), "an empty folder would be a class"


def test_a_copy_that_somebody_changed_is_replaced(source, target):
    copy(source, target)
    (target / "labels.txt").write_bytes(b"b a")
    assert copy(source, target).copied_files == 1
    assert present(target) == FILES


def test_files_that_nobody_copied_are_left_alone(source, target):
    write(target, {"thesis.tex": b"mine"})
    with pytest.raises(StageError, match=r"thesis\.tex is not part of the data set; choose an empty folder"):
        copy(source, target)
    assert present(target) == {"thesis.tex": b"mine"}


def test_a_file_without_a_record_is_read_rather_than_copied(source, target):
    """It was given its name, and then the process was killed."""
    (source / "SHA256SUMS").write_bytes(sums(FILES))
    write(target, {"train/b/2.jpg": FILES["train/b/2.jpg"], "labels.txt": b"bad"})
    before = (target / "train/b/2.jpg").stat().st_ino
    copy(source, target)
    assert present(target) == FILES | {"SHA256SUMS": sums(FILES)}
    assert (target / "train/b/2.jpg").stat().st_ino == before


def test_after_a_crash_of_the_node_recent_copies_are_not_trusted(source, target):
    (source / "SHA256SUMS").write_bytes(sums(FILES))
    copy(source, target)
    records = target / ".podium-stage"
    (records / "verified.jsonl").rename(records / "recent-another-boot.jsonl")
    status = (target / "train/b/2.jpg").stat()
    (target / "train/b/2.jpg").write_bytes(bytes(status.st_size))  # as a file system may leave it
    os.utime(target / "train/b/2.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    copy(source, target)
    assert present(target) == FILES | {"SHA256SUMS": sums(FILES)}


def test_too_little_room_is_reported_before_the_first_byte(source, target, monkeypatch):
    with pytest.raises(
        StageError,
        match=r"has 3\.0 kB, but .* is limited to 1\.0 kB; ask the administrator for a larger trainer\.stage\.volume",
    ):
        copy(source, target, limit=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2, 1, 1))
    with pytest.raises(StageError, match=r"has 1 B free, but 67\.1 MB of .* still have to be copied"):
        copy(source, target)
    assert present(target) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own needs root")
def test_a_disk_that_fills_up_meanwhile(source, target, monkeypatch):
    import subprocess

    write(source, {"big": bytes(2 << 20)})
    target.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "podium-test", target], check=True)
    try:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
        with pytest.raises(
            StageError, match=r"the disk is full; free some space, or give trainer\.stage\.volume a larger disk"
        ):
            copy(source, target)
    finally:
        subprocess.run(["umount", target], check=True)


class Flaky(FolderSource):
    """Out of reach for the first so many fetches, or for good."""

    def __init__(self, folder: Path, failures: float) -> None:
        super().__init__(folder)
        self.failures = failures

    def fetch(self, item, file, progress):
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("no route to host; a retry may help")
        super().fetch(item, file, progress)


def test_an_outage_is_waited_for(source, target):
    stage(Flaky(source, failures=2), target, workers=1, patience=30)
    assert present(target) == FILES


def test_but_not_for_ever(source, target):
    with pytest.raises(StageInterrupted, match=r"no route to host; a retry may help; gave up after \d s"):
        stage(Flaky(source, failures=float("inf")), target, workers=2, patience=1)


@pytest.mark.parametrize(("keys", "sentence"), [
    (["a//b"], "a//b: this key is not a valid file path; rename the object"),
    (["a/../../etc/passwd"], r"a/\.\./\.\./etc/passwd: this key is not a valid file path"),
    (["a", "a/b"], "a is an object and also a folder of objects"),
])  # fmt: skip
def test_keys_that_cannot_be_files(keys, sentence, target, monkeypatch):
    """versitygw keeps objects as files and has no such keys."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = S3Store("bucket", "x", access=Access(region="us-east-1"))
    with Stubber(store._client) as stubber:
        stubber.add_response(
            "list_objects_v2", {"Contents": [{"Key": f"x/{key}", "Size": 1, "ETag": '"e"'} for key in keys]}
        )
        with pytest.raises(StageError, match=sentence):
            stage(BucketSource(store), target, workers=1)


def test_reading_needs_no_right_to_write(target, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    source = open_source("s3://bucket/x", endpoint_url=None, region="us-east-1", workers=2)
    with Stubber(source._store._client) as stubber:
        stubber.add_client_error("list_objects_v2", "AccessDenied", "no", 403)
        with pytest.raises(StageError, match=r"access denied; the credentials need s3:GetObject and ListBucket$"):
            stage(source, target, workers=1)


def test_an_upload_in_parts_is_compared_part_by_part():
    data = os.urandom(5000)
    parts = [hashlib.md5(data[at : at + 2000]).digest() for at in range(0, 5000, 2000)]
    etag = hashlib.md5(b"".join(parts)).hexdigest() + "-3"
    assert Check("md5", etag, "ETag", part_bytes=2000).of_file(io.BytesIO(data)) == etag
    assert Check("md5", etag, "ETag", part_bytes=2500).of_file(io.BytesIO(data)) != etag


def test_sums_of_every_spelling():
    digest = "0123456789abcdef" * 4
    assert parse_sums(f"{digest}  a b\n{digest.upper()} *./c\n", "x") == {"a b": digest, "c": digest}
