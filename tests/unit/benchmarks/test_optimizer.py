"""What decays, and LARS by hand."""

import dataclasses

import pytest
import torch

from podium_benchmarks.resnet.config import TINY
from podium_benchmarks.resnet.model import ResNet
from podium_benchmarks.resnet.optimizer import LARS_TRUST, Lars, build_optimizer


@pytest.mark.parametrize(("name", "bias_decays"), [("sgd", True), ("lars", False)])
def test_normalisation_never_decays_and_the_classifiers_bias_only_under_sgd(name, bias_decays):
    model = ResNet(width=4, blocks=(1, 1, 1, 1), num_classes=10)
    decayed, rest = build_optimizer(model, dataclasses.replace(TINY, opt_name=name)).param_groups
    assert (decayed["weight_decay"], rest["weight_decay"]) == (TINY.opt_weight_decay, 0.0)
    assert len(decayed["params"]) + len(rest["params"]) == len(list(model.parameters()))
    assert all(parameter.dim() > 1 for parameter in decayed["params"] if parameter is not model.classifier.bias)
    assert any(parameter is model.classifier.bias for parameter in decayed["params"]) == bias_decays


def test_lars_by_hand():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))  # norm 5
    optimizer = Lars([weight], lr=2.0, momentum=0.9, epsilon=0.0)
    optimizer.param_groups[0]["weight_decay"] = 0.1
    weight.grad = torch.tensor([0.6, 0.8])  # norm 1
    optimizer.step()
    trust = LARS_TRUST * 5 / (1 + 0.1 * 5)
    first = 2.0 * trust * torch.tensor([0.9, 1.2])  # lr trust (g + wd w)
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 4.0]) - first)
    weight.grad = torch.zeros(2)
    before = weight.detach().clone()
    optimizer.step()  # no gradient: no adaptation, velocity 0.9 first + lr wd w
    torch.testing.assert_close(weight.detach(), before - 0.9 * first - 2.0 * 0.1 * before)
