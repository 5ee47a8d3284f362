"""The API server: objects with versions, optimistic concurrency, watches that can be compacted, graceful deletion.

Stored objects are never changed, only replaced, so everybody may keep what they read.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.simulation.world import World

Object = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name
GRACE_SECONDS = 30


class Refused(Exception):  # noqa: N818 - an answer, not a crash
    """The API server's negative answer."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def body(self) -> bytes:
        status = {"kind": "Status", "status": "Failure", "code": self.code, "reason": self.reason}
        return orjson.dumps({**status, "message": self.message})


@dataclass
class Change:
    """One entry of the history that watches read."""

    version: int
    type: str  # ADDED, MODIFIED, DELETED
    object: Object
    before: Object | None = None  # if its labels were others
    _line: bytes | None = field(default=None, repr=False)

    @property
    def line(self) -> bytes:
        if self._line is None:
            self._line = orjson.dumps({"type": self.type, "object": self.object}) + b"\n"
        return self._line

    def seen_by(self, match: Callable[[Object], bool]) -> Change | None:
        """Return the change as a watch with a selector has it: for that, an object that it does not select any more is
        deleted, as it was before."""
        if match(self.object):
            return self if not self.before or match(self.before) else Change(self.version, "ADDED", self.object)
        if self.before is None or not match(self.before):
            return None
        version = {"resourceVersion": str(self.version)}
        return Change(self.version, "DELETED", self.before | {"metadata": self.before["metadata"] | version})


def copy(body: Object) -> Object:
    result: Object = orjson.loads(orjson.dumps(body))
    return result


