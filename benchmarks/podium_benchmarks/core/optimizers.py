"""What trainers do with optimizers, whichever they use."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn


class AdamConfig(Protocol):
    """The settings of Adam, named by their MLPerf log keys."""

    @property
    def opt_adam_beta_1(self) -> float: ...
    @property
    def opt_adam_beta_2(self) -> float: ...
    @property
    def opt_adam_epsilon(self) -> float: ...


def adam(model: nn.Module, config: AdamConfig) -> torch.optim.Optimizer:
    """Adam for a model whose learning rate is set at every step.

    lazy_adam is the same for the Transformer: its embedding also gives the logits, so no row is without gradient.
    """
    betas = (config.opt_adam_beta_1, config.opt_adam_beta_2)
    return torch.optim.Adam(model.parameters(), lr=0.0, betas=betas, eps=config.opt_adam_epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group of parameters, times the group's `rate` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
