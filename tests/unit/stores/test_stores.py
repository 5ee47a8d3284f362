"""Folders and buckets, and what they say when they fail."""

from __future__ import annotations

import errno
import os

import pytest
from botocore.stub import Stubber

from podium.stores import AlreadyExists, NotFound, StoreRefused, StoreUnavailable, open_store


@pytest.fixture
def store(tmp_path):
    return open_store(f"file://{tmp_path}/results")


def test_put_get_list_delete(store):
    store.put("a/b.txt", b"one")
    store.put("a/b.txt", b"two")
    store.put("c.txt", b"three")
    assert store.get("a/b.txt") == b"two"
    assert store.list() == ["a/b.txt", "c.txt"]
    assert store.list("a/") == ["a/b.txt"]
    assert store.child("a").list() == ["b.txt"]
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert store.list() == ["c.txt"]
    with pytest.raises(NotFound, match="does not exist"):
        store.get("a/b.txt")


def test_a_conditional_put_leaves_what_is_there(store):
    store.put("result.json", b"first", if_absent=True)
    with pytest.raises(AlreadyExists, match=r"result\.json exists already"):
        store.put("result.json", b"second", if_absent=True)
    assert store.get("result.json") == b"first"
    assert store.list() == ["result.json"]  # and no temporary file


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", ""])
def test_no_key_leaves_the_folder(store, key):
    with pytest.raises(ValueError, match="leaves the store"):
        store.put(key, b"")


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (errno.ENOSPC, StoreUnavailable, "the disk is full; it is tried again"),
        (errno.EDQUOT, StoreUnavailable, "the quota is used up; it is tried again"),
        (errno.EROFS, StoreRefused, "the file system is read-only; choose a folder that can be written to"),
        (errno.EACCES, StoreRefused, "permission denied; choose a folder that can be written to"),
    ],
)
def test_a_failing_disk_is_told_and_leaves_nothing_half_written(store, monkeypatch, code, kind, sentence):
    store.put("kept", b"before")

    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=sentence):
        store.put("kept", b"after")
    monkeypatch.undo()
    assert store.get("kept") == b"before"
    assert store.list() == ["kept"]


@pytest.mark.parametrize("url", ["ftp://x/y", "s3://", "", "gs://bucket"])
def test_an_unknown_url_is_refused(url):
    with pytest.raises(StoreRefused, match="use s3://bucket/prefix or file:///folder"):
        open_store(url)


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return open_store("s3://results/podium", endpoint_url="http://127.0.0.1:9", region="us-east-1")


@pytest.mark.parametrize(
    ("code", "status", "kind", "sentence"),
    [
        ("NoSuchBucket", 404, StoreRefused, "s3://results/podium: there is no such bucket; create it"),
        ("AccessDenied", 403, StoreRefused, "access denied; the credentials need s3:GetObject, PutObject"),
        ("PreconditionFailed", 412, AlreadyExists, "s3://results/podium/k exists already"),
        ("SlowDown", 503, StoreUnavailable, "SlowDown: .*; it is tried again"),
        ("InternalError", 500, StoreUnavailable, "it is tried again"),
        ("EntityTooLarge", 400, StoreRefused, "EntityTooLarge"),
    ],
)
def test_what_a_bucket_answers_becomes_a_sentence(bucket, code, status, kind, sentence):
    with Stubber(bucket._client) as stub:
        stub.add_client_error("put_object", code, "so it is", status)
        with pytest.raises(kind, match=sentence):
            bucket.put("k", b"")


def test_an_endpoint_that_does_not_answer_is_unavailable(bucket, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreUnavailable, match="Could not connect to the endpoint URL"):
        bucket.put("k", b"")


def test_without_credentials_the_remedy_is_named(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store("s3://results", endpoint_url="http://127.0.0.1:9", region="us-east-1")
    with pytest.raises(StoreRefused, match="no credentials; set AWS_ACCESS_KEY_ID"):
        store.put("k", b"")
