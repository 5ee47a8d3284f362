"""Why a data set is not there, told apart by what can be done about it."""

from __future__ import annotations


class StageError(Exception):
    """A person has to do something: the source is missing or corrupt, the disk too small. Trying again is no use."""


class StageInterrupted(Exception):  # noqa: N818 - the state of the copying, as its callers speak of it
    """The source was out of reach for longer than was waited; another try may go on from here."""
