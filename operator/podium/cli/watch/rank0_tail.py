"""The output of rank 0, line by line, try after try."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from podium.api import AttemptStatus, TryId
from podium.kube import PODS, Api, ApiError, LogStream
from podium.launch import ATTEMPT_LABEL, CONTAINER, RUN_UID_LABEL, TRY_LABEL
from podium.reconcile import Run

_LOOK_SECONDS = 1.0
_FORBIDDEN = 403


class Rank0Tail:
    """Shows the output of rank 0, starting with the try in progress."""

    def __init__(self, api: Api, show: Callable[[TryId, str], None], warn: Callable[[str], None]) -> None:
        """`show` is called with each try and line, `warn` with a sentence if a log cannot be read."""
        self._api = api
        self._show = show
        self._warn = warn
        self._tries: dict[TryId, _Try] = {}
        self._begun = False

    def update(self, run: Run) -> None:
        """Follow the tries that have begun since the last call; read the logs of finished tries to the end."""
        for attempt in run.status.attempts:
            id_ = attempt.id
            if id_ not in self._tries and not (attempt.state.finished and not self._begun):
                self._tries[id_] = _Try(self._api, run, attempt, self._show, self._warn)
            if id_ in self._tries and attempt.state.finished:
                self._tries[id_].end()
        self._begun = True

    async def drain(self, seconds: float) -> None:
        """Wait at most `seconds` for the last lines."""
        tasks = [each.task for each in self._tries.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()


class _Try:
    """The log of one try: finds its pod, then follows the stream."""

    def __init__(
        self,
        api: Api,
        run: Run,
        attempt: AttemptStatus,
        show: Callable[[TryId, str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._api = api
        self._namespace = run.namespace
        self._job = attempt.job
        self._warn = warn
        self._labels = (
            f"{RUN_UID_LABEL}={run.uid},{ATTEMPT_LABEL}={attempt.index},{TRY_LABEL}={attempt.try_},"
            "batch.kubernetes.io/job-completion-index=0"
        )
        self._pod: str | None = None
        self._over = False

        self._stream = LogStream(
            api,
            _Lines(lambda line: show(attempt.id, line)),
            namespace=run.namespace,
            container=CONTAINER,
            pod=lambda: self._pod,
            over=lambda: self._over,
            changed=lambda _: None,
            known_until=time.time(),  # every line is shown as it comes
        )
        self.task = asyncio.create_task(self._run())

    def end(self) -> None:
        """The try has ended: its log no longer grows."""
        self._over = True
        self._stream.wake()

    async def _run(self) -> None:
        try:
            while (pod := await self._look()) is None:
                if self._over:
                    return
                await asyncio.sleep(_LOOK_SECONDS)
        except ApiError as error:
            self._warn(f"cannot read the log: {error}")
            return
        self._pod = pod
        await self._stream.run()

    async def _look(self) -> str | None:
        """The name of rank 0's pod; None until its log can be read. Raises ApiError if reading it is forbidden."""
        try:
            async for bodies, _ in self._api.pages(PODS, self._namespace, self._labels):
                for name in _started(bodies, self._job):
                    async with self._api.log(self._namespace, name, CONTAINER, limitBytes="1"):
                        return name
        except ApiError as error:
            if error.code == _FORBIDDEN:
                raise
        except (aiohttp.ClientError, TimeoutError):
            pass  # the watch of the run reports the outage
        return None


def _started(bodies: Iterable[Mapping[str, Any]], job: str) -> Iterator[str]:
    """The names of the pods that this Job controls and whose trainer has started, so that there is a log.

    Any other pod may carry our labels. A pod that cannot be read is left out.
    """
    for body in bodies:
        with suppress(LookupError, TypeError, AttributeError):
            metadata, statuses = body["metadata"], body["status"]["containerStatuses"]
            owners = metadata["ownerReferences"]
            owned = any(o.get("controller") and (o["kind"], o["name"]) == ("Job", job) for o in owners)
            state: Mapping[str, Any] = next((status["state"] for status in statuses if status["name"] == CONTAINER), {})
            if owned and (state.get("running") or state.get("terminated") or {}).get("startedAt"):
                yield metadata["name"]


class _Lines:
    """A `LogSink` that shows each line and keeps none."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show

    def pieces(self, line: str) -> Sequence[str]:
        return (line,)

    def add(self, line: str, timestamp: str = "") -> bool | None:
        del timestamp
        self._show(line)
        return None

    def key(self, line: str, timestamp: str) -> int | None:
        del line, timestamp
        return None

    def lacks(self, key: int) -> bool:
        del key
        return False

    def arrange(self, keys: Sequence[int]) -> None:
        """Do nothing: what was shown was shown."""

    def end(self) -> None:
        """Do nothing."""
