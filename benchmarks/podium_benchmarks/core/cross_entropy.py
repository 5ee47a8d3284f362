"""Cross-entropy over a large vocabulary, without ever holding the logits of all words."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from podium_benchmarks.core.precision import product_type

# Words whose logits exist at a time. Those of 10,240 words take 1.4 GB in fp32 with a vocabulary of 33,708, and
# autograd keeps three more tensors of that size. A GPU has the memory, and multiplies larger parts faster.
AT_ONCE = {"cpu": 512, "cuda": 8192}


def summed_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, words: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """What cross_entropy(linear(hidden, weight, bias), words, reduction="sum", label_smoothing=smoothing) returns.

    hidden (M, H), weight (V, H), bias (V,), words (M,) int64 -> a scalar in fp32. Gradients are computed with the loss,
    part by part, so that nothing is multiplied twice: ask for the loss only where its backward pass follows.
    """
    how = words, smoothing, product_type(hidden)
    return _SummedCrossEntropy.apply(hidden, weight, bias, how)  # type: ignore[no-any-return]


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        how: tuple[torch.Tensor, float, torch.dtype],
    ) -> torch.Tensor:  # fmt: skip
        words, smoothing, dtype = how
        at_once = AT_ONCE.get(hidden.device.type, AT_ONCE["cuda"])
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        loss_sum = torch.zeros((), device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            matrix, offset = weight.to(dtype), None if bias is None else bias.to(dtype)
            for x, right, grad_x in zip(
                hidden.to(dtype).split(at_once), words.split(at_once), grad_hidden.split(at_once), strict=True
            ):
                loss, grad = _loss_and_gradient(F.linear(x, matrix, offset), right, smoothing)
                loss_sum += loss
                if grad_bias is not None:
                    grad_bias += grad.sum(0)
                grad = grad.to(dtype)
                grad_x.copy_(grad @ matrix)
                grad_weight += grad.t() @ x
                del grad  # before the next part's is there
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return loss_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scaled = (None if grad is None else grad.mul_(grad_loss) for grad in ctx.saved_tensors)
        return *scaled, None


def _loss_and_gradient(
    logits: torch.Tensor, words: torch.Tensor, smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss of (M, V) logits, and its gradient with respect to them in fp32."""
    log_p = F.log_softmax(logits, dim=1, dtype=torch.float32)
    loss = (smoothing - 1) * log_p.gather(1, words.unsqueeze(1)).sum()
    if smoothing:
        loss -= smoothing * log_p.mean(1).sum()
    grad = log_p.exp_().sub_(smoothing / logits.shape[1])  # in place of the largest tensor
    return loss, grad.scatter_add_(1, words.unsqueeze(1), torch.full_like(grad[:, :1], smoothing - 1))
