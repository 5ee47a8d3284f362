"""Which epochs are evaluated, and what a ResNet-50 of full size computes."""

import dataclasses

import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.precision import mixed_precision
from podium_benchmarks.resnet import train as trainer
from podium_benchmarks.resnet.config import FULL, TINY
from podium_benchmarks.resnet.optimizer import build_optimizer


@pytest.mark.parametrize(
    ("settings", "blocks"),
    [
        ({"max_epochs": 3, "epochs_between_evals": 1}, ["1", "2", "3"]),
        ({"max_epochs": 10, "epochs_between_evals": 4}, ["1-4", "5-8", "9-10"]),
        ({"max_epochs": 10, "epochs_between_evals": 4, "eval_offset_epochs": 2}, ["1-2", "3-6", "7-10"]),
        ({"max_epochs": 9, "epochs_between_evals": 1, "eval_offset_epochs": 7}, ["1-7", "8", "9"]),
        ({"max_epochs": 3, "epochs_between_evals": 4}, ["1-3"]),
        ({"max_epochs": 3, "eval_offset_epochs": 8}, ["1-3"]),
    ],
)
def test_epochs_are_cut_after_those_evaluated_and_the_last_one_always_is(settings, blocks):
    found = dataclasses.replace(FULL, **settings).blocks_of_epochs()
    assert [f"{block[0]}-{block[-1]}" if len(block) > 1 else str(block[0]) for block in found] == blocks


def test_full_is_evaluated_every_four_epochs():
    assert [block[-1] for block in FULL.blocks_of_epochs()] == [*range(4, 89, 4), 90]


def test_lars_decays_by_a_polynomial_and_logs_no_boundary():
    """Whatever boundaries are set: they are those of SGD."""
    lars = dataclasses.replace(FULL, opt_learning_rate_decay_boundary_epochs=(30, 60, 80))
    assert not [key for key in lars.log_values(8) if "boundary" in key]
    rates = [trainer.learning_rate(lars, step, steps_per_epoch=770) for step in (0, 3849, 3850, 29 * 770, 55_439)]
    assert rates == pytest.approx([5 / 3850, 5.0, 4.999806, 2.059413, 1e-4], abs=1e-6)
    sgd = dataclasses.replace(lars, opt_name="sgd")
    assert sgd.log_values(8)["opt_learning_rate_decay_boundary_epochs"] == [30, 60, 80]
    assert not [key for key in sgd.log_values(8) if "poly" in key or "end_learning_rate" in key]
    assert trainer.learning_rate(sgd, 30 * 770, steps_per_epoch=770) == pytest.approx(0.5)


def test_tiny_reaches_its_target_at_the_second_evaluation(launch, log_lines):
    """As with every seed of perf_resnet_seeds.py: what makes the demo's times alike."""
    lines = log_lines(launch("resnet", "--seed", "11").stdout)
    early, late = ((line["metadata"]["epoch_num"], line["value"]) for line in lines if line["key"] == "eval_accuracy")
    assert (early[0], late[0], TINY.target) == (3, 8, 0.96)
    assert early[1] < 0.94
    assert late[1] >= TINY.target


@pytest.mark.parametrize("opt_name", ["sgd", "lars"])
def test_a_step_of_the_full_network_at_224_pixels(opt_name):
    """Forward, backward, optimizer: 25,557,032 parameters move, none becomes infinite, the loss of the batch falls."""
    ranks = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
    config = dataclasses.replace(FULL, opt_name=opt_name)
    model = trainer.build_model(config, 7, ranks)
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = build_optimizer(model, config)
    set_learning_rate(optimizer, {"sgd": 0.01, "lars": 5.0}[opt_name])
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (4, 3, 224, 224), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([1, 10, 100, 999])
    losses = []
    for _ in range(2):
        autocast = mixed_precision("auto", ranks.device)
        loss = trainer.forward_backward(model, images, labels, smoothing=0.1, scale=1 / 4, autocast=autocast)
        losses.append(loss.item() / 4)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert losses[0] == pytest.approx(6.9, abs=0.5)  # ln 1000
    assert losses[1] < losses[0]
    for old, parameter in zip(before, model.parameters(), strict=True):
        assert torch.isfinite(parameter).all()
        assert not torch.equal(old, parameter)
