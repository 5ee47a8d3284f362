"""What trainers do with optimizers, whichever they use."""

from __future__ import annotations

import torch


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group of parameters, times the group's `rate` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
