"""The output of rank 0 as a person follows it, one try after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from podium.api import AttemptStatus, TryId
from podium.controller.pods import read_pod
from podium.kube import PODS, Api, ApiError, LogStream
from podium.launch import ATTEMPT_LABEL, CONTAINER, RUN_UID_LABEL, TRY_LABEL
from podium.reconcile import Container, Run

_LOOK_SECONDS = 1.0
_FORBIDDEN = 403


class Rank0Tail:
    """Prints what rank 0 prints, from the try in progress on. `show` takes a line and the try it is of."""

    def __init__(self, api: Api, show: Callable[[TryId, str], None], tell: Callable[[str], None]) -> None:
        """`tell` takes a sentence when a log cannot be read."""
        self._api = api
        self._show = show
        self._tell = tell
        self._tries: dict[TryId, _Try] = {}
        self._begun = False

    def update(self, run: Run) -> None:
        """Follow the tries that have begun since the last call, and let those that have ended come to their end."""
        for attempt in run.status.attempts:
            id_ = attempt.id
            if id_ not in self._tries and not (attempt.state.finished and not self._begun):
                self._tries[id_] = _Try(self._api, run, attempt, self._show, self._tell)
            if id_ in self._tries and attempt.state.finished:
                self._tries[id_].end()
        self._begun = True

    async def drain(self, seconds: float) -> None:
        """Wait for the last lines, but not longer than `seconds`."""
        tasks = [each.task for each in self._tries.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()


class _Try:
    """The log of one try: its pod is looked for, then its stream is followed."""

    def __init__(
        self,
        api: Api,
        run: Run,
        attempt: AttemptStatus,
        show: Callable[[TryId, str], None],
        tell: Callable[[str], None],
    ) -> None:
        self._api = api
        self._namespace = run.namespace
        self._job = attempt.job
        self._tell = tell
        self._labels = (
            f"{RUN_UID_LABEL}={run.uid},{ATTEMPT_LABEL}={attempt.index},{TRY_LABEL}={attempt.try_},"
            "batch.kubernetes.io/job-completion-index=0"
        )
        self._pod: str | None = None
        self._over = False

        async def nothing() -> bytes:
            return b""

        self._follower = LogStream(
            api,
            _Lines(lambda line: show(attempt.id, line)),
            namespace=run.namespace,
            container=CONTAINER,
            pod=lambda: self._pod,
            over=lambda: self._over,
            restore=nothing,
            changed=lambda _: None,
        )
        self.task = asyncio.create_task(self._run())

    def end(self) -> None:
        """The try has come to its end: what its log holds now is all."""
        self._over = True
        self._follower.wake()

    async def _run(self) -> None:
        try:
            while (pod := await self._look()) is None:
                if self._over:
                    return
                await asyncio.sleep(_LOOK_SECONDS)
        except ApiError as error:
            self._tell(f"no log: {error}")
            return
        self._pod = pod
        await self._follower.run()

    async def _look(self) -> str | None:
        """Rank 0's pod once its log can be read. Raises ApiError when reading it is forbidden."""
        try:
            async for bodies, _ in self._api.pages(PODS, self._namespace, self._labels):
                for container in _of_job(bodies, self._job):
                    if container.started and container.node_index == 0:
                        async with self._api.log(self._namespace, container.name, CONTAINER, limitBytes="1"):
                            return container.name
        except ApiError as error:
            if error.code == _FORBIDDEN:
                raise
        except (aiohttp.ClientError, TimeoutError):
            pass  # the outage is told elsewhere
        return None


def _of_job(bodies: Iterable[Mapping[str, Any]], job: str) -> Iterator[Container]:
    """The containers of the pods that the Job of this name controls; other pods may carry any label."""
    for body in bodies:
        with suppress(LookupError, TypeError, ValueError):
            owners = body["metadata"].get("ownerReferences") or ()
            pod = read_pod(body)
            if pod and any(owner["uid"] == pod.job_uid and owner["name"] == job for owner in owners):
                yield pod.container


class _Lines:
    """A `LogSink` that prints each line once and keeps none."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.last_timestamp = ""
        self._known_until = ""
        self._show = show

    def reconnect(self) -> None:
        self._known_until = self.last_timestamp

    def add(self, line: str, timestamp: str = "") -> bool | None:
        if not timestamp or timestamp > self._known_until:
            self.last_timestamp = max(self.last_timestamp, timestamp)
            self._show(line)
        return None

    def restore(self, checkpoint: bytes) -> None:
        """Nothing was kept."""

    def end(self) -> None:
        """Nothing more to do."""
