"""How a try is launched: Job and Service manifests, and the command and environment of its processes."""

from podium.launch.contract import (
    ATTEMPT_LABEL,
    RUN_UID_LABEL,
    TRY_LABEL,
    Launch,
    command,
    environment,
    launch_for,
)
from podium.launch.manifests import CONTAINER, PodDefaults, TrainerDefaults, build_job, build_service
from podium.launch.stage import STAGE_CONTAINER, StageCredentials, StageDefaults

__all__ = [
    "ATTEMPT_LABEL",
    "CONTAINER",
    "RUN_UID_LABEL",
    "STAGE_CONTAINER",
    "TRY_LABEL",
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
