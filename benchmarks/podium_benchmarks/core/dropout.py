"""Dropout whose random numbers and masks don't dominate a network's step on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

LEVELS = 1 << 16  # four draws from one 64-bit random number


class Dropout(nn.Module):
    """As nn.Dropout, with p in steps of 1 / 65,536 on CPUs: bernoulli_ draws one number at a time, on one core.

    It took 28 % of a training step of the tiny Transformer.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        dropped = round(self.p * LEVELS)
        kept = (draws[: x.numel()] >= dropped - LEVELS // 2).view(x.shape)
        return _Kept.apply(x, kept, LEVELS / (LEVELS - dropped))  # type: ignore[no-any-return]


class _Kept(torch.autograd.Function):
    """x where `kept`, scaled, else 0. Autograd would keep the factors, in x's type, where a byte each is enough."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kept: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return x * kept.to(x.dtype).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return kept.to(grad.dtype).mul_(ctx.scale).mul_(grad), None, None
