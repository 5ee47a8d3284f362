"""Compilation happens before the clock starts, or not at all."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from podium_benchmarks.core.precision import compile_training


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many programs have been made; they are run by Python, which needs no compiler."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    return lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_only_whole_training_batches_are_compiled(compilations):
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    compile_training(module, 4)
    module(torch.ones(4, 3)).sum().backward()
    assert compilations() == 1
    module(torch.ones(3, 3)).sum().backward()  # the last batch of an epoch
    module.eval()
    with torch.inference_mode():
        module(torch.ones(4, 3))
    module.train()
    module(torch.ones(4, 3))
    assert compilations() == 1


def test_after_two_sizes_images_of_any_size_run_through_one_program(compilations):
    module = nn.Conv2d(3, 2, 3)
    compile_training(module)
    for height, width in ((32, 64), (96, 48), (64, 64), (32, 48), (80, 96), (32, 64)):
        module(torch.ones(2, 3, height, width)).sum().backward()
    assert compilations() == 2
