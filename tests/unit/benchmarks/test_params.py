"""The full models are the reference's, to the last parameter."""

import pytest
import torch

from podium_benchmarks import benchmarks
from podium_benchmarks.resnet.config import TINY
from podium_benchmarks.resnet.model import ResNet, initialize


def test_full_models_have_the_reference_parameter_counts():
    counts = {record.name: record.parameter_count() for record in benchmarks()}
    assert counts == counts | {
        "resnet": 25_557_032,
        "ssd": 19_972_534,
        "maskrcnn": 44_347_573,
        "gnmt": 160_671_297,
        "transformer": 210_804_736,
        "ncf": 31_832_577,
        "minigo": 190_775,
        "llama31_8b": 8_030_261_248,
    }


def test_resnet_has_161_tensors_and_the_stride_in_the_3x3():
    with torch.device("meta"):
        model = ResNet(width=64, blocks=(3, 4, 6, 3), num_classes=1000)
    assert len(list(model.parameters())) == 161
    strided = model.stages[3]
    assert (strided.conv1.stride, strided.conv2.stride) == ((1, 1), (2, 2))
    assert (model.bn.eps, model.bn.momentum) == (1e-5, 0.1)


def test_convolutions_start_with_variance_one_over_fan_in():
    torch.manual_seed(0)
    model = ResNet(width=16, blocks=TINY.blocks, num_classes=10)
    initialize(model)
    weight = model.stages[3].conv2.weight  # (128, 128, 3, 3)
    assert weight.var().item() == pytest.approx(1 / (128 * 9), rel=0.03)
    assert model.classifier.bias.abs().sum() == 0
