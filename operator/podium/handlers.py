"""What kopf does for Podium: it watches. Every handler is a few lines; decisions are made elsewhere.

Only ``on.event`` and ``index`` are used: they store nothing in the objects and add no finalizer, so an operator
that is gone blocks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from podium.api import GROUP, PLURAL, VERSION
from podium.cluster import Api, Controller, JobFacts, PodFacts, job_facts, pod_facts, run_uid

_OURS = {"podium.dev/run-uid": kopf.PRESENT}


class _Watches:
    """kopf's indexes, as the controller reads them."""

    def __init__(self, jobs: kopf.Index[str, JobFacts], pods: kopf.Index[str, PodFacts]) -> None:
        self._jobs = jobs
        self._pods = pods

    def jobs(self, run_uid: str) -> Iterable[JobFacts]:
        return self._jobs.get(run_uid, ())

    def pods(self, run_uid: str) -> Iterable[PodFacts]:
        return self._pods.get(run_uid, ())


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
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 310
        # An idle worker of kopf's own is kept no longer than needed: a thousand runs make thousands of them.
        settings.queueing.idle_timeout = 0.5
        settings.queueing.exit_timeout = 1.0

    @kopf.index("batch", "v1", "jobs", id="jobs", labels=_OURS, registry=handlers)
    async def jobs(body: kopf.Body, **_: Any) -> dict[str, JobFacts]:
        facts = job_facts(body)
        return {facts.run_uid: facts}

    @kopf.index("", "v1", "pods", id="pods", labels=_OURS, registry=handlers)
    async def pods(body: kopf.Body, **_: Any) -> dict[str, PodFacts]:
        facts = pod_facts(body)
        return {facts.run_uid: facts}

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def run_changed(*, type: str, body: kopf.Body, **indexes: Any) -> None:  # noqa: A002
        seen(PLURAL)
        controller.watch(_Watches(indexes["jobs"], indexes["pods"]))
        controller.run_changed(body, deleted=type == "DELETED")

    @kopf.on.event("batch", "v1", "jobs", labels=_OURS, registry=handlers)
    async def job_changed(labels: kopf.Labels, **_: Any) -> None:
        seen("jobs")
        controller.child_changed(run_uid(labels))

    @kopf.on.event("", "v1", "pods", labels=_OURS, registry=handlers)
    async def pod_changed(labels: kopf.Labels, **_: Any) -> None:
        seen("pods")
        controller.child_changed(run_uid(labels))

    return handlers
