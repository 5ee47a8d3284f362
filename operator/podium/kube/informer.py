"""What there is of one kind of our objects: listed once, then kept up to date by a watch.

This is what informers do, kept to the facts that `decide` needs. kopf handles every event of every object in a task of
its own, which at thousands of pods is half of the operator's work; here an event costs its decoding.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from podium.kube.client import Api, ApiError

_LOG = logging.getLogger(__name__)
_LAST_RETRY_SECONDS = 30.0
_GONE = 410
RUN_UID_LABEL = "podium.dev/run-uid"  # the label of every Job and pod of ours; in a large cluster most are not


class Fact(Protocol):
    """Of an object that belongs to a run."""

    @property
    def uid(self) -> str: ...

    @property
    def run_uid(self) -> str: ...


F = TypeVar("F", bound=Fact)


class Informer(Generic[F]):
    """The facts of one resource, of one namespace or of the whole cluster."""

    def __init__(
        self,
        api: Api,
        resource: str,
        namespace: str | None,
        read: Callable[[Mapping[str, Any]], F],
        *,
        changed: Callable[[str], None],
        seen: Callable[[str], None],
    ) -> None:
        """`read` makes facts of an object, `changed` is told the uid of a run whose facts have changed, `seen` the
        resource of every event."""
        self.listed = asyncio.Event()  # from the first complete list on
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._read = read
        self._changed = changed
        self._seen = seen
        self._facts: dict[str, dict[str, F]] = {}  # by uid of the run, by uid of the object

    def of(self, run_uid: str) -> Iterable[F]:
        """What there is of one run."""
        return self._facts.get(run_uid, {}).values()

    async def run(self) -> None:
        """Until cancelled; whatever breaks off is taken up again."""
        version, failures = "", 0
        while True:
            try:
                if not version:
                    version = await self._list()
                async for events in self._api.watch(self._resource, self._namespace, RUN_UID_LABEL, version):
                    for event in events:
                        version = self._take(event)
                    failures = 0
                continue  # the API server ends every watch after a while
            except ApiError as error:
                if error.code in (_GONE, 400):  # the version is too old, or from another life of the API server
                    version = ""
                _LOG.warning("watching %s: %s", self._resource, error)
            except (aiohttp.ClientError, TimeoutError) as error:
                _LOG.info("watching %s: %s", self._resource, error or type(error).__name__)
            failures += 1
            await asyncio.sleep(random.uniform(0.1, min(_LAST_RETRY_SECONDS, 2.0**failures)))  # noqa: S311

    async def _list(self) -> str:
        """Take in all there is, and what is no longer there. Returns the version to watch from."""
        facts: dict[str, dict[str, F]] = {}
        version = ""
        async for objects, version in self._api.pages(self._resource, self._namespace, RUN_UID_LABEL):  # noqa: B007
            for body in objects:
                fact = self._read(body)
                facts.setdefault(fact.run_uid, {})[fact.uid] = fact
        before, self._facts = self._facts, facts
        self._seen(self._resource)
        self.listed.set()
        for run_uid in before.keys() | facts.keys():
            if before.get(run_uid) != facts.get(run_uid):
                self._changed(run_uid)
        return version

    def _take(self, event: Mapping[str, Any]) -> str:
        """Returns the version of the event."""
        self._seen(self._resource)
        body = event["object"]
        if event["type"] == "ERROR":
            raise ApiError(body.get("code", 0), body.get("reason", ""), body.get("message", "the watch broke off"))
        version: str = body["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return version
        fact = self._read(body)
        of_run = self._facts.setdefault(fact.run_uid, {})
        if event["type"] == "DELETED":
            of_run.pop(fact.uid, None)
            if not of_run:
                del self._facts[fact.run_uid]
        elif of_run.get(fact.uid) == fact:
            return version  # most events of a pod tell nothing that matters here
        else:
            of_run.pop(fact.uid, None)  # what changed last stands last: times are told in whole seconds, order is not
            of_run[fact.uid] = fact
        self._changed(fact.run_uid)
        return version
