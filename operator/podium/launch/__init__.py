"""How a try is launched: Job and Service manifests, and processes of this machine."""

from podium.launch.contract import Launch, command, environment, launch_for
from podium.launch.manifests import CONTAINER, PodDefaults, TrainerDefaults, build_job, build_service

__all__ = [
    "CONTAINER",
    "Launch",
    "PodDefaults",
    "TrainerDefaults",
    "build_job",
    "build_service",
    "command",
    "environment",
    "launch_for",
]  # fmt: skip
