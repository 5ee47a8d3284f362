"""Compare a scored entry with the reference convergence points of its round."""

from __future__ import annotations

from podium.scoring import Convergence, convergence
from podium.submissions.entries import ScoredResult
from podium.submissions.scaling import batch_size


def convergence_of_entry(entry: ScoredResult) -> Convergence:
    """Compare how fast the attempts converged with how fast the reference does."""
    counts = [
        entry.goal.converged_after(entry.logs[index]) if verdict.converged else None
        for index, verdict in entry.verdicts.items()
        if entry.score.counts(index)
    ]
    size = batch_size(entry.logs.values())
    return convergence(entry.round, entry.benchmark, entry.rules, size, counts)
