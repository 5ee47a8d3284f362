"""Copy a data set to a node's disk before the clock starts: in parallel, resumable, verified by checksum."""

from podium.staging.copy import CopySummary, stage
from podium.staging.errors import StageError, StageInterrupted
from podium.staging.source import BucketSource, FolderSource, Source, open_source

__all__ = [
    "BucketSource",
    "CopySummary",
    "FolderSource",
    "Source",
    "StageError",
    "StageInterrupted",
    "open_source",
    "stage",
]  # fmt: skip
