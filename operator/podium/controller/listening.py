"""Where the operator serves metrics and probes."""

from __future__ import annotations

import contextlib
import socket

_ALL = ("", "::", "0.0.0.0")  # noqa: S104 - probes come from outside the pod


def listen_address(text: str) -> tuple[str, int]:
    """Read ``host:port``, ``[IPv6 address]:port`` or ``:port``. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not bracketed):
        raise ValueError(f"{text!r} is not an address to listen on: write host:port, [IPv6 address]:port or :port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listening(host: str, port: int) -> socket.socket:
    """Return a listening socket. Without a host, and on ``::``, it answers on IPv4 and IPv6, as far as this machine has
    them. Raises OSError."""
    if host in ("", "::") and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # the kernel knows IPv6, but it is disabled
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host not in _ALL:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family)
