"""All input and output with the API server."""

from podium.cluster.actions import Actions
from podium.cluster.api import Api, ApiError, connect, connect_as_kubectl
from podium.cluster.controller import Controller, read_run
from podium.cluster.lease import Lease
from podium.cluster.logs import Logs
from podium.cluster.rank0 import Rank0Log
from podium.cluster.recorder import Recorder
from podium.cluster.spectator import Outage, follow_run
from podium.cluster.state import RunState

__all__ = [
    "Actions", "Api", "ApiError", "Controller", "Lease", "Logs", "Outage", "Rank0Log", "Recorder", "RunState",
    "connect", "connect_as_kubectl", "follow_run", "read_run",
]  # fmt: skip
