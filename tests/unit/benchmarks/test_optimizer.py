"""What decays, and LARS by hand."""

import dataclasses

import pytest
import torch

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.resnet import train as trainer
from podium_benchmarks.resnet.config import FULL, TINY
from podium_benchmarks.resnet.model import ResNet
from podium_benchmarks.resnet.optimizer import LARS_TRUST, Lars, build_optimizer


@pytest.mark.parametrize(("name", "bias_decays"), [("sgd", True), ("lars", False)])
def test_normalization_never_decays_and_the_classifiers_bias_only_under_sgd(name, bias_decays):
    model = ResNet(width=4, blocks=(1, 1, 1, 1), num_classes=10)
    decayed, rest = build_optimizer(model, dataclasses.replace(TINY, opt_name=name)).param_groups
    assert (decayed["weight_decay"], rest["weight_decay"]) == ({"sgd": 1e-4, "lars": 2e-4}[name], 0.0)
    assert len(decayed["params"]) + len(rest["params"]) == len(list(model.parameters()))
    assert all(parameter.dim() > 1 for parameter in decayed["params"] if parameter is not model.classifier.bias)
    assert any(parameter is model.classifier.bias for parameter in decayed["params"]) == bias_decays


@pytest.mark.parametrize("rate_inside", [False, True])
def test_lars_by_hand(rate_inside):
    """With one rate throughout, only the trust of the second step shows where the rate is in the momentum."""
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))  # norm 5
    optimizer = Lars([weight], lr=2.0, momentum=0.9, epsilon=0.0, rate_inside=rate_inside)
    optimizer.param_groups[0]["weight_decay"] = 0.1
    weight.grad = torch.tensor([0.6, 0.8])  # norm 1
    optimizer.step()
    trust = LARS_TRUST * 5 / (1 + 0.1 * 5)
    first = 2.0 * trust * torch.tensor([0.9, 1.2])  # lr trust (g + wd w)
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 4.0]) - first)
    weight.grad = torch.zeros(2)
    before = weight.detach().clone()
    optimizer.step()  # no gradient: no adaptation, so the decay of the weights is not scaled by trust either
    momentum = 0.9 * first if rate_inside else 2.0 * 0.9 * torch.tensor([0.9, 1.2])
    torch.testing.assert_close(weight.detach(), before - momentum - 2.0 * 0.1 * before)


def lars_one_by_one(weight, gradient, velocity, *, rate, decay, epsilon, adapt, rate_inside):
    """One weight and its velocity after one step, by the definition."""
    update = gradient + decay * weight
    if adapt and weight.norm() > 0 and gradient.norm() > 0:
        rate = rate * LARS_TRUST * weight.norm() / (gradient.norm() + decay * weight.norm() + epsilon)
    velocity = 0.9 * velocity + (rate * update if rate_inside else update)
    return weight - (velocity if rate_inside else rate * velocity), velocity


@pytest.mark.parametrize("rate_inside", [False, True])
def test_all_weights_at_once_move_as_one_by_one(rate_inside):
    """Zero weights, zero gradients and weights without a gradient among them."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(8, 3, 3, 3), (5,), (7, 4), (6,), (2, 2)]
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    weights[2].data.zero_()
    groups = [{"params": weights[:3], "weight_decay": 2e-4},
              {"params": weights[3:], "weight_decay": 0.0, "adapt": False}]  # fmt: skip
    optimizer = Lars(groups, lr=0.0, momentum=0.9, epsilon=1e-5, rate_inside=rate_inside)
    wanted = [(weight.detach().clone(), torch.zeros(weight.shape)) for weight in weights]
    for step in range(5):
        set_learning_rate(optimizer, 10.0 / (step + 1))
        for place, weight in enumerate(weights):
            weight.grad = torch.randn(weight.shape, generator=generator) if place != 1 or step % 2 else None
            if place == 3 and step == 2:
                weight.grad.zero_()
            if weight.grad is not None:
                wanted[place] = lars_one_by_one(
                    *(wanted[place][0], weight.grad, wanted[place][1]), rate=10.0 / (step + 1), epsilon=1e-5,
                    decay=2e-4 if place < 3 else 0.0, adapt=place < 3, rate_inside=rate_inside,
                )  # fmt: skip
        optimizer.step()
        for weight, (value, _) in zip(weights, wanted, strict=True):
            torch.testing.assert_close(weight.detach(), value, rtol=1e-6, atol=1e-7)


def momentum_of(optimizer, weight, rates, gradients):
    """The weight after each step."""
    values = []
    for rate, gradient in zip(rates, gradients, strict=True):
        set_learning_rate(optimizer, rate)
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        values.append(weight.item())
    return values


@pytest.mark.parametrize(
    ("form", "values"),
    [
        # v = 0.9 v + g, w -= rate v: v is 1, 0.9, 0.81
        ("rate_outside", [-1.0, -1.09, -1.0981]),
        # v = 0.9 v + rate g, w -= v: v is 1, 0.9, 0.81, whatever the later rates
        ("rate_inside", [-1.0, -1.9, -2.71]),
    ],
)
def test_momentum_form_of_lars_when_the_rate_falls(form, values):
    """A push of 1 at rate 1, then none at rates 0.1 and 0.01: a bias, so that nothing adapts.

    v0.6's reference is tf.contrib.opt.LARSOptimizer, which scales what leaves the momentum; MLPERF_LARSOptimizer of
    v0.7 scales what enters it.
    """
    config = dataclasses.replace(TINY, opt_name="lars", opt_momentum=0.9, lars_momentum_form=form)
    model = torch.nn.Module()
    model.classifier = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.classifier.bias)
    optimizer = build_optimizer(model, config)
    assert momentum_of(optimizer, model.classifier.bias, [1, 0.1, 0.01], [1.0, 0.0, 0.0]) == pytest.approx(values)


def test_momentum_form_of_sgd_when_the_rate_falls():
    """v0.5's reference is tf.train.MomentumOptimizer: the rate is outside."""
    config = dataclasses.replace(TINY, opt_momentum=0.9, opt_weight_decay=0.0)
    model = torch.nn.Module()
    model.classifier = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.classifier.bias)
    optimizer = build_optimizer(model, config)
    found = momentum_of(optimizer, model.classifier.bias, [1, 0.1, 0.01], [1.0, 0.0, 0.0])
    assert found == pytest.approx([-1.0, -1.09, -1.0981])


def test_full_is_v06s_form():
    assert (FULL.opt_name, FULL.lars_momentum_form) == ("lars", "rate_outside")


def test_lars_over_six_steps_of_the_schedule_by_hand():
    """A convolution's weight adapts and decays, a normalization's and the classifier's bias do neither.

    Scalars stand for tensors of one element, so a norm is an absolute value and the arithmetic fits on a page:
    warm-up to 4 over two steps, then from 4 to 1 within four more by the square of what is left.
    """
    rates = [2.0, 4.0, 1 + 3 * 0.75**2, 1 + 3 * 0.5**2, 1 + 3 * 0.25**2, 1.0]
    config = dataclasses.replace(
        TINY, opt_name="lars", opt_base_learning_rate=4.0, opt_end_learning_rate=1.0, lars_opt_weight_decay=0.1,
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
                update, trust = gradient + 0.1 * weight, 1.0
                if gradient:  # without one there is nothing to adapt to
                    trust = 0.001 * abs(weight) / (abs(gradient) + 0.1 * abs(weight) + 0.05)
            else:
                update, trust = gradient, 1.0
            velocities[name] = 0.9 * velocities[name] + update
            values[name] = weight - rate * trust * velocities[name]
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
