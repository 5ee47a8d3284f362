"""BenchmarkRuns that cannot be read, such as those whose status a newer operator has written: nothing is done for one,
which the object itself says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from podium.api import PLURAL, Condition, ConditionType, Reason, rfc3339
from podium.controller.pods import BENCHMARK_RUNS
from podium.controller.status_writer import changes
from podium.kube import Api, ApiError, object_name
from podium.text import printable

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE = 32768  # characters, from the CRD


class UnreadableRuns:
    """Reports each unreadable run once, by a log line and a condition."""

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._causes: dict[str, tuple[str, str, str]] = {}  # by uid: namespace, name, what is wrong

    def __contains__(self, uid: str) -> bool:
        return uid in self._causes

    def known_in(self, namespace: str | None) -> set[str]:
        """Return the uids of the unreadable runs of a namespace, or (None) of all."""
        return {uid for uid, (place, _, _) in self._causes.items() if namespace in (None, place)}

    def add(self, body: Mapping[str, Any], error: Exception) -> bool:
        """Note and log that `body` cannot be read. Returns whether that, or the cause, is new."""
        metadata = body.get("metadata") or {}
        uid, cause = str(metadata.get("uid", "")), _cause(error)
        noted = (str(metadata.get("namespace", "")), str(metadata.get("name", "")), cause)
        if self._causes.get(uid) == noted:
            return False
        self._causes[uid] = noted
        _LOG.warning("ignoring unreadable %s %s: %s", PLURAL, object_name(body), cause)
        return True

    def forget(self, uid: str) -> None:
        self._causes.pop(uid, None)

    async def explain(self, uid: str) -> None:
        """Set the condition Running to what is wrong, and leave the rest of the status as it is.

        Raises ApiError if the API server refuses that for now.
        """
        namespace, name, cause = self._causes[uid]
        if not (uid and namespace and name):  # no API server serves such an object
            return
        try:
            found = await self._api.get(BENCHMARK_RUNS, namespace, name)
            before = found.get("status") or {}
            others = [c for c in before.get("conditions") or () if c.get("type") != ConditionType.RUNNING]
            after = {**before, "conditions": [*others, self._condition(found, cause)]}
            if not _says(before, cause):
                await self._api.patch_status(BENCHMARK_RUNS, namespace, name, changes(before, after), uid=uid)
        except ApiError as error:
            if not (error.not_found or error.final):
                raise
            _LOG.warning("%s/%s cannot be given a condition: %s", namespace, name, error)

    def _condition(self, body: Mapping[str, Any], cause: str) -> dict[str, Any]:
        condition = Condition(
            type=ConditionType.RUNNING,
            status="False",
            reason=Reason.STATUS_UNREADABLE.value,
            message=cause,
            last_transition_time=rfc3339(self._clock()),
            observed_generation=body["metadata"].get("generation"),
        )
        return condition.model_dump(mode="json", by_alias=True, exclude_none=True)


def _says(status: Mapping[str, Any], cause: str) -> bool:
    """Return whether a condition of `status` has this cause."""
    conditions = status.get("conditions") or ()
    return any((c.get("reason"), c.get("message")) == (Reason.STATUS_UNREADABLE, cause) for c in conditions)


def _cause(error: Exception) -> str:
    """Return what cannot be read: the fields of the status, or whatever else went wrong."""
    if isinstance(error, ValidationError):
        text = "; ".join(f"{'.'.join(map(str, ('status', *e['loc'])))}: {e['msg']}" for e in error.errors())
    else:
        text = f"{type(error).__name__}: {error}"
    return printable(" ".join(text.split()))[:_MAX_MESSAGE]
