"""What a run is part of and where its data is: made once from flags and environment, then passed along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunSettings:
    """Everything about one run but its hyperparameters."""

    seed: int | None = None  # None: drawn from the system's random source
    data_dir: Path | None = None  # None: the trainer's own small data
    round: str | None = None  # whose clock the run keeps, e.g. v0.5; None: the clock of v0.6 and later
    org: str = "podium"
    division: str = "open"
    status: str = "research"
    platform: str = "local"
    poc_name: str = "unnamed"  # point of contact, in the log of v0.6 only
    entry: str | None = None  # in the log of v0.6 only; None: the platform
    cache_cleared: str = ""  # what whoever started the process has cleared already, e.g. node

    @property
    def times_initialization(self) -> bool:
        """Whether the round's clock runs while the model is built."""
        return self.round == "v0.5"


_SUBMISSION_VARIABLES = {
    "org": "PODIUM_SUBMISSION_ORG",
    "division": "PODIUM_DIVISION",
    "status": "PODIUM_SUBMISSION_STATUS",
    "platform": "PODIUM_PLATFORM",
    "poc_name": "PODIUM_SUBMISSION_POC_NAME",
    "entry": "PODIUM_SUBMISSION_ENTRY",
    "cache_cleared": "PODIUM_CACHE_CLEARED",
}


def submission(environment: Mapping[str, str]) -> RunSettings:
    """The settings that only the environment has: who submits what, and which caches were cleared."""
    given = {field: environment[name] for field, name in _SUBMISSION_VARIABLES.items() if name in environment}
    return RunSettings(**given)
