"""Why a data set could not be copied, by what can be done about it."""

from __future__ import annotations


class StageError(Exception):
    """A person has to do something: the source is missing or corrupt, the disk too small. Another try cannot help."""


class StageInterrupted(Exception):  # noqa: N818 - the state of the copy, as its callers speak of it
    """The source could not be reached for too long; another try continues from here."""
