"""Learning rates as pure functions of the step, counted from 0: step 0 is the first batch, the rules' batch 1."""

from __future__ import annotations

import math
from collections.abc import Sequence


def linear_warmup(step: int, warmup_steps: int) -> float:
    """Factor (step + 1) / warmup_steps, at most 1: the rules' r0 - (wb - b) * r0 / wb at the b-th batch from 1."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def polynomial(step: int, *, base: float, end: float, warmup_steps: int, decay_steps: int, power: float) -> float:
    """Linear warm-up to `base`, which its last step reaches, then polynomial decay to `end` in `decay_steps` steps."""
    if step < warmup_steps:
        return base * linear_warmup(step, warmup_steps)
    left = 1.0 - min(step + 1 - warmup_steps, decay_steps) / decay_steps
    return end + (base - end) * left**power


def cosine(step: int, *, base: float, end: float, warmup_steps: int, decay_steps: int) -> float:
    """Linear warm-up, which ends with `base` at step `warmup_steps`, then half a cosine to `end` in `decay_steps` more.

    The rate of step s of the warm-up is base * (s + 1) / (warmup_steps + 1) (NeMo's CosineAnnealing).
    """
    if step < warmup_steps:
        return base * (step + 1) / (warmup_steps + 1)
    passed = min(step - warmup_steps, decay_steps) / decay_steps
    return end + (base - end) * 0.5 * (1 + math.cos(math.pi * passed))


def step_decay(step: int, *, base: float, warmup_steps: int, boundaries: Sequence[int], factor: float = 0.1) -> float:
    """Linear warm-up to `base`, then times `factor` from each boundary (in steps) on."""
    passed = sum(step >= boundary for boundary in boundaries)
    return base * linear_warmup(step, warmup_steps) * factor**passed
