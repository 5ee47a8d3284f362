"""How a try is launched: Job and Service manifests, and processes of this machine."""

from podium.launch.contract import Launch, command, environment, launch_for
from podium.launch.manifests import CONTAINER, PodDefaults, TrainerDefaults, build_job, build_service
from podium.launch.stage import STAGE_CONTAINER, StageCredentials, StageDefaults

__all__ = [
    "CONTAINER",
    "STAGE_CONTAINER",
    "Launch",
    "PodDefaults",
    "StageCredentials",
    "StageDefaults",
    "TrainerDefaults",
    "build_job",
    "build_service",
    "command",
    "environment",
    "launch_for",
]  # fmt: skip
