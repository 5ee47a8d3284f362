"""The objects of one resource that carry a label: listed once, then kept up to date by a watch.

Only what `read` makes of an object is kept. kopf handles every event of every object in a task of its own, which at
thousands of pods is half of the operator's work; here an event costs its decoding.

Objects are read one by one. One that is not wanted or cannot be read is reported once and left alone: anybody may put
any label on a pod, and no pod may stop the others from being seen.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from podium.kube.backoff import backoff
from podium.kube.client import Api, ApiError, Resource

_LOG = logging.getLogger(__name__)
_RETRY_LIMIT_SECONDS = 30.0
_GONE, _BAD_REQUEST = 410, 400


class Snapshot(Protocol):
    """What is kept of an object."""

    @property
    def belongs_to(self) -> str:
        """The key under which `Informer.of` finds it."""


S = TypeVar("S", bound=Snapshot)


class Informer(Generic[S]):
    """Snapshots of one resource, of one namespace or (None) of the whole cluster."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        namespace: str | None,
        label_selector: str,
        read: Callable[[Mapping[str, Any]], S | None],
        *,
        changed: Callable[[str], None],
        seen: Callable[[str], None],
        ignored: Callable[[str, str], None],
    ) -> None:
        """`read` makes a snapshot of an object, or returns None for a foreign one, which only carries the label; it may
        raise anything for one that it cannot read. `changed` gets the key of a snapshot that is new, different or gone,
        `seen` the resource of every event, `ignored` the resource and "foreign" or "unreadable", once per object."""
        self.listed = asyncio.Event()  # from the first complete list on
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._selector = label_selector
        self._read = read
        self._changed = changed
        self._seen = seen
        self._report_ignored = ignored
        self._snapshots: dict[str, dict[str, S]] = {}  # by key, by uid of the object
        self._keys: dict[str, str] = {}  # by uid
        self._ignored: set[str] = set()  # uids of objects that exist and were reported

    def of(self, key: str) -> Iterable[S]:
        """The snapshots that belong to `key`, the one that changed last at the end."""
        return self._snapshots.get(key, {}).values()

    async def run(self) -> None:
        """Until cancelled; a watch that breaks off is resumed where it was."""
        version, failures = "", 0
        while True:
            try:
                if not version:
                    version = await self._list()
                async for events in self._api.watch(self._resource, self._namespace, self._selector, version):
                    for event in events:
                        version = self._take(event, version)
                    failures = 0
                continue  # the API server ends every watch after a while
            except ApiError as error:
                if error.code in (_GONE, _BAD_REQUEST):  # the version is too old, or of another API server's data
                    version = ""
                _LOG.warning("watching %s: %s", self._resource.plural, error)
            except (aiohttp.ClientError, TimeoutError) as error:
                _LOG.info("watching %s: %s", self._resource.plural, error or type(error).__name__)
            failures += 1
            wait = backoff(failures, first=2.0, limit=_RETRY_LIMIT_SECONDS)
            await asyncio.sleep(random.uniform(0.1, wait))  # noqa: S311

    async def _list(self) -> str:
        """Take in everything that exists, and drop what no longer does. Returns the version to watch from."""
        existing: set[str] = set()
        touched: set[str] = set()
        version = ""
        async for objects, version in self._api.pages(self._resource, self._namespace, self._selector):  # noqa: B007
            for body in objects:
                existing.add(uid := _uid(body))
                touched |= self._put(uid, body)
        for uid in self._keys.keys() - existing:
            touched |= self._drop(uid)
        self._ignored &= existing
        self._seen(self._resource.plural)
        self.listed.set()
        for key in touched:
            self._changed(key)
        return version

    def _take(self, event: object, version: str) -> str:
        """Take in one event. Returns the version to go on from.

        Raises ApiError when the event says that the watch is over.
        """
        self._seen(self._resource.plural)
        body = event.get("object") if isinstance(event, Mapping) else None
        if not isinstance(event, Mapping) or not isinstance(body, Mapping):
            self._ignore("", "unreadable", f"a watch event without an object: {str(event)[:200]}")
            return version
        kind, metadata = event.get("type"), body.get("metadata")
        if kind == "ERROR":
            raise ApiError.of_status(body, default="the watch broke off")
        served = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
        if kind != "BOOKMARK":
            uid = _uid(body)
            touched = self._drop(uid) if kind == "DELETED" else self._put(uid, body)
            if kind == "DELETED":
                self._ignored.discard(uid)
            for key in touched:
                self._changed(key)
        return served if isinstance(served, str) and served else version

    def _put(self, uid: str, body: object) -> set[str]:
        """Read an object. Returns the keys whose snapshots have changed.

        A foreign object is dropped. One that cannot be read stays as it was: nothing is concluded from the unknown.
        """
        try:
            snapshot = self._snapshot(uid, body)
        except Exception as error:  # noqa: BLE001 - whatever one object holds, the others are read
            self._ignore(uid, "unreadable", f"{object_name(body)}: {type(error).__name__}: {error}")
            return set()
        if snapshot is None:
            self._ignore(uid, "foreign", object_name(body))
            return self._drop(uid)
        self._ignored.discard(uid)
        key = snapshot.belongs_to
        before = self._snapshots.get(self._keys.get(uid, key), {}).get(uid)
        if before == snapshot:
            return set()  # most events of a pod change nothing that matters here
        touched = self._drop(uid) | {key}
        # at the end: timestamps have 1 s resolution; keep event order
        self._snapshots.setdefault(key, {})[uid] = snapshot
        self._keys[uid] = key
        return touched

    def _snapshot(self, uid: str, body: object) -> S | None:
        """Read an object. Raises anything when it is malformed."""
        if not uid:
            raise ValueError("it has no uid")
        snapshot = self._read(body)  # type: ignore[arg-type]  # whatever it is, `read` may refuse it
        if snapshot is not None and not isinstance(snapshot.belongs_to, str):
            raise TypeError(f"it belongs to {snapshot.belongs_to!r}, which is not text")
        return snapshot

    def _drop(self, uid: str) -> set[str]:
        """Forget a snapshot, if there is one. Returns the keys whose snapshots have changed."""
        key = self._keys.pop(uid, None)
        if key is None:
            return set()
        siblings = self._snapshots[key]
        del siblings[uid]
        if not siblings:
            del self._snapshots[key]
        return {key}

    def _ignore(self, uid: str, reason: str, what: str) -> None:
        """Report an object, not each of its events; those without a uid cannot be told apart."""
        if uid in self._ignored:
            return
        self._ignored.add(uid)
        self._report_ignored(self._resource.plural, reason)
        _LOG.warning("ignoring %s %s: %s", reason, self._resource.plural, what)


def _uid(body: object) -> str:
    """Of an object, "" when it has none."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    uid = metadata.get("uid") if isinstance(metadata, Mapping) else None
    return uid if isinstance(uid, str) else ""


def object_name(body: object) -> str:
    """For a log line: namespace/name of an object of which nothing is certain."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    return f"{metadata.get('namespace')}/{metadata.get('name')}" if isinstance(metadata, Mapping) else str(body)[:200]