class ApiServer:
    """The objects of one cluster. `admission` may raise Refused; `listeners` are called after every change."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.version = 1000
        self.kinds: set[str] = set()  # plurals that it serves beside those that every world has
        self.objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self.history: dict[str, list[Change]] = defaultdict(list)
        self.compacted: dict[str, int] = defaultdict(int)  # by plural: the oldest version that a watch may start from
        self.admission: list[Callable[[str, Object, str], None]] = []
        self.listeners: dict[str, list[Callable[[Change], None]]] = defaultdict(list)
        self._uids = itertools.count(1)

    # ---- reads ----

    def get(self, plural: str, namespace: str, name: str) -> Object:
        try:
            return self.objects[plural][namespace, name]
        except KeyError:
            raise Refused(404, "NotFound", f'{plural} "{name}" not found') from None

    def find(self, plural: str, namespace: str, name: str) -> Object | None:
        return self.objects[plural].get((namespace, name))

    def all(self, plural: str) -> list[Object]:
        return list(self.objects[plural].values())

    def owned_by(self, plural: str, uid: str) -> list[Object]:
        return [o for o in self.all(plural) if any(r["uid"] == uid for r in o["metadata"].get("ownerReferences", ()))]

    # ---- writes ----

    def create(self, plural: str, namespace: str, body: Object, *, user: str = "system") -> Object:
        body = copy(body)
        metadata = body["metadata"]
        if namespace:
            metadata["namespace"] = namespace
        for admit in self.admission:
            admit(plural, body, user)
        key = (namespace, metadata["name"])
        if key in self.objects[plural]:
            raise Refused(409, "AlreadyExists", f'{plural} "{metadata["name"]}" already exists')
        metadata["uid"] = f"{self.world.random.getrandbits(32):08x}-{next(self._uids):04d}"
        metadata["creationTimestamp"] = self.world.stamp()
        metadata["generation"] = 1
        return self._store("ADDED", plural, body)

    def update(self, plural: str, namespace: str, name: str, change: Callable[[Object], object]) -> Object | None:
        """Change an object in place, as the cluster's own controllers do; None if it is gone."""
        before = self.find(plural, namespace, name)
        if before is None:
            return None
        after = copy(before)
        change(after)
        if after == before:
            return before
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] += 1
        metadata = after["metadata"]
        # a pod also waits until the kubelet confirms that its containers are gone
        waits = metadata.get("finalizers") or (plural == "pods" and metadata.get("deletionGracePeriodSeconds"))
        if "deletionTimestamp" in metadata and not waits:
            return self._remove(plural, after)
        return self._store("MODIFIED", plural, after)

    def replace(self, plural: str, namespace: str, name: str, body: Object) -> Object:
        """Replace an object unless somebody has written it since it was read."""
        before = self.get(plural, namespace, name)
        if body["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", f'{plural} "{name}": the object has been modified')
        return self._store("MODIFIED", plural, copy(body))

    def patch_status(self, plural: str, namespace: str, name: str, operations: list[Object]) -> Object:
        """Apply a JSON patch (RFC 6902) of `test` and `add` to an object; only its status can change."""
        before = self.get(plural, namespace, name)
        document = copy(before)
        for operation in operations:
            _apply(document, **operation)
        if number := _beyond_int64(document.get("status")):
            raise Refused(422, "Invalid", f"status: Invalid value: {number}: must be an int64")
        if document.get("status") == before.get("status"):
            return before
        return self._store("MODIFIED", plural, copy(before) | {"status": document["status"]})

    def delete(
        self,
        plural: str,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        policy: str = "Background",
        grace: int | None = None,
    ) -> Object | None:
        """Delete an object: at once, or, if it has finalizers or a grace period, by marking it."""
        body = self.get(plural, namespace, name)
        if uid and body["metadata"]["uid"] != uid:
            raise Refused(409, "Conflict", f"the UID in the precondition ({uid}) does not match")
        if plural == "pods":
            return self._delete_pod(body, GRACE_SECONDS if grace is None else grace)
        if policy == "Foreground":
            body = copy(body)
            body["metadata"]["finalizers"] = ["foregroundDeletion"]
        if body["metadata"].get("finalizers"):
            if "deletionTimestamp" in body["metadata"]:
                return body
            body = copy(body)
            body["metadata"]["deletionTimestamp"] = self.world.stamp()
            body["metadata"]["generation"] += 1
            return self._store("MODIFIED", plural, body)
        return self._remove(plural, body)

    def _delete_pod(self, body: Object, grace: int) -> Object | None:
        over = body.get("status", {}).get("phase") in ("Succeeded", "Failed") or not body["spec"].get("nodeName")
        grace = 0 if over else grace
        if grace and "deletionTimestamp" in body["metadata"]:
            return body
        body = copy(body)
        body["metadata"]["deletionTimestamp"] = self.world.stamp(grace)  # the end of the grace period
        body["metadata"]["deletionGracePeriodSeconds"] = grace
        if grace == 0 and not body["metadata"].get("finalizers"):
            return self._remove("pods", body)
        return self._store("MODIFIED", "pods", body)

    def _remove(self, plural: str, body: Object) -> None:
        body = copy(body)
        del self.objects[plural][body["metadata"].get("namespace", ""), body["metadata"]["name"]]
        self._publish("DELETED", plural, body)

    def _store(self, type_: str, plural: str, body: Object) -> Object:
        key = body["metadata"].get("namespace", ""), body["metadata"]["name"]
        before = self.objects[plural].get(key)
        self.objects[plural][key] = body
        self._publish(type_, plural, body, before)
        return body

    def _publish(self, type_: str, plural: str, body: Object, before: Object | None = None) -> None:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        relabeled = before is not None and before["metadata"].get("labels") != body["metadata"].get("labels")
        change = Change(self.version, type_, body, before if relabeled else None)
        self.history[plural].append(change)
        for listener in self.listeners[plural]:
            listener(change)

    # ---- watches ----

    def since(self, plural: str, version: int) -> list[Change]:
        """Return the changes after `version`. Raises Refused (410) if they have been compacted."""
        if version < self.compacted[plural]:
            raise Refused(410, "Expired", f"too old resource version: {version} ({self.compacted[plural]})")
        changes = self.history[plural]
        start = len(changes)
        while start and changes[start - 1].version > version:
            start -= 1
        return changes[start:]

    def compact(self) -> None:
        """Forget the history: watches that are interrupted now cannot be resumed."""
        for plural in self.history:
            self.history[plural].clear()
            self.compacted[plural] = self.version


def _apply(document: Object, *, op: str, path: str, value: object) -> None:
    """Carry out one operation of a JSON patch; nobody patches members of arrays here."""
    *parents, key = path.strip("/").split("/")
    place: object = document
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict) or (op == "test" and place.get(key) != value):
        raise Refused(422, "Invalid", "the server rejected our request due to an error in our request")
    if op == "add":
        place[key] = value


def _beyond_int64(value: object) -> int:
    """Return an integer that the API server cannot store; 0 if there is none."""
    if isinstance(value, dict):
        return next((found for inner in value.values() if (found := _beyond_int64(inner))), 0)
    if isinstance(value, list):
        return next((found for inner in value if (found := _beyond_int64(inner))), 0)
    return value if isinstance(value, int) and abs(value) >= 2**63 else 0
