"""What decays, and LARS by hand."""

import dataclasses

import pytest
import torch

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.resnet import train as trainer
from podium_benchmarks.resnet.config import TINY
from podium_benchmarks.resnet.model import ResNet
from podium_benchmarks.resnet.optimizer import LARS_TRUST, Lars, build_optimizer


@pytest.mark.parametrize(("name", "bias_decays"), [("sgd", True), ("lars", False)])
def test_normalization_never_decays_and_the_classifiers_bias_only_under_sgd(name, bias_decays):
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


def test_lars_over_six_steps_of_the_schedule_by_hand():
    """A convolution's weight adapts and decays, a normalization's and the classifier's bias do neither.

    Scalars stand for tensors of one element, so a norm is an absolute value and the arithmetic fits on a page:
    warm-up to 4 over two steps, then from 4 to 1 within four more by the square of what is left.
    """
    rates = [2.0, 4.0, 4.0, 1 + 3 * 0.75**2, 1 + 3 * 0.5**2, 1 + 3 * 0.25**2]
    config = dataclasses.replace(
        TINY, opt_name="lars", opt_base_learning_rate=4.0, opt_end_learning_rate=1.0, opt_weight_decay=0.1,
        opt_learning_rate_decay_poly_power=2.0,
        opt_learning_rate_warmup_epochs=1, opt_learning_rate_decay_steps=4, lars_epsilon=0.05, opt_momentum=0.9,
    )  # fmt: skip
    model = torch.nn.Module()
    model.conv = torch.nn.Conv2d(1, 1, 1, bias=False)
    model.bn = BatchNorm(1)
    model.classifier = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(model, config)
    named = dict(model.named_parameters())
    values = {"conv.weight": 0.5, "bn.weight": 1.0, "bn.bias": 0.2, "classifier.weight": -0.4, "classifier.bias": 0.3}
    for name, parameter in named.items():
        torch.nn.init.constant_(parameter, values[name])
    gradients = [0.3, -0.2, 0.5, 0.0, 0.1, -0.6]
    velocities = dict.fromkeys(values, 0.0)
    for step, gradient in enumerate(gradients):
        rate = trainer.learning_rate(config, step, steps_per_epoch=2)
        assert rate == pytest.approx(rates[step])
        set_learning_rate(optimizer, rate)
        for parameter in named.values():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        for name, weight in values.items():
            if name in ("conv.weight", "classifier.weight"):
                update = gradient + 0.1 * weight
                if gradient:  # without one there is nothing to adapt to
                    update *= 0.001 * abs(weight) / (abs(gradient) + 0.1 * abs(weight) + 0.05)
            else:
                update = gradient
            velocities[name] = 0.9 * velocities[name] + rate * update
            values[name] = weight - velocities[name]
            assert named[name].item() == pytest.approx(values[name], rel=1e-5), f"{name} after step {step}"


def test_lars_trains_the_tiny_network(launch, log_lines):
    run = launch("resnet", "--seed", "1", "--target", "0.85", "--set", "opt_name=lars",
                 "--set", "opt_base_learning_rate=2", "--set", "max_epochs=12")  # fmt: skip
    lines = log_lines(run.stdout)
    assert lines[-1]["metadata"]["status"] == "success"
    values = {line["key"]: line["value"] for line in lines}
    assert (values["opt_name"], values["lars_epsilon"], values["lars_opt_learning_rate_warmup_epochs"]) == (
        "lars",
        0.0,
        2,
    )
