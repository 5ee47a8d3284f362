"""What a bucket answers, in the words of a store. test_dialects.py has servers, tests/api/test_stores_s3.py a real one."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from podium.stores import AlreadyExists, NotFound, StoreAbilities, StoreRefused, StoreUnavailable
from podium.stores.s3 import S3Store
from podium.stores.s3_client import Access


def known() -> S3Store:
    """A store that has been probed."""
    store = S3Store("results", "podium", access=Access(region="us-east-1"))
    store._shared.abilities = StoreAbilities(store.url, conditional_put=True)
    return store


@contextmanager
def answering(code: str, status: int) -> Iterator[S3Store]:
    store = known()
    with Stubber(store._client) as stubber:
        stubber.add_client_error("put_object", code, f"the words of {code}", status)
        yield store


ANSWERS = {
    ("PreconditionFailed", 412): (AlreadyExists, "s3://results/podium/a already exists"),
    ("NoSuchKey", 404): (NotFound, "s3://results/podium/a does not exist"),
    ("NoSuchBucket", 404): (StoreRefused, "s3://results/podium: there is no such bucket; create it"),
    ("AccessDenied", 403): (StoreRefused, "access denied; the credentials need s3:GetObject, PutObject"),
    ("InvalidAccessKeyId", 403): (StoreRefused, "unknown access key; check the credentials"),
    ("SignatureDoesNotMatch", 403): (StoreRefused, "the secret key is wrong; check the credentials"),
    ("PermanentRedirect", 301): (StoreRefused, "the bucket is in another region; set the region"),
    ("ObjectParentIsFile", 409): (StoreRefused, "ObjectParentIsFile: the words of ObjectParentIsFile"),
    ("SlowDown", 503): (StoreUnavailable, "the words of SlowDown; a retry may help"),
    ("InternalError", 500): (StoreUnavailable, "a retry may help"),
    ("RequestTimeout", 400): (StoreUnavailable, "a retry may help"),
    ("BadDigest", 400): (StoreUnavailable, "a retry may help"),
    ("ConditionalRequestConflict", 409): (StoreUnavailable, "a retry may help"),  # nothing is known about the object
    ("OperationAborted", 409): (StoreUnavailable, "a retry may help"),
    ("QuotaExceeded", 403): (StoreUnavailable, "a retry may help"),
    ("TooManyRequests", 429): (StoreUnavailable, "a retry may help"),
    ("RequestTimeTooSkewed", 403): (
        StoreRefused,
        "the clocks of this machine and of the store differ; correct the clock",
    ),
    ("NotImplemented", 501): (StoreRefused, "the words of NotImplemented"),
    ("InsufficientStorage", 507): (StoreUnavailable, "the store is full: free some space; a retry may help"),
    ("EntityTooLarge", 400): (StoreRefused, "EntityTooLarge"),
}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[0])
def test_answers(answer: tuple[str, int]) -> None:
    kind, words = ANSWERS[answer]
    with answering(*answer) as store, pytest.raises(kind, match=words):
        store.put("a", b"")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = S3Store("results", access=Access(f"http://127.0.0.1:{port}", "us-east-1"))
    with pytest.raises(StoreUnavailable, match=r"Could not connect to the endpoint URL.*; a retry may help"):
        store.get("a")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreRefused, match="no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        S3Store("results", access=Access(region="us-east-1")).check()


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "an endpoint without scheme": ("results", {"endpoint_url": "minio:9000"}, "check the endpoint, such as http://"),
    "a region that is none": ("results", {"region": "my region"}, "check bucket, region, endpoint and profile"),
    "a bucket's name that is none": ("re sults", {"region": "us-east-1"}, "check bucket, region, endpoint and profile"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    bucket, options, words = MISTAKES[name]
    with pytest.raises(StoreRefused, match=words):
        S3Store(bucket, access=Access(**options)).child("lab").check()


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../../b"])
def test_a_key_cannot_leave_the_store(key: str) -> None:
    with pytest.raises(ValueError, match="leaves the store; keys are relative paths without"):
        S3Store("results", "podium").put(key, b"")


def test_threads_and_children_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = boto3.session.Session.client

    def slow(self: boto3.session.Session, *args: Any, **options: Any) -> Any:
        made.append(threading.get_ident())
        return make(self, *args, **options)

    monkeypatch.setattr(boto3.session.Session, "client", slow)
    store = known()
    children = [store.child(f"run-{n}") for n in range(8)]
    assert made == [], "nothing is connected before the first use"
    clients: list[Any] = []
    threads = [threading.Thread(target=lambda one=one: clients.append(one._client)) for one in children]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, clients))) == 1
    assert children[3].url == "s3://results/podium/run-3"


def test_chunks_are_the_object_in_pieces() -> None:
    data = b"x" * 2_500_000
    store = known()
    with Stubber(store._client) as stubber:
        body = StreamingBody(io.BytesIO(data), len(data))
        stubber.add_response("get_object", {"Body": body}, {"Bucket": "results", "Key": "podium/a"})
        pieces = list(store.chunks("a"))
    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20, len(data) - (2 << 20)]


def test_chunks_of_nothing() -> None:
    store = known()
    with Stubber(store._client) as stubber:
        stubber.add_client_error("get_object", "NoSuchKey", "", 404)
        with pytest.raises(NotFound):
            next(store.chunks("a"))
