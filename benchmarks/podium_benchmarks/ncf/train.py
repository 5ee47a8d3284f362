"""NCF training, from the first log line to the last."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, seeds
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.ncf.config import Config
from podium_benchmarks.ncf.data import Data, generate, read_ratings, shape
from podium_benchmarks.ncf.eval import evaluate
from podium_benchmarks.ncf.model import NeuMF, initialise


def train(config: Config, seed: int | None, data_dir: Path | None) -> None:
    """Train until the target or max_epochs; everything a reader needs to know goes to the log."""
    ranks = dist.join()
    log = Log(enabled=ranks.rank == 0)
    clock.open_log(log, "ncf", config.max_epochs)
    seed = dist.from_rank_zero(seeds.draw_master_seed() if seed is None else seed, ranks.device)
    users, items = shape(config, data_dir)
    model = build_model(config, users, items, seed, ranks)
    network = dist.replicate(model, ranks)
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=config.opt_base_learning_rate,
        betas=(config.opt_adam_beta_1, config.opt_adam_beta_2),
        eps=config.opt_adam_epsilon,
        fused=True,
    )
    warm_up(network, config, users, items, ranks)
    clock.log_hyperparameters(log, seed, config.log_values())

    clock.start(log, ranks, config.max_epochs)
    ratings = read_ratings(data_dir / "ratings.csv") if data_dir else generate(config)
    if (ratings.users, ratings.items) != (users, items):
        raise ValueError(f"{ratings.users} users and {ratings.items} items are rated, not ml-20m's {users} and {items}")
    data = Data(config, ratings, seeds.derive(seed, "eval negatives"), ranks)
    log.event(keys.TRAIN_SAMPLES, data.train_samples)
    log.event(keys.EVAL_SAMPLES, data.eval_samples)
    steps_per_epoch = -(-data.train_samples // config.global_batch_size)
    progress = Progress(log, ranks, config.stats_interval_seconds)
    step = 0
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.BLOCK_START, first_epoch_num=epoch, epoch_count=1)
        log.start(keys.EPOCH_START, epoch_num=epoch)
        progress.restart_clock()
        for batch_users, batch_items, labels, global_count in data.epoch(seeds.derive(seed, "epoch", epoch)):
            # Replication averages over ranks, whose shares may differ: undo that, divide by all samples of the batch.
            scale = ranks.world_size / global_count
            loss_sum = forward_backward(network, batch_users, batch_items, labels, scale=scale)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.step(loss_sum, global_count, step / steps_per_epoch)
        progress.flush(step / steps_per_epoch)
        log.end(keys.EPOCH_STOP, epoch_num=epoch)
        log.start(keys.EVAL_START, epoch_num=epoch)
        hit_rate = evaluate(model, data)
        log.event(keys.EVAL_ACCURACY, hit_rate, epoch_num=epoch)
        log.end(keys.EVAL_STOP, epoch_num=epoch)
        log.end(keys.BLOCK_STOP, first_epoch_num=epoch, epoch_count=1)
        reached = hit_rate >= config.target
        if reached:
            break
    clock.stop(log, ranks, reached=reached, epoch=epoch)
    dist.leave()


def build_model(config: Config, users: int, items: int, seed: int, ranks: Ranks) -> NeuMF:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = NeuMF(users=users, items=items, mf_factors=config.mf_factors, mlp_widths=config.mlp_widths)
    initialise(model)
    return model.to(ranks.device)


def warm_up(network: nn.Module, config: Config, users: int, items: int, ranks: Ranks) -> None:
    """Pass made-up pairs through, so that kernels and buffers exist when the clock starts; leaves no trace."""
    mine = dist.share(config.global_batch_size, ranks)
    count = mine.stop - mine.start
    made_up_users = torch.randint(users, (count,), device=ranks.device)
    made_up_items = torch.randint(items, (count,), device=ranks.device)
    labels = torch.randint(2, (count,), device=ranks.device).float()
    for _ in range(2):
        forward_backward(network, made_up_users, made_up_items, labels, scale=1.0)
    network.zero_grad(set_to_none=True)


def forward_backward(
    network: nn.Module, users: torch.Tensor, items: torch.Tensor, labels: torch.Tensor, *, scale: float
) -> torch.Tensor:
    """Gradients of `scale` times the summed loss; returns that sum over this rank's share, still on the device."""
    loss_sum = F.binary_cross_entropy_with_logits(network(users, items), labels, reduction="sum")
    (loss_sum * scale).backward()
    return loss_sum.detach()
