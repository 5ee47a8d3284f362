"""SGD and LARS with the reference's choice of what decays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.resnet.config import Config

LARS_TRUST = 0.001  # eta of the reference


def build_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD decays all but normalization parameters, the classifier's bias included; LARS skips biases as well."""
    norms = [p for module in model.modules() if isinstance(module, BatchNorm) for p in module.parameters()]
    biases = [p for name, p in model.named_parameters() if name == "classifier.bias"]
    skipped = {id(p) for p in norms + (biases if config.opt_name == "lars" else [])}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in skipped], "weight_decay": config.opt_weight_decay},
        {"params": [p for p in model.parameters() if id(p) in skipped], "weight_decay": 0.0, "adapt": False},
    ]
    if config.opt_name == "lars":
        return Lars(groups, lr=0.0, momentum=config.opt_momentum, epsilon=config.lars_epsilon)
    groups[1].pop("adapt")
    return torch.optim.SGD(groups, lr=0.0, momentum=config.opt_momentum, fused=True)


class Lars(torch.optim.Optimizer):
    """Layer-wise adaptive rates (TensorFlow's MLPERF_LARSOptimizer): velocity = m velocity + lr trust (g + wd w)."""

    def __init__(self, params: Iterable[Any], *, lr: float, momentum: float, epsilon: float) -> None:
        defaults = {"lr": lr, "momentum": momentum, "epsilon": epsilon, "weight_decay": 0.0, "adapt": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every parameter that has a gradient."""
        assert closure is None, "gradients are computed by the caller"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                decay = group["weight_decay"]
                update = weight.grad.add(weight, alpha=decay)
                if group["adapt"]:
                    weight_norm, grad_norm = weight.norm(), weight.grad.norm()
                    trust = LARS_TRUST * weight_norm / (grad_norm + decay * weight_norm + group["epsilon"])
                    update *= torch.where((weight_norm > 0) & (grad_norm > 0), trust, 1.0)
                velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
                velocity.mul_(group["momentum"]).add_(update, alpha=group["lr"])
                weight.sub_(velocity)
