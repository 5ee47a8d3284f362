"""ResNet training, from the first log line to the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, schedules, seeds
from podium_benchmarks.core.batch_norm import share_statistics
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.jpeg import decodes
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.precision import compile_training, is_compiled, mixed_precision
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.resnet.config import Config
from podium_benchmarks.resnet.data import Data, digits, normalize
from podium_benchmarks.resnet.eval import evaluate
from podium_benchmarks.resnet.folder import open_folder
from podium_benchmarks.resnet.model import ResNet, full_model, initialize
from podium_benchmarks.resnet.optimizer import build_optimizer


def train(config: Config, settings: RunSettings) -> None:
    """Train until the target or max_epochs; everything a reader needs to know goes to the log."""
    ranks = dist.join()
    log = clock.open_log(ranks, "resnet", settings, config.max_epochs)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    model = build_model(config, seed, ranks)
    network = dist.replicate(model, ranks)  # the same parameters; its backward pass averages gradients over ranks
    optimizer = build_optimizer(model, config)
    autocast = mixed_precision(config.precision, ranks.device)
    warm_up(network, model, config, ranks, autocast)
    clock.log_hyperparameters(log, seed, config.log_values(ranks.world_size))

    clock.start(log, ranks, config.max_epochs)
    data: Data = open_folder(config, settings.data_dir, ranks) if settings.data_dir else digits(config, ranks.device)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    steps_per_epoch = -(-data.train_samples // config.global_batch_size)
    if not config.decay_boundary_epochs:
        log.event(f"{config.opt_name}_opt_learning_rate_decay_steps", config.decay_steps(steps_per_epoch))
    progress = Progress(log, ranks, config.stats_interval_seconds)
    step = 0
    for block in config.blocks_of_epochs():
        log.start(keys.BLOCK_START, first_epoch_num=block[0], epoch_count=len(block))
        for epoch in block:
            log.start(keys.EPOCH_START, epoch_num=epoch)
            progress.restart_clock()
            for images, labels, global_count in progress.timed(data.epoch(seeds.derive(seed, "epoch", epoch), ranks)):
                set_learning_rate(optimizer, learning_rate(config, step, steps_per_epoch))
                # DDP averages over ranks, whose shards may differ in size: undo that, divide by the batch's samples.
                scale = ranks.world_size / global_count
                loss_sum = forward_backward(
                    network, images, labels, smoothing=config.label_smoothing, scale=scale, autocast=autocast
                )
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                step += 1
                progress.step(loss_sum, global_count, step / steps_per_epoch)
            progress.flush(step / steps_per_epoch)
            log.end(keys.EPOCH_STOP, epoch_num=epoch)
        accuracy = clock.evaluation(log, epoch, lambda: evaluate(model, data, ranks, autocast))
        log.end(keys.BLOCK_STOP, first_epoch_num=block[0], epoch_count=len(block))
        if reached := accuracy >= config.target:
            break
    clock.stop(log, ranks, settings, reached=reached, epoch=epoch)


def build_model(config: Config, seed: int, ranks: Ranks) -> ResNet:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = full_model(config)
    initialize(model)
    share_statistics(model, config.bn_ranks(ranks.world_size), ranks.world_size)
    model = model.to(ranks.device, memory_format=torch.channels_last)
    if is_compiled(config.compile, ranks.device):
        compile_training(model, dist.shard_size(config.global_batch_size, ranks))
    return model


def warm_up(network: nn.Module, model: ResNet, config: Config, ranks: Ranks, autocast: torch.autocast) -> None:
    """Pass synthetic images through, so that kernels and buffers exist when the clock starts; leaves no trace."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    count = dist.shard_size(config.global_batch_size, ranks)
    images = torch.randint(0, 256, (count, 3, config.image_size, config.image_size), device=ranks.device)
    labels = torch.randint(0, config.num_classes, (count,), device=ranks.device)
    for _ in range(2):
        forward_backward(network, images, labels, smoothing=config.label_smoothing, scale=1.0, autocast=autocast)
    if config.jpeg_decoder == "torchvision":
        decodes(ranks.device)
    model.zero_grad(set_to_none=True)
    model.load_state_dict(state)


def synthetic_step(
    config: Config, device: torch.device, images: int
) -> tuple[nn.Module, Callable[[], torch.Tensor], int]:
    """The model, a whole training step on synthetic images (it returns the loss), and their number: for timing."""
    config = dataclasses.replace(config, global_batch_size=images)
    model = build_model(config, 0, Ranks(rank=0, world_size=1, device=device, cores=1))
    optimizer, autocast = build_optimizer(model, config), mixed_precision(config.precision, device)
    batch = torch.randint(0, 256, (images, 3, config.image_size, config.image_size), dtype=torch.uint8, device=device)
    labels = torch.randint(0, config.num_classes, (images,), device=device)

    def step() -> torch.Tensor:
        set_learning_rate(optimizer, 0.0)  # noise can't be learned: weights would grow until nothing is finite
        loss_sum = forward_backward(
            model, batch, labels, smoothing=config.label_smoothing, scale=1 / images, autocast=autocast
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return model, step, images


def learning_rate(config: Config, step: int, steps_per_epoch: int) -> float:
    """Of this step, counted from 0."""
    warmup_steps = config.opt_learning_rate_warmup_epochs * steps_per_epoch
    if config.decay_boundary_epochs:
        boundaries = [epoch * steps_per_epoch for epoch in config.decay_boundary_epochs]
        return schedules.step_decay(
            step, base=config.opt_base_learning_rate, warmup_steps=warmup_steps, boundaries=boundaries
        )
    return schedules.polynomial(
        step,
        base=config.opt_base_learning_rate,
        end=config.opt_end_learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=config.decay_steps(steps_per_epoch),
        power=config.opt_learning_rate_decay_poly_power,
    )


def forward_backward(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    smoothing: float,
    scale: float,
    autocast: torch.autocast,
) -> torch.Tensor:
    """Gradients of `scale` times the summed loss; returns that sum over this rank's shard, still on the device."""
    with autocast:
        logits = network(normalize(images))
    loss_sum = F.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=smoothing)
    (loss_sum * scale).backward()
    return loss_sum.detach()
