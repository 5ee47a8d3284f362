"""The progress line of a run's status."""

from __future__ import annotations

from podium.api import AttemptState, AttemptStatus, Progress, rfc3339
from podium.mllog import LogSummary
from podium.reconcile.model import Observed, ObservedLog
from podium.rules import Goal


def progress(shown: AttemptStatus | None, observed: Observed, goal: Goal, before: Progress | None) -> Progress | None:
    """Return the progress of the try to show. `before` is the status so far."""
    if shown is None:
        return None
    summary = observed.logs.get(shown.id, ObservedLog()).summary
    attempt, ratio = f"{shown.index}/{goal.attempts}"[:16], goal.ratio(summary)
    known = before.quality_ratio if before and before.attempt == attempt and shown.quality else None
    finish = finish_time(summary) if shown.state is AttemptState.TRAINING else None
    return Progress(
        attempt=attempt,
        epoch=f"{summary.epoch:.4g}" if summary.epoch is not None else shown.epochs,
        samples=summary.samples,
        quality=shown.quality,
        target=goal.text,
        quality_ratio=known if ratio is None else f"{ratio:.3g}",
        throughput=f"{summary.throughput:.4g}" if summary.throughput is not None else None,
        eta=_timestamp(finish),
    )


def finish_time(summary: LogSummary) -> float | None:
    """Return the unix time at which the attempt reaches its maximum number of epochs; it may converge earlier.

    None as long as the log does not contain enough to compute it.
    """
    known = (summary.samples, summary.throughput, summary.train_samples, summary.max_epochs, summary.last_event_time)
    if not all(known):
        return None
    samples, rate, epoch_samples, epochs, at = (float(value or 0) for value in known)
    return at + max(0.0, epochs * epoch_samples - samples) / rate


def _timestamp(seconds: float | None) -> str | None:
    """Return a time of a log as a timestamp; None for one that no calendar has."""
    try:
        return None if seconds is None else rfc3339(seconds, milliseconds=True)
    except (ValueError, OverflowError):
        return None
