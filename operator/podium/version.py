"""The version of the installed package."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def podium_version() -> str:
    """Return the version, which is read from the disk only once."""
    return version("podium-operator")
