"""NCF training, from the first log line to the last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, seeds
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.precision import compile_training, is_compiled, mixed_precision
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.ncf.config import Config
from podium_benchmarks.ncf.data import Data, generate
from podium_benchmarks.ncf.eval import evaluate
from podium_benchmarks.ncf.model import NeuMF, initialize
from podium_benchmarks.ncf.optimizer import build_optimizer
from podium_benchmarks.ncf.ratings import read_ratings


def train(config: Config, settings: RunSettings) -> None:
    """Train until the target or max_epochs; everything a reader needs to know goes to the log."""
    ranks = dist.join()
    log = clock.open_log(ranks, "ncf", settings, timed_from_start=False)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    clock.log_hyperparameters(log, seed, config.log_values())
    file = settings.data_dir / "ratings.csv" if settings.data_dir else None
    ratings = read_ratings(file, config.min_ratings) if file else generate(config)

    compiled = is_compiled(config.compile, ranks.device) and not settings.times_initialization
    if compiled:
        warm_up(config, ratings.users, ratings.items, ranks)
    # Reading is preparation; the clock starts with what is drawn at random, the evaluation's negatives first (v0.5)
    clock.start(log, ranks, config.max_epochs)
    data = Data(config, ratings, seeds.derive(seed, "eval negatives"), ranks)
    model = build_model(config, ratings.users, ratings.items, seed, ranks)
    if compiled:
        compile_training(model, dist.shard_size(config.global_batch_size, ranks))
    network, optimizer = dist.replicate(model, ranks), build_optimizer(model, config)
    autocast = mixed_precision(config.precision, ranks.device)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    steps_per_epoch = -(-data.train_samples // config.global_batch_size)
    progress = Progress(log, ranks, config.stats_interval_seconds)
    step = 0
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.BLOCK_START, first_epoch_num=epoch, epoch_count=1)
        log.start(keys.EPOCH_START, epoch_num=epoch)
        progress.restart_clock()
        for batch_users, batch_items, labels, global_count in data.epoch(seeds.derive(seed, "epoch", epoch)):
            # DDP averages over ranks, whose shards may differ in size: undo that, divide by all samples of the batch.
            scale = ranks.world_size / global_count
            loss_sum = forward_backward(network, batch_users, batch_items, labels, scale=scale, autocast=autocast)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.step(loss_sum, global_count, step / steps_per_epoch)
        progress.flush(step / steps_per_epoch)
        log.end(keys.EPOCH_STOP, epoch_num=epoch)
        hit_rate = clock.evaluation(log, epoch, lambda: evaluate(model, data, autocast))
        log.end(keys.BLOCK_STOP, first_epoch_num=epoch, epoch_count=1)
        if reached := hit_rate >= config.target:
            break
    clock.stop(log, ranks, settings, reached=reached, epoch=epoch)


def build_model(config: Config, users: int, items: int, seed: int, ranks: Ranks) -> NeuMF:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = NeuMF(users=users, items=items, mf_factors=config.mf_factors, mlp_widths=config.mlp_widths)
    initialize(model)
    return model.to(ranks.device)


def warm_up(config: Config, users: int, items: int, ranks: Ranks) -> None:
    """Compile the step of a model of the same size, and let go of it: the run's own is built on the clock."""
    model, count = build_model(config, users, items, 0, ranks), dist.shard_size(config.global_batch_size, ranks)
    compile_training(model, count)
    nobody, labels = (
        torch.zeros((2, count), dtype=torch.int64, device=ranks.device),
        torch.zeros(count, device=ranks.device),
    )
    forward_backward(model, *nobody, labels, scale=1.0, autocast=mixed_precision(config.precision, ranks.device))


def forward_backward(
    network: nn.Module, users: torch.Tensor, items: torch.Tensor, labels: torch.Tensor, *, scale: float,
    autocast: torch.autocast,
) -> torch.Tensor:  # fmt: skip
    """Gradients of `scale` times the summed loss; returns that sum over this rank's shard, still on the device."""
    with autocast:
        logits = network(users, items)
    loss_sum = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum")
    (loss_sum * scale).backward()
    return loss_sum.detach()
