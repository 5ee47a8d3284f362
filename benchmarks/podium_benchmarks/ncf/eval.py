"""HR@10: how often the held-out item is among the ten best of the candidates."""

from __future__ import annotations

import torch

from podium_benchmarks.core import dist
from podium_benchmarks.ncf.data import Data

TOP = 10
USERS_AT_ONCE = 1024


@torch.inference_mode()
def evaluate(model: torch.nn.Module, data: Data, autocast: torch.autocast) -> float:
    """Each user once, on one rank; the counts are added up, so all ranks know the same exact rate."""
    counts = torch.zeros(2, dtype=torch.int64, device=data.eval_users.device)  # hits, users
    for users, candidates in zip(
        data.eval_users.split(USERS_AT_ONCE), data.eval_candidates.split(USERS_AT_ONCE), strict=True
    ):
        with autocast:
            scores = model(users.repeat_interleave(candidates.shape[1]), candidates.flatten())
        counts[0] += hits(scores.float().view_as(candidates), candidates).sum()
        counts[1] += len(users)
    hit, seen = dist.sum_over_ranks(counts).tolist()
    assert seen == data.eval_samples, f"evaluated {seen} of {data.eval_samples} users"
    return hit / seen


def hits(scores: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """(M,) whether the first of candidates (M, 1 + n) is among the ten best of its row.

    Candidates drawn twice count once, one equal to the held-out item not at all, and among equal scores the
    held-out item comes last.
    """
    ordered, order = candidates.sort(dim=1, stable=True)  # equal items side by side, the held-out one first of them
    repeated = torch.zeros_like(candidates, dtype=torch.bool)
    repeated.scatter_(1, order[:, 1:], ordered[:, 1:] == ordered[:, :-1])
    not_worse = (scores[:, 1:] >= scores[:, :1]) & ~repeated[:, 1:]
    return not_worse.sum(1) < TOP
