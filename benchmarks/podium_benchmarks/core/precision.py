"""bf16 and compilation where they pay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def computes_in_bf16(precision: str, device: torch.device) -> bool:
    """For `bf16`, or for `auto` where the hardware has units for it."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 (there is no public query)
    return precision == "bf16" or (precision == "auto" and fast)


def lacks_bf16_lstm(precision: str, device: torch.device) -> bool:
    """Whether torch has no LSTM in bf16 for this CPU: oneDNN's wants AVX-512, and fails where that is missing."""
    if precision != "bf16" or device.type != "cpu":
        return False
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 (there is no public query)


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """An autocast to bf16 where that is computed in; else one that does nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bf16(precision, device))


def product_type(x: torch.Tensor) -> torch.dtype:
    """The type in which a matrix product with x is computed here: autocast's where it is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def cast_once(x: torch.Tensor) -> torch.Tensor:
    """What several layers multiply, in the type that autocast would give each of them a copy in."""
    return x.to(product_type(x))


def is_compiled(setting: str, device: torch.device) -> bool:
    """For `yes`, or for `auto` on a GPU: on a CPU it needs a compiler and takes minutes to gain a few percent."""
    return setting == "yes" or (setting == "auto" and device.type == "cuda")


def compile_training(module: nn.Module, batch_size: int | None = None, *, smallest: int = 0) -> None:
    """Compile what `module` does in training with batches of `batch_size`; None: with whatever shapes.

    All else runs as it is: evaluation, and the odd last batch of an epoch. Each would be compiled again when it first
    occurs, which takes half a minute, and that is on the clock. Where shapes vary, the first is compiled for itself and
    the second as one program for all: warm up with two that differ in every dimension that can vary. In the second,
    these dimensions must differ from each other, too: equal ones are taken for the same one. Sizes of 0 and 1 are never
    the program's for all: where the batch itself varies, those under `smallest` run as they are.
    """
    plain = module.forward
    compiled = torch.compile(plain, dynamic=None if batch_size is None else False)

    def forward(x: Any, *more: Any) -> Any:
        whole = len(x) >= smallest if batch_size is None else len(x) == batch_size
        return (compiled if module.training and whole else plain)(x, *more)

    module.forward = forward
