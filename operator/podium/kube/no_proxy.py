"""Whether ``NO_PROXY`` exempts a server from the proxy, by the rules of Go's ``httpproxy``, which kubectl follows.

Python's own rules know no networks, and clusters set ``NO_PROXY=10.0.0.0/8,.svc``.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def reached_directly(url: str, no_proxy: str) -> bool:
    """Return whether requests to `url` go past the proxy.

    `no_proxy` is a list of networks (``10.0.0.0/8``), addresses, domains with their subdomains (``example.com``),
    subdomains only (``.example.com``), each but the first with an optional port, or ``*``. An entry that is none of
    these matches nothing. This machine is never reached through a proxy.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), host, port, address) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, port: int, address: _Address | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _within(address, entry)
    entry, of_port = _split_port(entry)
    if not entry or of_port not in (0, port):
        return False
    if (listed := _address(entry.strip("[]"))) is not None:
        return listed == address
    if address is not None:
        return False
    entry = entry.removeprefix("*")
    return host.endswith(entry) if entry.startswith(".") else host == entry or host.endswith(f".{entry}")


def _within(address: _Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int]:
    """Return the host and the port of an entry; 0 for none. An IPv6 address with a port stands in brackets."""
    host, _, port = entry.rpartition(":")
    if host and port.isdecimal() and (":" not in host or host.endswith("]")):
        return host, int(port)
    return entry, 0


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
