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
from podium.launch.defaults import NetworkDefaults, PodDefaults, TrainerDefaults
from podium.launch.manifests import (
    CONTAINER,
    QUEUE_LABEL,
    build_job,
    build_network_policy,
    build_pod_group,
    build_service,
)
from podium.launch.pinning import Inputs, with_image_digest, without_texts
from podium.launch.policy import Allow
from podium.launch.stage import STAGE_CONTAINER, STAGE_FOLDER_CONTAINER, StageCredentials, StageDefaults

__all__ = [
    "ATTEMPT_LABEL",
    "CONTAINER",
    "QUEUE_LABEL",
    "RUN_UID_LABEL",
    "SEED_ANNOTATION",
    "STAGE_CONTAINER",
    "STAGE_FOLDER_CONTAINER",
    "TRY_LABEL",
    "Allow",
    "Inputs",
    "Launch",
    "NetworkDefaults",
    "PodDefaults",
    "StageCredentials",
    "StageDefaults",
    "TrainerDefaults",
    "build_job",
    "build_network_policy",
    "build_pod_group",
    "build_service",
    "command",
    "environment",
    "launch_for",
    "new_seed",
    "with_image_digest",
    "without_texts",
]  # fmt: skip
