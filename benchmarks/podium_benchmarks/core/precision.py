"""bf16 and compilation where they pay."""

from __future__ import annotations

import torch


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """For `bf16`, or for `auto` where the hardware has units for it, an autocast to it; else one that does nothing."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 (there is no public query)
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and fast))


def is_compiled(setting: str, device: torch.device) -> bool:
    """For `yes`, or for `auto` on a GPU: on a CPU it takes a compiler and minutes for a few per cent."""
    return setting == "yes" or (setting == "auto" and device.type == "cuda")
