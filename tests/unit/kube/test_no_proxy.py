"""Which servers NO_PROXY exempts: the cases of Go's httpproxy, and those that clusters set."""

from __future__ import annotations

import pytest

from podium.kube import connection as module
from podium.kube.no_proxy import reached_directly


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://10.96.0.1:443", "10.0.0.0/8,.svc,.cluster.local", True),
        ("https://10.96.0.1:443", "192.168.0.0/16,.svc", False),
        ("https://10.96.0.1", "10.96.0.1", True),
        ("https://10.96.0.1", "10.96.0.1:443", True),
        ("https://10.96.0.1:6443", "10.96.0.1:443", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[::ffff:10.0.0.1]", "10.0.0.0/8", True),
        ("https://api.example.com", "example.com", True),
        ("https://example.com", "example.com", True),
        ("https://example.com", ".example.com", False),
        ("https://api.example.com", ".example.com", True),
        ("https://API.Example.com", " *.EXAMPLE.com ", True),
        ("https://myexample.com", "example.com", False),
        ("https://api.example.com:6443", "example.com:443", False),
        ("https://api.example.com", "example.com:443", True),
        ("https://api.example.com", "*", True),
        ("https://api.example.com", "", False),
        ("https://api.example.com", "10.0.0.0/99,300.0.0.0/8,,:443,a:b", False),
        ("https://127.0.0.1:6443", "", True),
        ("https://[::1]:6443", "", True),
        ("http://localhost:8080", "", True),
    ],
)
def test_what_is_reached_directly(url, no_proxy, direct):
    assert reached_directly(url, no_proxy) == direct


PROXY = "http://127.0.0.1:9"


@pytest.mark.parametrize(("no_proxy", "proxy"), [("10.0.0.0/8", None), ("10.0.0.0/24", PROXY)])
async def test_the_client_goes_past_the_proxy(monkeypatch, no_proxy, proxy):
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    configuration = module.client.Configuration(host="https://10.96.0.1")
    api = module.api_of(configuration)
    session = api.client.rest_client._create_pool_manager()
    try:
        assert configuration.proxy == proxy
        assert not session.trust_env  # aiohttp would read ~/.netrc as well, in a thread, for each request
    finally:
        await session.close()
        await api.close()
