"""All input and output with the API server."""

from podium.cluster.actions import Actions
from podium.cluster.api import Api, ApiError, connect
from podium.cluster.controller import Controller
from podium.cluster.lease import Lease
from podium.cluster.logs import Logs
from podium.cluster.recorder import Recorder
from podium.cluster.state import RunState

__all__ = ["Actions", "Api", "ApiError", "Controller", "Lease", "Logs", "Recorder", "RunState", "connect"]
