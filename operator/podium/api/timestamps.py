"""Times as Kubernetes writes them (RFC 3339, UTC) and as Podium computes with them (unix seconds)."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(unix_seconds: float, *, milliseconds: bool = False) -> str:
    """``2023-11-14T22:13:20Z``; fractions of the last digit are cut off.

    Raises ValueError or OverflowError for a time that has no date.
    """
    timespec = "milliseconds" if milliseconds else "seconds"
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def unix_seconds(timestamp: str) -> float:
    """The time that an RFC 3339 timestamp names. Raises ValueError for any other text; one without a zone is UTC."""
    time = datetime.fromisoformat(timestamp)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
