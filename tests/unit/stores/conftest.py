"""Credentials for buckets, and servers that speak as some stores do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from podium.stores.s3 import S3Store
from podium.stores.s3_client import Access
from tests.cluster.pki import Pki
from tests.unit.stores.dialects import BUCKET, Dialect, FakeS3

Server = Callable[[Dialect], FakeS3]
Opened = Callable[..., S3Store]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """A throw-away authority with a certificate for this machine."""
    pki = Pki(tmp_path_factory.mktemp("pki"))
    pki.certificate("ca", "CN=throw-away")
    pki.certificate("s3", "CN=s3", san=f"DNS:localhost,DNS:{BUCKET}.localhost,IP:127.0.0.1", usage="serverAuth")
    return pki


@pytest.fixture
def server(authority: Pki, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Starts a server over https that this process trusts."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path("ca.crt")))
    with ExitStack() as cleanup:

        def start(dialect: Dialect) -> FakeS3:
            certificate = authority.path("s3.crt"), authority.path("s3.key")
            return cleanup.enter_context(FakeS3(dialect, certificate).running())

        yield start


@pytest.fixture
def opened() -> Opened:
    """Opens a store at a server, as a process of its own would."""

    def open_at(fake: FakeS3, prefix: str = "podium", **options: Any) -> S3Store:
        return S3Store(BUCKET, prefix, access=Access(fake.endpoint, "us-east-1", **options))

    return open_at
