"""What kopf does for Podium: it watches. Every handler is a few lines; decisions are made elsewhere.

Only ``on.event`` is used: it stores nothing in the objects and adds no finalizer, so an operator that is gone blocks
nobody. Jobs and pods, of which there are many more, are watched by `podium.kube.informer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from podium.api import GROUP, PLURAL, VERSION
from podium.controller.reconciler import Controller
from podium.kube import Api


class _NoDiffBase(kopf.DiffBaseStorage):
    """kopf compares every object with its last state, for handlers of changes; there are none here, and copying
    each object for it was a fifth of the operator's processor time."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return


def registry(controller: Controller, api: Api, seen: Callable[[str], None]) -> kopf.OperatorRegistry:
    """The handlers of one operator. `seen` is told the resource of every watch event."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        """kopf goes where our own client goes, with the same credentials."""
        configuration = api.client.configuration
        scheme, _separator, token = (await api.authorization()).partition(" ")
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True  # else it watches CRDs and namespaces, which takes more rights
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 310
        # An idle worker of kopf's own is kept no longer than needed: a thousand runs make thousands of them.
        settings.queueing.idle_timeout = 0.5
        settings.queueing.exit_timeout = 1.0

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def run_changed(*, type: str, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        seen(PLURAL)
        controller.run_changed(body, deleted=type == "DELETED")

    return handlers
