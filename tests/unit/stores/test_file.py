"""A folder as a store."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from podium.stores import AlreadyExists, FileStore, NotFound, StoreRefused, StoreUnavailable, open_store, url_examples
from podium.stores.beneath import OpenFolder


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "results")


def test_what_is_put_can_be_read_listed_and_deleted(store: FileStore) -> None:
    store.put("lab/run/result.json", b"{}")
    store.put("lab/run/attempts/001/result.txt", b"log")
    store.put("lab/run/result.json", b"{ }")
    assert store.get("lab/run/result.json") == b"{ }"
    assert store.list() == ["lab/run/attempts/001/result.txt", "lab/run/result.json"]
    assert store.list("lab/run/att") == ["lab/run/attempts/001/result.txt"]
    store.delete("lab/run/result.json")
    store.delete("lab/run/result.json")
    with pytest.raises(NotFound, match=r"lab/run/result\.json does not exist"):
        store.get("lab/run/result.json")


def test_a_child_is_the_store_below(store: FileStore) -> None:
    below = store.child("lab/run")
    below.put("result.json", b"1")
    assert store.get("lab/run/result.json") == b"1"
    assert below.url == f"{store.url}/lab/run"
    assert below.list() == ["result.json"]


def test_an_empty_store_has_no_keys(store: FileStore) -> None:
    assert store.list() == []


def test_if_absent_keeps_what_is_there(store: FileStore) -> None:
    store.put("result.json", b"first", if_absent=True)
    with pytest.raises(AlreadyExists, match="already exists"):
        store.put("result.json", b"second", if_absent=True)
    assert store.get("result.json") == b"first"


def cannot(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], None]:
    """A file system that lacks some calls, as a FAT or a bucket that is mounted does."""

    def lack(calls: Sequence[str]) -> None:
        if "link" in calls:
            monkeypatch.setattr(os, "link", cannot(errno.EPERM))
        if "rename" in calls:
            monkeypatch.setattr(OpenFolder, "rename_new", cannot(errno.EINVAL))

    return lack


@pytest.mark.parametrize("lacking", [(), ("link",), ("link", "rename")], ids=str)
def test_of_many_only_one_puts_if_absent(store: FileStore, without: Callable[..., None], lacking: tuple[str]) -> None:
    without(lacking)

    def put(number: int) -> bool:
        try:
            store.put("a/result.json", str(number).encode() * 10_000, if_absent=True)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, first in enumerate(pool.map(put, range(10, 50)), start=10) if first]
    assert len(won) == 1
    assert store.get("a/result.json") == str(won[0]).encode() * 10_000
    assert store.list() == ["a/result.json"]


@pytest.mark.parametrize("key", ["", ".", "/etc/passwd", "../x", "a/../../x", "a/..", "a\0b"])
def test_a_key_cannot_leave_the_store(store: FileStore, key: str) -> None:
    for call in (store.get, store.delete, store.child, lambda key: store.put(key, b"")):
        with pytest.raises(ValueError, match="leaves the store; keys are relative paths without"):
            call(key)


FAILURES = {
    errno.ENOSPC: (StoreUnavailable, "the disk is full; free some space"),
    errno.EDQUOT: (StoreUnavailable, "the quota is used up; free some space"),
    errno.EIO: (StoreUnavailable, "the disk reports an I/O error; check the disk"),
    errno.ESTALE: (StoreUnavailable, "a retry may help"),
    errno.EROFS: (StoreRefused, "the file system is read-only; choose a writable folder"),
    errno.EACCES: (StoreRefused, "permission denied; choose a writable folder"),
    errno.ENAMETOOLONG: (StoreRefused, "the name is too long"),
}


@pytest.mark.parametrize("code", FAILURES, ids=errno.errorcode.get)
def test_failures(store: FileStore, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    store.put("result.json", b"old")
    kind, words = FAILURES[code]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(kind, match=words):
            store.put("result.json", b"new")
    assert store.get("result.json") == b"old"
    assert [path.name for path in store.folder.iterdir()] == ["result.json"], "no temporary file is left"


def test_a_file_where_a_folder_should_be_is_not_taken_for_the_object(store: FileStore) -> None:
    store.put("run", b"a file")
    for key in ("run/result.json", "run/attempts/result.json"):
        with pytest.raises(StoreRefused, match="part of the path is a file"):
            store.put(key, b"", if_absent=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreRefused, match="permission denied"):
        FileStore(tmp_path).check()


def test_check_leaves_nothing(store: FileStore) -> None:
    store.check()
    assert store.list() == []


def test_what_the_store_itself_needs_is_not_listed(store: FileStore) -> None:
    for key in ("run/.podium-claim-result.json.1", "run/result.json", ".podium-probe-1"):
        store.put(key, b"")
    assert store.list() == store.list("run/") == ["run/result.json"]
    assert store.list("run/.podium-claim-") == ["run/.podium-claim-result.json.1"]


@pytest.mark.parametrize("prefix", ["file/", "link/", "missing/x", "../", "run//", "/run/", "./run/"])
def test_no_key_begins_with_what_is_no_folder(store: FileStore, prefix: str) -> None:
    store.put("run/result.json", b"")
    store.put("file", b"")
    (store.folder / "link").symlink_to("run")
    assert store.list(prefix) == []
    assert store.list("run/r") == ["run/result.json"]


def test_check_says_what_a_folder_can_do(store: FileStore) -> None:
    assert str(store.check()) == f"{store.url}: put, get, list, delete, conditional put: yes"


def test_a_link_that_nfs_made_and_reports_as_taken_is_ours(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the first request was lost, so the client repeated it."""
    link = os.link

    def twice(*names: str, **more: Any) -> None:
        link(*names, **more)
        link(*names, **more)

    monkeypatch.setattr(os, "link", twice)
    store.put("result.json", b"1", if_absent=True)
    assert store.get("result.json") == b"1"
    with pytest.raises(AlreadyExists):
        store.put("result.json", b"2", if_absent=True)


