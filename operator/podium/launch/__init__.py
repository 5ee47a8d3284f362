"""How a try is launched: Job and Service manifests, and the command and environment of its processes."""

from podium.launch.contract import (
    ATTEMPT_LABEL,
    RUN_UID_LABEL,
    SEED_ANNOTATION,
    TRY_LABEL,
    Launch,
    command,
    environment,
    launch_for,
    new_seed,
)
from podium.launch.manifests import CONTAINER, QUEUE_LABEL, PodDefaults, TrainerDefaults, build_job, build_service
from podium.launch.stage import STAGE_CONTAINER, StageCredentials, StageDefaults

__all__ = [
    "ATTEMPT_LABEL",
    "CONTAINER",
    "QUEUE_LABEL",
    "RUN_UID_LABEL",
    "SEED_ANNOTATION",
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
    "new_seed",
]  # fmt: skip
