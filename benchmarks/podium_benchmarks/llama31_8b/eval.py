"""Validation log perplexity: the mean cross-entropy of the held-out sequences' tokens, in nats."""

from __future__ import annotations

import torch

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.llama31_8b.config import Config
from podium_benchmarks.llama31_8b.data import Data
from podium_benchmarks.llama31_8b.model import Llama
from podium_benchmarks.llama31_8b.parallel import release


@torch.no_grad()
def evaluate(model: Llama, data: Data, config: Config, ranks: Ranks) -> float:
    """Over all ranks, each sequence counted once."""
    loss_sum = torch.zeros((), dtype=torch.float64, device=ranks.device)
    for inputs, targets in data.validation():
        loss_sum += model(inputs, targets)
    release(model)
    return float(dist.sum_over_ranks(loss_sum).item()) / (config.eval_samples * config.max_sequence_length)