def test_a_claim_that_a_crash_left_counts_as_absent_after_a_minute(
    store: FileStore, without: Callable[..., None]
) -> None:
    without(("link", "rename"))
    store.put("result.json", b"")
    with pytest.raises(AlreadyExists):
        store.put("result.json", b"1", if_absent=True)
    os.utime(store.folder / "result.json", (0, time.time() - 61))
    store.put("result.json", b"1", if_absent=True)
    os.utime(store.folder / "result.json", (0, 0))
    with pytest.raises(AlreadyExists):
        store.put("result.json", b"2", if_absent=True)
    assert store.get("result.json") == b"1"


@pytest.fixture
def synced(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced from now on, below the store's folder."""
    store.put("other", b"")
    synced: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), store.folder))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    return synced


def test_a_put_is_on_disk_with_its_name_and_the_names_of_its_new_folders(store: FileStore, synced: list[str]) -> None:
    store.put("run/attempts/result.txt", b"log")
    file = synced.pop(2)
    assert file.startswith("run/attempts/.podium-tmp-")
    assert synced == [".", "run", "run/attempts"], "each folder that got a name, and the file's folder last"


def test_together_each_folder_is_synced_once_at_the_end(store: FileStore, synced: list[str]) -> None:
    with store.child("run").together() as run:
        run.put("a", b"1")
        run.put("a", b"2")
        with pytest.raises(AlreadyExists):
            run.put("a", b"3", if_absent=True)
        run.child("attempts").put("b", b"4", if_absent=True)
        assert (run.get("a"), run.list(), store.get("run/attempts/b")) == (b"2", ["a", "attempts/b"], b"4")
        at_once = [path for path in synced if ".podium-tmp-" not in path]
        assert at_once == [".", "run"], "each folder that got a new folder"
        assert len(synced) == 6, "these two, and each file before it got its name"
        run.delete("attempts/b")
        run.put("attempts/c", b"5")
    assert synced[-2:] == ["run", "run/attempts"]
    assert len(synced) == 10, "a folder that was created again, another file, and the two folders"
    assert store.list("run/") == ["run/a", "run/attempts/c"]


