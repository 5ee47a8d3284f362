"""The operations of a training step by formula, beside those that torch counts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import podium_benchmarks

CLASSES = 5  # of the tiny detector, which takes them from its data
SIDES = {"resnet": None, "ssd": 300}


@pytest.mark.parametrize("preset", ["tiny", "full"])
@pytest.mark.parametrize("name", SIDES)
def test_a_step_on_an_image_takes_as_many_operations_as_torch_counts(name, preset):
    """On the meta device nothing is computed, only counted. No operation of these networks is left out."""
    record = podium_benchmarks.benchmark(name)
    model, config = record.load("model"), record.presets[preset]
    config = dataclasses.replace(config, num_classes=config.num_classes or CLASSES)
    side = SIDES[name] or config.image_size
    with torch.device("meta"):
        network, images = model.full_model(config), torch.empty(2, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        found = network(images)
        sum(one.sum() for one in (found if isinstance(found, tuple) else (found,))).backward()
    assert model.tensor_flops_per_image(config) * 2 == counter.get_total_flops()
