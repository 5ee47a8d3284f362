"""Batch normalization whose statistics may span all ranks; unlike torch's SyncBatchNorm it also runs on CPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization of (B, C, H, W) over this rank's samples; if `span_ranks`, over those of `group`'s ranks.

    With `span_ranks` a step gives the same result however many ranks share the global batch, and also when their
    shards differ in size; one rank takes the same way, as torch's own sums of channels-last values on CPUs are off by
    1e-4.
    """

    span_ranks: bool = False
    group: dist.ProcessGroup | None = None  # None: all ranks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.span_ranks:
            normed, mean, variance, count = _NormAcrossRanks.apply(x, self.weight, self.bias, (self.eps, self.group))
            with torch.no_grad():
                unbiased = variance * (count / (count - 1).clamp(min=1))
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(unbiased, self.momentum)
            return normed
        # One value has no variance, and a rank may get no sample of a short last batch: normalize those as in
        # evaluation instead of failing.
        enough = x.numel() // x.shape[1] > 1
        return torch.batch_norm(
            x, self.weight, self.bias, self.running_mean, self.running_var, self.training and enough,
            self.momentum, self.eps, torch.backends.cudnn.enabled,
        )  # fmt: skip


def share_statistics(model: nn.Module, count: int, world_size: int) -> None:
    """Let every batch normalization of `model` take its statistics over `count` neighboring ranks; 0: over its batch.

    Every rank must call it: groups of ranks are made together.
    """
    group = None
    if 0 < count < world_size:
        group, _ = dist.new_subgroups(count)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.span_ranks, module.group = count > 0, group


class _NormAcrossRanks(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, with mean and biased var over B, H, W of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps_and_group: tuple[float, dist.ProcessGroup | None],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        (eps, group), values = eps_and_group, x.float()
        local_count = values.numel() // values.shape[1]
        if local_count:
            local_variance, local_mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)  # (C,)
        else:
            local_variance = local_mean = values.new_zeros(values.shape[1])
        local = torch.stack([local_mean, local_variance, torch.full_like(local_mean, local_count)])
        gathered = [local]
        if dist.is_initialized():
            gathered = [torch.empty_like(local) for _ in range(dist.get_world_size(group))]
            dist.all_gather(gathered, local, group)
        means, variances, counts = torch.stack(gathered, dim=1)  # each (ranks, C)
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        # Chan et al.: squared deviations from the common mean, without the cancellation of E[x^2] - E[x]^2
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        inverse_std = torch.rsqrt(variance + eps)
        scale = weight * inverse_std
        normed = torch.addcmul(_per_channel(bias - mean * scale), values, _per_channel(scale))
        ctx.save_for_backward(x, weight, mean, inverse_std, count)
        ctx.group = group
        ctx.mark_non_differentiable(mean, variance, count)
        return normed.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        dy = grad.float()
        x_hat = (x.float() - _per_channel(mean)) * _per_channel(inverse_std)
        bias_grad = dy.sum((0, 2, 3))
        weight_grad = (dy * x_hat).sum((0, 2, 3))
        sums = torch.stack([bias_grad, weight_grad])  # of this rank; DistributedDataParallel adds up the parameters'
        if dist.is_initialized():
            dist.all_reduce(sums, group=ctx.group)
        mean_dy, mean_dy_x_hat = sums / count
        dx = (dy - _per_channel(mean_dy) - x_hat * _per_channel(mean_dy_x_hat)) * _per_channel(weight * inverse_std)
        return dx.to(x.dtype), weight_grad, bias_grad, None


def _per_channel(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1)
