"""Why a data set was not copied, distinguished by what can be done about it."""

from __future__ import annotations


class StageError(Exception):
    """A person has to fix something: the source is missing or corrupt, or the disk too small. Retrying is no use."""


class StageInterrupted(Exception):  # noqa: N818 - the state of the copying, as its callers speak of it
    """The source stayed unreachable for too long. Another try can resume from here."""