def test_what_failed_together_is_not_acknowledged(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("other", b"")

    def fail(_: OpenFolder) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(OpenFolder, "sync", fail)
    with pytest.raises(StoreUnavailable, match="the disk reports an I/O error"), store.together() as together:
        together.put("a", b"1")


def test_a_folder_that_goes_while_files_are_put_together(store: FileStore) -> None:
    with store.together() as together:
        together.put("run/a", b"1")
        store.delete("run/a")
        with pytest.raises(StoreUnavailable, match="a retry may help"):
            together.put("run/b", b"2")
        together.put("run/b", b"2")
    assert store.list() == ["run/b"]


def test_a_listing_opens_no_folder_without_such_keys(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("run/attempts/001/result.txt", "run/attempts-a", "run/a/b/c", "run/b/c"):
        store.put(key, b"")
    opened: list[str] = []
    below = OpenFolder.below

    def recording(folder: OpenFolder, key: str = "", **more: bool) -> OpenFolder:
        opened.append(str((folder.path / key).relative_to(store.folder)))
        return below(folder, key, **more)

    monkeypatch.setattr(OpenFolder, "below", recording)
    assert store.child("run").list("attempts") == ["attempts-a", "attempts/001/result.txt"]
    assert {"run/a", "run/b"}.isdisjoint(opened)
    assert store.list("run/a/b/") == ["run/a/b/c"]


@pytest.mark.parametrize(("code", "fails"), [(errno.EIO, True), (errno.EINVAL, False), (errno.ENOTSUP, False)])
def test_a_folder_that_cannot_be_synced(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, code: int, fails: bool
) -> None:
    """Some file systems have no such call; where the call fails, nothing is acknowledged."""
    store.put("other", b"")
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreUnavailable) if fails else contextlib.nullcontext():
        store.put("result.json", b"1")


class Full(io.BytesIO):
    """The disk is full after some bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 1 << 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().read(size)


def test_a_file_is_stored_whole_or_not_at_all(store: FileStore) -> None:
    data = os.urandom(3_000_000)
    file = io.BytesIO(data)
    file.seek(100)  # where whoever has written it stands
    store.put_file("pod.log.gz", file)
    assert store.get("pod.log.gz") == data
    with pytest.raises(StoreUnavailable, match="the disk is full; free some space"):
        store.put_file("pod.log.gz", Full(bytes(3_000_000)))
    assert store.get("pod.log.gz") == data
    assert [path.name for path in store.folder.iterdir()] == ["pod.log.gz"], "no part of a file is left"


URLS = {
    "file:///tmp/a%20b": "file:///tmp/a%20b",
    "file://localhost/tmp/x": "file:///tmp/x",
    "/tmp/x": "file:///tmp/x",
    "results": f"file://{Path.cwd()}/results",
    "s3://bucket": "s3://bucket",
    "s3://bucket/a/b/": "s3://bucket/a/b",
}


@pytest.mark.parametrize("url", URLS)
def test_open_store(url: str) -> None:
    assert open_store(url).url == URLS[url]


@pytest.mark.parametrize("url", ["", "s3://", "s3:///prefix", "moon://bucket", "file://host/path", "http://x/y"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(StoreRefused) as refused:
        open_store(url)
    assert str(refused.value) == f"{url!r} is not a supported results URL; use {url_examples()}"


def test_chunks_are_the_object_in_pieces(store: FileStore) -> None:
    data = bytes(range(256)) * 10_000  # 2.5 MB
    store.put("a", data)
    pieces = list(store.chunks("a"))
    assert len(pieces) == 3
    assert b"".join(pieces) == data
    with pytest.raises(NotFound):
        next(store.chunks("b"))
