"""Finds the API server and the credentials: those of the pod, or of a kubeconfig."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import yaml
from kubernetes.aio import client, config

from podium.kube.client import Api, RequestObserver
from podium.kube.no_proxy import reached_directly

_RECORD_BYTES = 16 << 10  # the most in a record of TLS
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def connect(
    *, kubeconfig: str | None = None, rate: float = 500, burst: int = 1000, observer: RequestObserver | None = None
) -> Api:
    """Connect to the cluster that this pod runs in, or else to the one in ``KUBECONFIG``.

    Raises ``kubernetes.aio.config.ConfigException`` if there is neither.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    return api_of(configuration, rate=rate, burst=burst, observer=observer)


async def connect_as_kubectl(context: str | None = None) -> tuple[Api, str]:
    """Connect to the cluster, and return the namespace, that kubectl would choose: those of `context` or of the current
    context in ``KUBECONFIG`` or ``~/.kube/config``; without such a file, those of the pod that this process runs in.

    Raises ``kubernetes.aio.config.ConfigException`` if there is neither, or no such context.
    """
    configuration = client.Configuration()
    named = os.environ.get("KUBECONFIG") or "~/.kube/config"
    if not _any_exists(named):
        namespace = _surrounding_namespace()
        if context or namespace is None:
            raise config.ConfigException(f"there is no {named}")
        config.load_incluster_config(client_configuration=configuration)
        return api_of(configuration), namespace
    try:
        loader = await config.load_kube_config(named, context, configuration, persist_config=False)
    except (yaml.YAMLError, OSError, TypeError) as error:
        raise config.ConfigException(f"{named} is not a valid kubeconfig: {' '.join(str(error).split())}") from error
    return api_of(configuration), loader.current_context["context"].get("namespace", "default")


def _any_exists(kubeconfig: str) -> bool:
    return any(Path(file).expanduser().exists() for file in kubeconfig.split(os.pathsep) if file)


def _surrounding_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in; None outside a pod."""
    return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else None


def api_of(
    configuration: client.Configuration,
    *,
    rate: float = 500,
    burst: int = 1000,
    observer: RequestObserver | None = None,
) -> Api:
    """Return a client of the API server in `configuration`."""
    configuration.connection_pool_maxsize = 0  # unlimited: every open log holds a connection; see the rate limit
    configuration.proxy = configuration.proxy or _proxy(configuration.host)
    configuration.client_session_kwargs = {
        # with it, aiohttp starts two threads for each request: one looks for a proxy, one reads ~/.netrc
        "trust_env": False,
        "cookie_jar": aiohttp.DummyCookieJar(),
        # a log stream does not need the default 2 MiB, and there may be a thousand of them
        "read_bufsize": 2**16,
    }
    api_client = client.ApiClient(configuration)
    api_client.rest_client.ssl_context.sslobject_class = _SmallReads
    return Api(api_client, rate=rate, burst=burst, observer=observer or (lambda *_: None))


class _SmallReads(ssl.SSLObject):
    """A TLS connection that is read record by record.

    The event loop asks for up to 256 KiB at once and gets one record, of 16 KiB at most. For each it would take fresh
    memory from the kernel, and give it back: there are a hundred reads a run.
    """

    def read(self, len: int = 1024, buffer: bytearray | None = None) -> bytes:  # type: ignore[override]  # noqa: A002
        return super().read(min(len, _RECORD_BYTES), buffer)


def _proxy(host: str) -> str | None:
    """Return the proxy to the API server that ``HTTPS_PROXY`` names and ``NO_PROXY`` does not exempt it from."""
    if reached_directly(host, os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""):
        return None
    return getproxies().get(urlsplit(host).scheme)
