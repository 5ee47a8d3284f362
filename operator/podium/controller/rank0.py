"""The pod whose log is that of a try: rank 0's, as the watches show it, or else as the API server has it."""

from __future__ import annotations

from podium.api import TryId
from podium.controller.informers import pods_of_job
from podium.controller.state import RunState
from podium.kube import Api
from podium.reconcile import Container


class Rank0Pod:
    """Rank 0's pod of one try. `inherited` if an earlier process may have seen it."""

    def __init__(self, api: Api, state: RunState, id_: TryId, *, inherited: bool) -> None:
        self._api = api
        self._state = state
        self._id = id_
        self._inherited = inherited
        self._found: Container | None = None  # by `look`

    @property
    def container(self) -> Container | None:
        return self._state.observation.rank0(self._id, self._found)

    def name(self) -> str | None:
        """Return the pod's name while it may exist."""
        container = self.container
        return container.name if container and (container.end_reported or container.stopped != "Deleted") else None

    def started(self) -> bool:
        """Return whether its container has ever run, as far as that is known."""
        container, job = self.container, self._state.observation.jobs.get(self._id)
        if container is None:
            return self._inherited or (job is not None and job.finished == "Complete")
        return container.started is not None

    def exited(self) -> bool:
        """Return whether its kubelet has said that its container has ended: a pod may also vanish with its node."""
        container = self.container
        return container is not None and container.end_reported

    def over(self) -> bool:
        """Return whether its container has printed everything it can."""
        return self._state.observation.silent(self._id)

    async def look(self) -> None:
        """Ask the API server for the pod if no watch has shown it: a watch may lag behind that of the Jobs.

        Raises ApiError, aiohttp.ClientError and TimeoutError.
        """
        if self.container is not None:
            return
        job, run = self._state.observation.jobs.get(self._id), self._state.run
        attempt = next((a for a in run.status.attempts if a.id == self._id), None)
        owner = job.uid if job else attempt and attempt.job_uid
        async for _, pod in pods_of_job(self._api, run, owner or ""):
            if pod and pod.container.node_index == 0:
                self._found = pod.container
