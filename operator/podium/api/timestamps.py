"""Converts between Kubernetes' timestamps (RFC 3339, UTC) and Podium's (unix seconds)."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(unix_seconds: float, *, milliseconds: bool = False) -> str:
    """Format a time as ``2023-11-14T22:13:20Z``; anything below the last digit is truncated.

    Raises ValueError or OverflowError for a time out of range.
    """
    timespec = "milliseconds" if milliseconds else "seconds"
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def unix_seconds(timestamp: str) -> float:
    """Parse an RFC 3339 timestamp, taking UTC if it has no zone. Raises ValueError for any other text."""
    time = datetime.fromisoformat(timestamp)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
