"""Where probes and scrapes reach the operator."""

from __future__ import annotations

import socket

import pytest

from podium.controller.listening import listen_address, listening


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8080", ("", 8080)),
        ("[::]:8080", ("::", 8080)),
        ("[::1]:8080", ("::1", 8080)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:8080", ("localhost", 8080)),
    ],
)
def test_an_address(text, expected):
    assert listen_address(text) == expected


@pytest.mark.parametrize("text", ["", "8080", "::1:8080", "[::1]", "host:", "host:http", ":70000", ":-1"])
def test_what_is_not_an_address(text):
    with pytest.raises(ValueError, match=r"write host:port, \[IPv6 address\]:port or :port"):
        listen_address(text)


def answers(port, host):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "ipv4", "ipv6"),
    [
        (":0", True, True),
        ("[::]:0", True, True),
        ("0.0.0.0:0", True, False),
        ("127.0.0.1:0", True, False),
        ("[::1]:0", False, True),
    ],
)
def test_who_is_answered(text, ipv4, ipv6):
    with listening(*listen_address(text)) as server:
        port = server.getsockname()[1]
        assert (answers(port, "127.0.0.1"), answers(port, "::1")) == (ipv4, ipv6)


def test_without_ipv6_it_answers_on_ipv4(monkeypatch):
    create = socket.create_server

    def refuse_ipv6(address, *, family, **options):
        if family == socket.AF_INET6:
            raise OSError("Cannot assign requested address")
        return create(address, family=family, **options)

    monkeypatch.setattr(socket, "create_server", refuse_ipv6)
    with listening("", 0) as server:
        assert answers(server.getsockname()[1], "127.0.0.1")
