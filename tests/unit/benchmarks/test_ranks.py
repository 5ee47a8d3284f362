"""A run does not depend on how many ranks share it."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.unit.benchmarks.conftest import trainer_environment
from torch.nn import functional

from podium_benchmarks.core import checks
from podium_benchmarks.core.batch_norm import BatchNorm, share_statistics
from podium_benchmarks.core.dist import Ranks, replicate, shard
from podium_benchmarks.resnet.model import ResNet

# A small rate: training amplifies rounding, and at 0.02 even one rank with two threads instead of one is off by 1e-2
# after 12 steps. 1,437 digits in batches of 250: 6 steps an epoch, the last of 187.
RESNET = ("--set", "global_batch_size=250", "--set", "model_bn_span=250", "--set", "precision=fp32",
          "--set", "max_epochs=4", "--set", "opt_base_learning_rate=0.001")  # fmt: skip
# 400 users x 15 training ratings x 5 = 30,000 pairs in batches of 5,003: 6 steps an epoch, the last of 4,985, odd.
NCF = ("--set", "generated_users=400", "--set", "generated_ratings=16", "--set", "global_batch_size=5003",
       "--set", "max_epochs=4")  # fmt: skip
SHARED = ("--seed", "3", "--target", "1.0", "--set", "stats_interval_seconds=0")


@pytest.mark.parametrize(("benchmark_name", "settings"), [("resnet", RESNET), ("ncf", NCF)])
def test_one_and_two_ranks_give_the_same_loss_curve(benchmark_name, settings, launch, launch_process, log_lines):
    arguments = (*SHARED, *settings)
    losses, qualities, ranks = [], [], []
    for run in (launch(benchmark_name, *arguments), launch_process(benchmark_name, *arguments, ranks=2)):
        assert run.returncode == 0, run.stderr
        lines = log_lines(run.stdout)
        losses.append([line["value"]["loss"] for line in lines if line["key"] == "tracked_stats"])
        qualities.append([line["value"] for line in lines if line["key"] == "eval_accuracy"])
        ranks += [line["value"] for line in lines if line["key"] == "number_of_ranks"]
    assert len(losses[0]) == 24
    assert losses[1][:20] == pytest.approx(losses[0][:20], rel=1e-4)
    assert qualities[1] == pytest.approx(qualities[0], abs=0.02)
    assert ranks == [1, 2]


def _normalize_a_shard(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(1)
    x, upstream, layer = _batch_and_layer()
    layer.span_ranks = True
    mine = slice(0, 5) if rank == 0 else slice(5, 7)  # uneven shards
    shard = x[mine].clone().requires_grad_()
    y = layer(shard)
    (y * upstream[mine]).sum().backward()
    torch.save((y.detach(), shard.grad, layer.weight.grad, layer.bias.grad, layer.running_var, layer.running_mean),
               f"{folder}/{rank}.pt")  # fmt: skip
    dist.destroy_process_group()


def _batch_and_layer() -> tuple[torch.Tensor, torch.Tensor, BatchNorm]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(7, 3, 4, 4, generator=generator) * 2 + 50  # far from 0: E[x^2] - E[x]^2 would lose digits
    layer = BatchNorm(3)
    layer.weight.data = torch.tensor([0.5, 1.0, 2.0])
    return x, torch.randn(x.shape, generator=generator), layer


def test_normalization_over_two_ranks_is_that_of_the_whole_batch(tmp_path):
    mp.spawn(_normalize_a_shard, (str(tmp_path),), nprocs=2)
    y, x_grad, weight_grad, bias_grad, variance, mean = (torch.load(tmp_path / "0.pt")[i] for i in range(6))
    y1, x_grad1, weight_grad1, bias_grad1, variance1, _ = torch.load(tmp_path / "1.pt")
    x, upstream, layer = _batch_and_layer()
    x.requires_grad_()
    expected = layer(x)
    (expected * upstream).sum().backward()
    torch.testing.assert_close(torch.cat([y, y1]), expected.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat([x_grad, x_grad1]), x.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weight_grad + weight_grad1, layer.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bias_grad + bias_grad1, layer.bias.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mean, layer.running_mean)
    torch.testing.assert_close(variance, layer.running_var, rtol=1e-4, atol=1e-4)
    assert torch.equal(variance, variance1)


def _normalize_in_pairs(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=4)
    torch.set_num_threads(1)
    x, upstream, layer = _batch_and_layer()
    share_statistics(layer, 2, 4)
    shard = x[rank : rank + 1].clone().requires_grad_()
    y = layer(shard)
    (y * upstream[rank : rank + 1]).sum().backward()
    torch.save((y.detach(), shard.grad, layer.running_mean), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_normalization_over_pairs_of_four_ranks_is_that_of_each_pairs_part(tmp_path):
    mp.spawn(_normalize_in_pairs, (str(tmp_path),), nprocs=4)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(4)]
    for pair in (slice(0, 2), slice(2, 4)):
        x, upstream, layer = _batch_and_layer()
        part = x[pair].clone().requires_grad_()
        expected = layer(part)
        (expected * upstream[pair]).sum().backward()
        ys, gradients, means = zip(*found[pair], strict=True)
        torch.testing.assert_close(torch.cat(ys), expected.detach(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.cat(gradients), part.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(means, (layer.running_mean, layer.running_mean))


@pytest.mark.parametrize(
    ("span", "ranks"),
    [(0, 0), (7, 0), (28, 4), (1680, 240)],  # of NVIDIA's SSD on 240 GPUs
)
def test_ranks_of_a_span_of_samples(span, ranks):
    assert checks.ranks_of_bn_span(span, 1680, 240) == ranks


@pytest.mark.parametrize(("span", "batch", "ranks"), [(10, 1680, 240), (49, 1680, 240), (4, 7, 4)])
def test_other_spans_are_refused(span, batch, ranks):
    """No multiple of a shard; 7 ranks, which do not divide 240; shards that differ in size."""
    with pytest.raises(ValueError, match=f"not {span}"):
        checks.ranks_of_bn_span(span, batch, ranks)


@pytest.mark.parametrize("count", [0, 1])
def test_a_rank_with_too_few_values_for_a_variance_still_takes_part(count):
    layer = BatchNorm(3)
    assert torch.isfinite(layer(torch.randn(count, 3, 1, 1))).all()
    assert torch.equal(layer.running_var, torch.ones(3))


def test_a_rank_without_a_sample_contributes_gradients_of_zero():
    model = ResNet(width=4, blocks=(1, 1, 1, 1), num_classes=3)
    scores = model(torch.zeros(0, 3, 32, 32))
    functional.cross_entropy(scores, torch.zeros(0, dtype=torch.int64), reduction="sum").backward()
    assert all(parameter.grad.abs().sum() == 0 for parameter in model.parameters())


def _gradients_of_a_shard(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(1)
    ranks, gradients = Ranks(rank, 2, torch.device("cpu"), 1), {}
    for static_graph in (True, False):
        model, batches = _network_and_batches()
        network = replicate(model, ranks, static_graph=static_graph)
        assert network.static_graph is static_graph
        gradients[static_graph] = []
        for batch in batches:
            model.zero_grad()
            network(batch[shard(len(batch), ranks)]).sum().mul(2).backward()  # replication averages over the ranks
            gradients[static_graph].append([parameter.grad.clone() for parameter in model.parameters()])
    torch.save(gradients, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _network_and_batches() -> tuple[torch.nn.Module, list[torch.Tensor]]:
    """The last batch leaves a rank without a sample."""
    torch.manual_seed(5)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    return network, [torch.randn(size, 4) for size in (6, 7, 6, 1)]


def test_a_static_graph_gives_the_gradients_of_the_whole_batch(tmp_path):
    mp.spawn(_gradients_of_a_shard, (str(tmp_path),), nprocs=2)
    model, batches = _network_and_batches()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for batch, static, dynamic in zip(batches, found[True], found[False], strict=True):
            model.zero_grad()
            model(batch).sum().backward()
            for ours, others, parameter in zip(static, dynamic, model.parameters(), strict=True):
                assert torch.equal(ours, others)
                torch.testing.assert_close(ours, parameter.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("ranks", "teardown"), [("1", "teardown\n"), ("2", "")])
def test_one_of_several_ranks_ends_without_pythons_teardown(ranks, teardown):
    """Which could abort it, although its work is done: torch's threads may ask for Python's lock meanwhile."""
    program = (
        "import atexit; from podium_benchmarks.core import cli; atexit.register(print, 'teardown');"
        "cli.run = lambda benchmark: print('trained') or 2; cli.main(None)"
    )
    environment = trainer_environment(WORLD_SIZE=ranks)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, f"trained\n{teardown}")
