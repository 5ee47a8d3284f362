"""What Podium does with stores that are not quite Amazon's."""

from __future__ import annotations

import io
import os
import socket
import time

import pytest

from podium.stores import AlreadyExists, StoreError, StoreRefused, StoreUnavailable, s3_client
from podium.stores.s3 import PART_BYTES, Access
from tests.unit.stores.conftest import Opened, Server
from tests.unit.stores.dialects import PROXY_PAGE, Dialect, google, old_ceph

ABLE = "s3://results/podium: put, get, list, delete"
LOCK = "; conditional put: no, so that a lock object guards what is written once"
ABILITIES = {
    "Amazon": (Dialect(), f"{ABLE}, conditional put: yes; checksums: header"),
    "Google": (google(), f"{ABLE}: yes{LOCK}; checksums: header"),
    "Cloudflare": (Dialect(trailers=400), f"{ABLE}, conditional put: yes; checksums: header"),
    "old Ceph": (old_ceph(), f"{ABLE}: yes{LOCK}; checksums: none, since the store refuses them"),
}


@pytest.mark.parametrize("name", ABILITIES)
def test_what_a_store_can_do_is_found_out_and_used(server: Server, opened: Opened, name: str) -> None:
    dialect, words = ABILITIES[name]
    fake = server(dialect)
    store = opened(fake)
    assert str(store.check()) == words
    assert fake.objects == {}, "a probe leaves nothing"
    fake.requests.clear()
    store.put("result.json", b"{}", if_absent=True, content_type="application/json")
    with pytest.raises(AlreadyExists, match=r"s3://results/podium/result\.json already exists"):
        store.put("result.json", b"other", if_absent=True)
    large = os.urandom(2 * PART_BYTES + 5)
    store.put_file("large", io.BytesIO(large))
    assert store.get("result.json") == b"{}"
    assert store.get("large") == large
    assert store.list() == ["large", "result.json"]
    for request in fake.puts():
        assert "x-amz-trailer" not in request.headers
        assert "aws-chunked" not in request.headers.get("content-encoding", "")
        assert len(request.headers["x-amz-content-sha256"]) == 64, "the payload is signed"
    sums = [
        "x-amz-checksum-sha256" in request.headers for request in fake.puts() if request.key == "podium/result.json"
    ]
    assert set(sums) == {dialect.checksums}


def test_a_large_put_is_several_requests_of_bounded_size(server: Server, opened: Opened) -> None:
    fake = server(google())
    store = opened(fake)
    data = os.urandom(2 * PART_BYTES)
    store.put("checkpoint", data)
    assert store.get("checkpoint") == b"".join(store.chunks("checkpoint")) == data
    assert max(int(request.headers["content-length"]) for request in fake.puts()) == PART_BYTES


def test_checksums_can_be_turned_off(server: Server, opened: Opened) -> None:
    fake = server(Dialect())
    store = opened(fake, checksum="off")
    assert str(store.check()).endswith("; checksums: off")
    store.put("a", b"1")
    assert store.get("a") == b"1"
    assert not [name for request in fake.requests for name in request.headers if "checksum" in name]


