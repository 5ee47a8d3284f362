"""SSD training, from the first log line to the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, schedules, seeds
from podium_benchmarks.core.batch_norm import share_statistics
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.jpeg import decodes
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.photos import SCENE_CLASSES
from podium_benchmarks.core.precision import compile_training, is_compiled, mixed_precision
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.ssd.augment import Jitter
from podium_benchmarks.ssd.boxes import image_losses, make_anchors, match
from podium_benchmarks.ssd.config import Config
from podium_benchmarks.ssd.data import Batch, normalize, open_data, with_backbone
from podium_benchmarks.ssd.eval import evaluate
from podium_benchmarks.ssd.model import IMAGE_SIZE, SSD, full_model, initialize, load_backbone


def train(config: Config, settings: RunSettings) -> None:
    """Train until the target or max_epochs; everything a reader needs to know goes to the log."""
    config = with_backbone(config, settings.data_dir)
    ranks = dist.join()
    log = clock.open_log(ranks, "ssd", settings, config.max_epochs)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    autocast = mixed_precision(config.precision, ranks.device)
    anchors = make_anchors().to(ranks.device)
    # Classes that only the data set knows become known on the clock, as its annotations are data.
    num_classes = config.num_classes or (0 if settings.data_dir else SCENE_CLASSES)
    trainee = build(dataclasses.replace(config, num_classes=num_classes or 1), seed, ranks)
    warm_up(trainee, anchors, config, ranks, autocast)
    clock.log_hyperparameters(log, seed, config.log_values(ranks.world_size))

    clock.start(log, ranks, config.max_epochs)
    data = open_data(config, settings.data_dir, ranks)
    if not num_classes:
        trainee = build(dataclasses.replace(config, num_classes=data.num_classes), seed, ranks)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    log.event("data_repairs", dict(data.repairs))
    steps_per_epoch = -(-data.train_samples // config.global_batch_size)
    evaluation_steps = config.evaluation_steps(steps_per_epoch)
    progress = Progress(log, ranks, config.stats_interval_seconds)
    step, reached = 0, False
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.EPOCH_START, epoch_num=epoch)
        progress.restart_clock()
        for batch in progress.timed(data.epoch(seeds.derive(seed, "epoch", epoch))):
            set_learning_rate(trainee.optimizer, learning_rate(config, step))
            # DDP averages over ranks, whose shards may differ in size: undo that, divide by all images of the batch.
            scale = ranks.world_size / batch.global_count
            loss_sum = forward_backward(trainee.network, anchors, batch, scale=scale, autocast=autocast)
            trainee.optimizer.step()
            trainee.optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.step(loss_sum, batch.global_count, step / steps_per_epoch)
            if step in evaluation_steps:
                progress.flush(step / steps_per_epoch)
                quality = clock.evaluation(log, epoch, lambda: evaluate(trainee.model, anchors, data, autocast))
                progress.restart_clock()
                reached = quality >= config.target
                if reached or step == max(evaluation_steps):
                    break
        progress.flush(step / steps_per_epoch)
        log.end(keys.EPOCH_STOP, epoch_num=epoch)
        if reached or step >= max(evaluation_steps):
            break
    clock.stop(log, ranks, settings, reached=reached, epoch=epoch)


@dataclass(frozen=True)
class Trainee:
    """A model, the same with gradients averaged over ranks, and its optimizer."""

    model: SSD
    network: nn.Module
    optimizer: torch.optim.Optimizer


def build(config: Config, seed: int, ranks: Ranks) -> Trainee:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = full_model(config)
    initialize(model)
    share_statistics(model, config.bn_ranks(ranks.world_size), ranks.world_size)
    if config.backbone_weights:
        load_backbone(model.backbone, Path(config.backbone_weights))
    model = model.to(ranks.device, memory_format=torch.channels_last)
    if is_compiled(config.compile, ranks.device):
        compile_training(model, dist.shard_size(config.global_batch_size, ranks))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=config.opt_momentum,
                                weight_decay=config.opt_weight_decay, fused=True)  # fmt: skip
    return Trainee(model, dist.replicate(model, ranks), optimizer)


def warm_up(trainee: Trainee, anchors: torch.Tensor, config: Config, ranks: Ranks, autocast: torch.autocast) -> None:
    """Pass synthetic images through, so that kernels and buffers exist when the clock starts; leaves no trace."""
    state = {name: value.clone() for name, value in trainee.model.state_dict().items()}
    count = dist.shard_size(config.global_batch_size, ranks)
    batch = synthetic_batch(count, ranks.device)
    for _ in range(2):
        forward_backward(trainee.network, anchors, batch, scale=1.0, autocast=autocast)
    if config.jpeg_decoder == "torchvision":
        decodes(ranks.device)
    trainee.model.zero_grad(set_to_none=True)
    trainee.model.load_state_dict(state)


def synthetic_batch(count: int, device: torch.device) -> Batch:
    """Noise, with one object in the middle of each image."""
    return Batch(
        images=torch.randint(0, 256, (count, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8, device=device),
        boxes=torch.tensor([0.2, 0.2, 0.8, 0.8], device=device).expand(count, 1, 4),
        labels=torch.ones(count, 1, dtype=torch.int64, device=device),
        jitter=Jitter(torch.tensor([1.0, 1.0, 1.0, 0.0]).expand(count, 4), torch.arange(4).expand(count, 4)),
        global_count=count,
    )


def synthetic_step(
    config: Config, device: torch.device, images: int
) -> tuple[nn.Module, Callable[[], torch.Tensor], int]:
    """The model, a whole training step on synthetic images (it returns the loss), and their number: for timing."""
    config = dataclasses.replace(config, global_batch_size=images)
    trainee = build(config, 0, Ranks(rank=0, world_size=1, device=device, cores=1))
    anchors, batch = make_anchors().to(device), synthetic_batch(images, device)
    autocast = mixed_precision(config.precision, device)

    def step() -> torch.Tensor:
        set_learning_rate(trainee.optimizer, 0.0)  # noise can't be learned: weights would grow until nothing is finite
        loss_sum = forward_backward(trainee.network, anchors, batch, scale=1 / images, autocast=autocast)
        trainee.optimizer.step()
        trainee.optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return trainee.model, step, images


def learning_rate(config: Config, step: int) -> float:
    """Of this step, counted from 0; MLPerf's warm-up rises from base - base / 2^k, reached at step 0."""
    base, warmup_steps = config.opt_base_learning_rate, config.opt_learning_rate_warmup_steps
    if step < warmup_steps:
        return base - (warmup_steps - step) * base / (warmup_steps * 2**config.opt_learning_rate_warmup_factor)
    return schedules.step_decay(step, base=base, warmup_steps=0, boundaries=config.decay_steps)


def forward_backward(
    network: nn.Module, anchors: torch.Tensor, batch: Batch, *, scale: float, autocast: torch.autocast
) -> torch.Tensor:
    """Gradients of `scale` times the summed loss; returns that sum over this rank's shard, still on the device."""
    wanted_offsets, classes = match(anchors, batch.boxes, batch.labels)
    with autocast:
        offsets, logits = network(normalize(batch.images, batch.jitter))
    loss_sum = image_losses(offsets.float(), logits.float(), wanted_offsets, classes).sum()
    (loss_sum * scale).backward()
    return loss_sum.detach()
