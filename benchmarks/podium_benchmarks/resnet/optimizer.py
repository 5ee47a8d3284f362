"""SGD and LARS with the reference's choice of what decays."""
# ruff: noqa: SLF001 (torch's own optimizers update all tensors at once by these operations; they have no public names)

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
        {"params": [p for p in model.parameters() if id(p) not in skipped], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if id(p) in skipped], "weight_decay": 0.0, "adapt": False},
    ]
    if config.opt_name == "lars":
        return Lars(groups, lr=0.0, momentum=config.opt_momentum, epsilon=config.lars_epsilon,
                    rate_inside=config.lars_momentum_form == "rate_inside")  # fmt: skip
    groups[1].pop("adapt")
    return torch.optim.SGD(groups, lr=0.0, momentum=config.opt_momentum, fused=True)


class Lars(torch.optim.Optimizer):
    """Layer-wise adaptive rates, trust = eta |w| / (|g| + wd |w| + epsilon), with the rate outside of the momentum
    or inside of it.

    Outside: v = m v + g + wd w; w -= lr trust v   (tf.contrib.opt.LARSOptimizer, v0.6's reference)
    Inside:  v = m v + lr trust (g + wd w); w -= v   (MLPERF_LARSOptimizer of v0.7 and later)
    """

    def __init__(self, params: Iterable[Any], *, lr: float, momentum: float, epsilon: float, rate_inside: bool) -> None:
        self._rate_inside = rate_inside
        defaults = {"lr": lr, "momentum": momentum, "epsilon": epsilon, "weight_decay": 0.0, "adapt": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every parameter that has a gradient."""
        assert closure is None, "gradients are computed by the caller"
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if weight not in self.state:
                    self.state[weight]["velocity"] = torch.zeros_like(weight)
            gradients, velocities = [w.grad for w in weights], [self.state[w]["velocity"] for w in weights]
            rates = _rates(group, weights, gradients)
            updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(velocities, group["momentum"])
            if self._rate_inside:
                torch._foreach_mul_(updates, rates)
                torch._foreach_add_(velocities, updates)
                torch._foreach_sub_(weights, velocities)
            else:
                torch._foreach_add_(velocities, updates)
                torch._foreach_sub_(weights, torch._foreach_mul(velocities, rates))


def _rates(group: dict[str, Any], weights: list[torch.Tensor], gradients: list[torch.Tensor]) -> Any:
    """The rate of each weight, times its trust where that adapts; the host doesn't wait for any."""
    if not group["adapt"]:
        return group["lr"]
    weight_norms, grad_norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, gradients))
    trust = LARS_TRUST * weight_norms / (grad_norms + group["weight_decay"] * weight_norms + group["epsilon"])
    return (group["lr"] * torch.where((weight_norms > 0) & (grad_norms > 0), trust, 1.0)).unbind()
