"""A folder as a store."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.stores import AlreadyExists, FileStore, NotFound, StoreRefused, StoreUnavailable, open_store, url_examples


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


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_many_only_one_puts_if_absent(store: FileStore, monkeypatch: pytest.MonkeyPatch, hard_links: bool) -> None:
    def no_hard_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not hard_links:
        monkeypatch.setattr(os, "link", no_hard_links)

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
