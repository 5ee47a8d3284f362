"""The bucket store against a real S3 server: versitygw on a folder."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.stores import AlreadyExists, NotFound, StoreRefused, StoreUnavailable, open_store
from podium.stores.s3 import PART_BYTES, S3Store
from podium.stores.s3_client import Access
from tests.cluster.fixtures import needed_parts
from tests.cluster.parts import REGION, S3


@pytest.fixture
def store(server: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> S3Store:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    url = f"{server.bucket('results')}/{request.node.name}"
    opened = open_store(url, endpoint_url=server.endpoint, region=REGION)
    assert isinstance(opened, S3Store)
    return opened


def test_what_is_put_can_be_read_listed_and_deleted(store: S3Store) -> None:
    store.check()
    assert store.list() == []
    store.put("lab/run/result.json", b"{}", content_type="application/json")
    store.put("lab/run/result.json", b"{ }", content_type="application/json")
    store.put("lab/run/attempts/001/result.txt", b"")
    assert store.get("lab/run/result.json") == b"{ }"
    assert store.get("lab/run/attempts/001/result.txt") == b""
    assert store.list() == ["lab/run/attempts/001/result.txt", "lab/run/result.json"]
    assert store.child("lab/run").list("attempts/") == ["attempts/001/result.txt"]
    assert store.child("lab").child("run").get("result.json") == b"{ }"
    store.delete("lab/run/result.json")
    store.delete("lab/run/result.json")
    with pytest.raises(NotFound, match=r"lab/run/result\.json does not exist"):
        store.get("lab/run/result.json")


def test_more_keys_than_a_page_holds(store: S3Store) -> None:
    keys = [f"{number:04d}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert store.list() == keys


def test_the_authorities_are_read_once(
    store: S3Store, server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And not again by each new connection, while other threads use them: OpenSSL crashes on that."""
    authorities = tmp_path / "ca.crt"
    authorities.write_bytes(server.ca.read_bytes())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities))
    store.put("first", b"")
    authorities.unlink()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"{number}", b""), range(32)))
    assert len(store.list()) == 33


def test_of_many_only_one_puts_if_absent(store: S3Store) -> None:
    def put(number: int) -> bool:
        try:
            store.put("result.json", str(number).encode(), if_absent=True)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        won = [number for number, first in enumerate(pool.map(put, range(20))) if first]
    assert len(won) == 1
    assert store.get("result.json") == str(won[0]).encode()


def test_sixteen_mebibytes(store: S3Store) -> None:
    data = os.urandom(16 << 20)
    store.put("logs.tar.gz", data, if_absent=True)
    assert store.get("logs.tar.gz") == data


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, PART_BYTES + 1])
def test_a_file_is_stored_in_parts(store: S3Store, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "log").write_bytes(data)
    with (tmp_path / "log").open("rb") as file:
        file.seek(size)  # where whoever has written it stands
        store.put_file("pod.log.gz", file, content_type="application/gzip")
    assert store.get("pod.log.gz") == data
    assert store.list() == ["pod.log.gz"]
    head = store._client.head_object(Bucket="results", Key=store._key("pod.log.gz"))
    assert head["ContentType"] == "application/gzip"
    assert ("-" in head["ETag"]) is (size > PART_BYTES)
    store.delete("pod.log.gz")  # the server's disk is small


def test_what_the_real_server_can_do(server: S3, store: S3Store) -> None:
    assert server.endpoint.startswith("https://")
    assert str(store.check()) == f"{store.url}: put, get, list, delete, conditional put: yes; checksums: header"
    store.put("a", b"content")
    facts = store.facts("a")
    assert facts.sha256 == hashlib.sha256(b"content").hexdigest(), "the server has verified and kept the checksum"


def test_a_bucket_that_does_not_exist(server: S3, store: S3Store) -> None:
    elsewhere = S3Store("elsewhere", access=Access(server.endpoint, REGION))
    for call in (elsewhere.check, elsewhere.list, lambda: elsewhere.get("a")):
        with pytest.raises(StoreRefused, match="s3://elsewhere: there is no such bucket; create it"):
            call()


@pytest.mark.parametrize(("name", "words"), [
    ("AWS_ACCESS_KEY_ID", "the access key is not known; check the credentials"),
    ("AWS_SECRET_ACCESS_KEY", "the secret key is wrong; check the credentials"),
])  # fmt: skip
def test_wrong_credentials(store: S3Store, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.setenv(name, "wrong")
    with pytest.raises(StoreRefused, match=words):
        store.check()


def test_an_outage_ends(server: S3, store: S3Store) -> None:
    store.put("before", b"1")
    server.stop()
    try:
        with pytest.raises(StoreUnavailable, match=r"Could not connect to the endpoint URL.*; a retry may help"):
            store.put("during", b"2")
    finally:
        server.start()
    store.put("during", b"2")
    assert store.list() == ["before", "during"]


def test_a_read_only_store_needs_a_person(server: S3, store: S3Store) -> None:
    store.put("before", b"1")
    with server.read_only():
        with pytest.raises(StoreRefused, match="access denied; the credentials need s3:GetObject, PutObject"):
            store.check()
        assert store.get("before") == b"1"


def test_a_full_disk_is_tried_again(server: S3, store: S3Store) -> None:
    store.put("before", b"1")
    with needed_parts(), server.full():
        with pytest.raises(StoreUnavailable, match="a retry may help"):
            store.put("during", bytes(1 << 20))
        assert store.get("before") == b"1"
    store.put("during", bytes(1 << 20))
