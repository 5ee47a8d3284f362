"""Compare a scored entry with the reference convergence points of its round."""

from __future__ import annotations

from podium.mlcommons import Convergence, convergence, counted_in_samples
from podium.mllog import LogSummary
from podium.submissions.entries import ScoredResult

_MOST_EPOCHS = 1000  # of BERT: larger numbers are samples


def convergence_of_entry(entry: ScoredResult) -> Convergence:
    """Compare how fast the attempts converged with how fast the reference does."""
    counts = [
        _count(entry, entry.logs[index]) if verdict.converged else None for index, verdict in entry.verdicts.items()
    ]
    sizes = {log.global_batch_size for log in entry.logs.values() if log.lines}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return convergence(entry.round, entry.benchmark, size, counts, entry.rule.drop_fastest)


def _count(entry: ScoredResult, log: LogSummary) -> float | None:
    """Epochs or samples at the last evaluation; with two metrics, at the first that reached both (Stable Diffusion)."""
    both = entry.goal.reached(log) if len(entry.target) > 1 else None
    last = both or (log.evaluations[-1] if log.evaluations else None)
    if last is None:
        return None
    count = last.samples if counted_in_samples(entry.benchmark) else last.epoch
    if entry.benchmark == "bert" and (count is None or count < _MOST_EPOCHS):
        count = log.train_samples  # its points count samples; some logs have them in epoch_num, others here
    return None if count is None else round(count, 3)
