"""Top-1 accuracy over all ranks."""

from __future__ import annotations

import torch

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.resnet.data import Data, normalize


@torch.inference_mode()
def evaluate(model: torch.nn.Module, data: Data, ranks: Ranks, autocast: torch.autocast) -> float:
    """Each image once, on one rank; the counts are added up, so all ranks know the same exact accuracy."""
    # Ranks have seen different samples: all must score the same network.
    dist.average_over_ranks([buffer for buffer in model.buffers() if buffer.is_floating_point()])
    model.eval()
    counts = torch.zeros(2, dtype=torch.int64, device=ranks.device)  # correct, seen
    for images, labels in data.evaluation(ranks):  # (B, 3, H, W) uint8, (B,)
        with autocast:
            predicted = model(normalize(images)).argmax(1)
        counts[0] += (predicted == labels).sum()
        counts[1] += len(labels)
    model.train()
    correct, seen = dist.sum_over_ranks(counts).tolist()
    assert seen == data.eval_samples, f"evaluated {seen} of {data.eval_samples} images"
    return correct / seen