def test_a_store_that_was_not_checked_is_probed_by_the_first_write(server: Server, opened: Opened) -> None:
    fake = server(google())
    store = opened(fake)
    fake.dialect.failure = 503, "SlowDown"
    with pytest.raises(StoreUnavailable):
        store.check()
    fake.dialect.failure = None
    other = opened(fake)
    other.put("result.json", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("result.json", b"second", if_absent=True)
    assert store.get("result.json") == b"first", "the condition that this store ignores was not relied on"


REFUSED: dict[str, tuple[Dialect, type[StoreError], str]] = {
    "clocks differ": (Dialect(clock=1200), StoreRefused, r"podium: the clocks differ by 1[12][0-9][0-9] s: it is ..:..:.. UTC on this machine, ..:..:.. UTC in the store; correct the clock that is wrong \(NTP\)"),
    "bucket in the host name": (Dialect(virtual_only=True), StoreRefused, "the store wants the bucket in the host name; set results.addressing=virtual"),
    "full": (Dialect(failure=(507, "XMinioStorageFull")), StoreUnavailable, "XMinioStorageFull: .*; the store is full: free some space; a retry may help"),
    "a proxy's page": (Dialect(page=(403, PROXY_PAGE)), StoreRefused, "HTTP 403, and a page that is not from an S3 store: 'Blocked by the policy of Example'; check the endpoint"),
    "a page of a gateway": (Dialect(page=(502, b"<html>Bad Gateway</html>")), StoreUnavailable, "HTTP 502, and a page .*'Bad Gateway'; a retry may help"),
    "a login page": (Dialect(page=(200, b"<html>Please log in</html>")), StoreRefused, "the answer has no ETag, so it does not come from an S3 store; check the endpoint"),
    "a cache": (Dialect(corrupt=True), StoreRefused, "does not return and list what it has just acknowledged; check that the endpoint is the store itself"),
    "no listing": (Dialect(listing=False), StoreRefused, "access denied; the credentials need s3:GetObject, PutObject, DeleteObject and ListBucket"),
    "too many requests": (Dialect(failure=(503, "SlowDown")), StoreUnavailable, "SlowDown: the words of SlowDown; a retry may help"),
    "puts that are not implemented": (Dialect(failure=(501, "NotImplemented")), StoreRefused, "NotImplemented: the words of NotImplemented"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(s3_client, "_TRIES", 1)
    dialect, kind, words = REFUSED[name]
    fake = server(dialect)
    store = opened(fake)
    for call in (store.check, lambda: store.put("a", b"1")):
        with pytest.raises(kind, match=words) as raised:
            call()
        assert type(raised.value) is kind
    assert fake.objects == {}


def test_a_full_store_loses_nothing(server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_TRIES", 1)
    fake = server(Dialect())
    store = opened(fake)
    store.put("a", b"1")
    fake.dialect.failure = 507, "XMinioStorageFull"
    for put in (lambda: store.put("a", b"22"), lambda: store.put_file("a", io.BytesIO(bytes(PART_BYTES + 1)))):
        with pytest.raises(StoreUnavailable, match="the store is full"):
            put()
    assert store.get("a") == b"1"
    assert fake.uploads == {}, "an upload that fails is aborted, since its parts cost money"


def test_the_bucket_in_the_host_name(server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: resolve("127.0.0.1", *more, **named))
    store = opened(server(Dialect(virtual_only=True)), addressing="virtual")
    store.put("a", b"1")
    assert store.list() == ["a"]


@pytest.mark.parametrize(("option", "words"), [
    ({"checksum": "on"}, "checksum 'on' is not supported; use auto or off"),
    ({"addressing": "host"}, "addressing 'host' is not supported; use auto or path or virtual"),
])  # fmt: skip
def test_options_that_do_not_exist(option: dict[str, str], words: str) -> None:
    with pytest.raises(StoreRefused, match=words):
        Access(**option)


def test_an_unknown_authority(server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = server(Dialect())
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(
        StoreRefused, match=r"CERTIFICATE_VERIFY_FAILED.*; give the authority's certificate in AWS_CA_BUNDLE"
    ):
        opened(fake).check()


def test_a_put_ends_even_if_the_store_answers_a_byte_at_a_time(server: Server, opened: Opened) -> None:
    fake = server(Dialect())
    store = opened(fake, call_seconds=1.0)
    store.check()
    fake.dialect.trickle = 0.4
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"s3://results/podium/a: no complete answer in 1 s; a retry may help"):
        store.put("a", b"1", if_absent=True)
    assert time.monotonic() - started < 3
    assert fake.objects["podium/a"][0] == b"1", "it was stored, but that is not known"
    fake.dialect.trickle = 0.0
    with pytest.raises(AlreadyExists):
        store.put("a", b"1", if_absent=True)
    store.put("a", b"1")
    assert store.get("a") == b"1"


def test_a_store_that_stands_still_is_given_up_and_asked_again(
    server: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(s3_client, "_TRIES", 2)
    fake = server(Dialect())
    store = opened(fake)
    store.check()
    fake.dialect.put_hook = lambda _: time.sleep(1.0)
    with pytest.raises(StoreUnavailable, match=r"Read timeout.*; a retry may help"):
        store.put("a", b"1")
    assert len([request for request in fake.puts() if request.key == "podium/a"]) == 2
