"""The objects of one resource that carry a label: listed once, then kept up to date by a watch.

Only the result of `read` is kept of each object. kopf handles every event of every object in a separate task, which is
half of the operator's work with thousands of pods; here an event costs only its decoding.

Objects are read one by one. A foreign or unreadable one is reported once and ignored: anybody can put any label on a
pod, and no pod must hide the others.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

import aiohttp

from podium.kube.backoff import WatchPace
from podium.kube.client import Api, ApiError, Resource

_LOG = logging.getLogger(__name__)
_RETRY_LIMIT_SECONDS = 30.0
_PILE_UP_SECONDS = 0.1  # waking up for an event costs more than reading ten
_MANY_EVENTS = 10
_GONE, _BAD_REQUEST = 410, 400


class Snapshot(Protocol):
    """What is kept of an object."""

    @property
    def belongs_to(self) -> str:
        """Return the key under which `Informer.of` finds it."""

    @property
    def outlasts(self) -> bool:
        """Return whether it says something that must be seen although its object is gone."""

    def after(self, earlier: Self, /) -> Self:
        """Return this snapshot with what only an earlier one of the same object showed."""


S = TypeVar("S", bound=Snapshot)


class Informer(Generic[S]):
    """Snapshots of one resource, in one namespace or (None) in the whole cluster."""

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
        """`read` returns the snapshot of an object, or None for a foreign one, which only carries the label; it may
        raise anything for an unreadable one. `changed` gets the key of a snapshot that is new, different or gone,
        `seen` the resource of every event, `ignored` the resource and "foreign" or "unreadable", once per object."""
        self.listed = asyncio.Event()  # set after the first complete list
        self._api = api
        self._resource = resource
        self.namespace = namespace
        self._place = f" in namespace {namespace}" if namespace else ""
        self._selector = label_selector
        self._read = read
        self._changed = changed
        self._seen = seen
        self._report_ignored = ignored
        self._snapshots: dict[str, dict[str, S]] = {}  # by key, then by uid of the object
        self._gone: dict[str, dict[str, S]] = {}  # of objects that were deleted since `of` was asked for them
        self._keys: dict[str, str] = {}  # by uid
        self._ignored: set[str] = set()  # uids of objects that exist and were reported

    def of(self, key: str, *, gone: bool = False) -> Iterable[S]:
        """Return the snapshots that belong to `key`, the last changed one at the end.

        With `gone`, the last ones of objects that have been deleted since the previous such call come first: a kubelet
        reports how a container ended right before it has the pod removed.
        """
        last = self._gone.pop(key, {}) if gone else {}
        return [*last.values(), *self._snapshots.get(key, {}).values()]

    async def run(self) -> None:
        """Run until canceled; an interrupted watch resumes where it stopped."""
        version, pace = "", WatchPace(first=2.0, limit=_RETRY_LIMIT_SECONDS)
        while True:
            failed = True
            try:
                if not version:
                    version = await self._list()
                pace.opened()
                async for events in self._api.watch(self._resource, self.namespace, self._selector, version):
                    count = 0
                    for event in events:
                        version = self._take(event, version)
                        pace.delivered()
                        count += 1
                    if count < _MANY_EVENTS:  # otherwise more have arrived already
                        await asyncio.sleep(_PILE_UP_SECONDS)
                failed = False  # the API server ends every watch after a while
            except ApiError as error:
                if error.code in (_GONE, _BAD_REQUEST):  # the version is too old, or comes from other data
                    version = ""
                _LOG.warning("watching %s%s: %s", self._resource.plural, self._place, error)
            except (aiohttp.ClientError, TimeoutError) as error:
                _LOG.info("watching %s%s: %s", self._resource.plural, self._place, error or type(error).__name__)
            if wait := pace.ended(failed=failed):
                await asyncio.sleep(random.uniform(wait / 4, wait))  # noqa: S311 - so that not all come at once

    async def _list(self) -> str:
        """Read all existing objects, and drop those that are gone. Returns the version to watch from."""
        existing: set[str] = set()
        touched: set[str] = set()
        version = ""
        async for objects, version in self._api.pages(self._resource, self.namespace, self._selector):  # noqa: B007
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

    async def refresh(self, namespace: str, key: str) -> None:
        """List the objects of `key` in `namespace` once more: the watch may be late. Raises ApiError and others."""
        existing: set[str] = set()
        async for objects, _ in self._api.pages(self._resource, namespace, f"{self._selector}={key}"):
            for body in objects:
                existing.add(uid := _uid(body))
                self._put(uid, body)
        for uid in self._snapshots.get(key, {}).keys() - existing:
            self._drop(uid)

    def _take(self, event: object, version: str) -> str:
        """Handle one event. Returns the version to continue from.

        Raises ApiError if the event ends the watch.
        """
        self._seen(self._resource.plural)
        body = event.get("object") if isinstance(event, Mapping) else None
        if not isinstance(event, Mapping) or not isinstance(body, Mapping):
            self._ignore("", "unreadable", f"a watch event without an object: {str(event)[:200]}")
            return version
        kind, metadata = event.get("type"), body.get("metadata")
        if kind == "ERROR":
            raise ApiError.of_status(body, default="the watch was interrupted")
        served = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
        if kind != "BOOKMARK":
            uid = _uid(body)
            touched = self._put(uid, body)
            if kind == "DELETED":
                key = self._keys.get(uid, "")
                if (last := self._snapshots.get(key, {}).get(uid)) and last.outlasts:
                    self._gone.setdefault(key, {})[uid] = last
                touched |= self._drop(uid)
                self._ignored.discard(uid)
            for key in touched:
                self._changed(key)
        return served if isinstance(served, str) and served else version

    def _put(self, uid: str, body: object) -> set[str]:
        """Read and keep an object. Returns the keys whose snapshots have changed.

        A foreign object is dropped. An unreadable one keeps its last snapshot, since nothing is known about it.
        """
        try:
            snapshot = self._snapshot(uid, body)
        except Exception as error:  # noqa: BLE001 - one bad object must not stop the others
            self._ignore(uid, "unreadable", f"{object_name(body)}: {type(error).__name__}: {error}")
            return set()
        if snapshot is None:
            self._ignore(uid, "foreign", object_name(body))
            return self._drop(uid)
        self._ignored.discard(uid)
        key = snapshot.belongs_to
        before = self._snapshots.get(self._keys.get(uid, key), {}).get(uid)
        if before is not None:
            snapshot = snapshot.after(before)
        if before == snapshot:
            return set()  # most events of a pod change nothing relevant
        touched = self._drop(uid) | {key}
        # at the end: timestamps have 1 s resolution; keep event order
        self._snapshots.setdefault(key, {})[uid] = snapshot
        self._keys[uid] = key
        return touched

    def _snapshot(self, uid: str, body: object) -> S | None:
        """Return the snapshot of an object, None for a foreign one. A malformed object may raise any exception."""
        if not uid:
            raise ValueError("it has no uid")
        snapshot = self._read(body)  # type: ignore[arg-type]  # `read` raises if it is not an object
        if snapshot is not None and not isinstance(snapshot.belongs_to, str):
            raise TypeError(f"the key {snapshot.belongs_to!r} is not text")
        return snapshot

    def _drop(self, uid: str) -> set[str]:
        """Drop a snapshot if there is one. Returns the keys whose snapshots have changed."""
        key = self._keys.pop(uid, None)
        if key is None:
            return set()
        siblings = self._snapshots[key]
        del siblings[uid]
        if not siblings:
            del self._snapshots[key]
        return {key}

    def _ignore(self, uid: str, reason: str, what: str) -> None:
        """Report an object once rather than for each event; objects without a uid count as one."""
        if uid in self._ignored:
            return
        self._ignored.add(uid)
        self._report_ignored(self._resource.plural, reason)
        _LOG.warning("ignoring %s %s: %s", reason, self._resource.plural, what)


def _uid(body: object) -> str:
    """Return the uid of an object; "" if it has none."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    uid = metadata.get("uid") if isinstance(metadata, Mapping) else None
    return uid if isinstance(uid, str) else ""


def object_name(body: object) -> str:
    """Return namespace/name for a log line; `body` may be anything."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    return f"{metadata.get('namespace')}/{metadata.get('name')}" if isinstance(metadata, Mapping) else str(body)[:200]
