"""Mask R-CNN training, from the first log line to the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, schedules, seeds
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.jpeg import decodes
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.photos import SCENE_CLASSES
from podium_benchmarks.core.precision import compile_training, is_compiled, mixed_precision
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.maskrcnn.config import Config
from podium_benchmarks.maskrcnn.data import Batch, Sample, collate, open_data, padded, scaled_size, with_backbone
from podium_benchmarks.maskrcnn.eval import evaluate
from podium_benchmarks.maskrcnn.losses import TrainingPass
from podium_benchmarks.maskrcnn.masks import GRID, Masks
from podium_benchmarks.maskrcnn.model import MaskRCNN, initialize, load_backbone


def train(config: Config, settings: RunSettings) -> None:
    """Train until both targets or max_epochs; everything a reader needs to know goes to the log."""
    config = with_backbone(config, settings.data_dir)
    ranks = dist.join()
    log = clock.open_log(ranks, "maskrcnn", settings, config.max_epochs)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    # Classes that only the data set knows become known on the clock, as its annotations are data.
    num_classes = config.num_classes or (0 if settings.data_dir else SCENE_CLASSES)
    trainee = build(dataclasses.replace(config, num_classes=num_classes or 1), seed, ranks)
    warm_up(trainee, config, ranks)
    clock.log_hyperparameters(log, seed, config.log_values())

    clock.start(log, ranks, config.max_epochs)
    data = open_data(config, settings.data_dir, ranks)
    if not num_classes:
        trainee = build(dataclasses.replace(config, num_classes=data.num_classes), seed, ranks)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    log.event("data_repairs", dict(data.repairs))
    progress = Progress(log, ranks, config.stats_interval_seconds)
    step, reached = 0, False
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.EPOCH_START, epoch_num=epoch)
        progress.restart_clock()
        for batch in progress.timed(data.epoch(seeds.derive(seed, "epoch", epoch))):
            set_learning_rate(trainee.optimizer, learning_rate(config, step))
            loss_sum = forward_backward(trainee.network, batch, ranks)
            if config.gradient_clip_norm:
                nn.utils.clip_grad_norm_(trainee.network.parameters(), config.gradient_clip_norm)
            trainee.optimizer.step()
            trainee.optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.step(loss_sum, batch.global_count, step / data.steps_per_epoch)
        progress.flush(epoch)
        if epoch % config.epochs_between_evals == 0 or epoch == config.max_epochs:
            quality = clock.evaluation(log, epoch, lambda: evaluate(trainee.model, data, trainee.autocast))
            reached = quality["BBOX"] >= config.target[0] and quality["SEGM"] >= config.target[1]
        log.end(keys.EPOCH_STOP, epoch_num=epoch)
        if reached:
            break
    clock.stop(log, ranks, settings, reached=reached, epoch=epoch)


@dataclass(frozen=True)
class Trainee:
    """A model, its training pass with gradients averaged over ranks, and its optimizer."""

    model: MaskRCNN
    network: nn.Module
    optimizer: torch.optim.Optimizer
    autocast: torch.autocast


def build(config: Config, seed: int, ranks: Ranks) -> Trainee:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = MaskRCNN(config, config.num_classes)
    initialize(model)
    if config.backbone_weights:
        load_backbone(model.backbone, Path(config.backbone_weights))
    model = model.to(ranks.device, memory_format=torch.channels_last)
    if is_compiled(config.compile, ranks.device):
        for part in (model.backbone, model.pyramid, model.proposals, model.boxes, model.masks):
            compile_training(part)
    autocast = mixed_precision(config.precision, ranks.device)
    # What is computed depends on how many boxes and masks there are
    network = dist.replicate(TrainingPass(model, autocast), ranks, static_graph=False)
    return Trainee(model, network, make_optimizer(model, config), autocast)


def make_optimizer(model: MaskRCNN, config: Config) -> torch.optim.Optimizer:
    """SGD; biases learn twice as fast and do not decay."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    biases = [parameter for name, parameter in trained if name.endswith(".bias")]
    others = [parameter for name, parameter in trained if not name.endswith(".bias")]
    groups = [{"params": others, "rate": 1.0, "weight_decay": config.opt_weight_decay},
              {"params": biases, "rate": 2.0, "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.SGD(groups, lr=0.0, momentum=config.opt_momentum, fused=True)


def warm_up(trainee: Trainee, config: Config, ranks: Ranks) -> None:
    """Pass synthetic images through, so that kernels and buffers exist when the clock starts; leaves no trace."""
    state = {name: value.clone() for name, value in trainee.model.state_dict().items()}
    count = dist.shard_size(config.global_batch_size, ranks)
    for sides in ((3, 4), (3, 4), (5, 3)):  # a second shape, so that what is compiled for any shape is made now, too
        forward_backward(trainee.network, synthetic_batch(config, count, ranks.device, sides), ranks)
    if config.jpeg_decoder == "torchvision":
        decodes(ranks.device)
    trainee.model.zero_grad(set_to_none=True)
    trainee.model.load_state_dict(state)


def synthetic_batch(config: Config, count: int, device: torch.device, sides: tuple[int, int] = (3, 4)) -> Batch:
    """Noise of the size that a photo with such sides, height to width, is scaled to; one object in each."""
    height, width = scaled_size(config, *(side * config.min_image_size for side in sides))
    box = torch.tensor([[width // 4, height // 4, width // 2 - 1, height // 2 - 1]], dtype=torch.float32)
    mask = Masks(torch.ones((1, GRID, GRID), dtype=torch.uint8), box)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    sample = Sample(image, (height, width), box, torch.ones(1, dtype=torch.int64), mask, seed=0)
    return collate([sample] * count, padded([image] * count).to(device), count, device)


def synthetic_step(
    config: Config, device: torch.device, images: int
) -> tuple[nn.Module, Callable[[], torch.Tensor], int]:
    """The model, a whole training step on synthetic images (it returns the loss), and their number: for timing."""
    alone = Ranks(rank=0, world_size=1, device=device, cores=1)
    trainee, batch = build(config, 0, alone), synthetic_batch(config, images, device)

    def step() -> torch.Tensor:
        set_learning_rate(trainee.optimizer, 0.0)  # noise can't be learned: weights would grow until nothing is finite
        loss_sum = forward_backward(trainee.network, batch, alone)
        trainee.optimizer.step()
        trainee.optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return trainee.model, step, images


def learning_rate(config: Config, step: int) -> float:
    """Of this step, counted from 0; the reference's schedule counts it from 1, decays also during the warm-up."""
    number, base, warmup_steps = step + 1, config.opt_base_learning_rate, config.opt_learning_rate_warmup_steps
    if number < warmup_steps and config.opt_learning_rate_warmup_method == "mlperf_linear":
        base -= (warmup_steps - number) * config.opt_learning_rate_warmup_factor
    elif number < warmup_steps:
        start = config.opt_learning_rate_warmup_factor
        base *= start + (1 - start) * number / warmup_steps
    return schedules.step_decay(number, base=base, warmup_steps=0, boundaries=config.decay_steps,
                                factor=config.opt_learning_rate_decay_factor)  # fmt: skip


def forward_backward(network: nn.Module, batch: Batch, ranks: Ranks) -> torch.Tensor:
    """Gradients of the five losses, each a mean over the whole batch; returns this rank's part of them, per image."""
    sums, counts = network(batch)
    # Replication averages over ranks: undo that, divide by what all ranks have summed over.
    loss = (sums / dist.sum_over_ranks(counts).clamp(min=1)).sum()
    (loss * ranks.world_size).backward()
    return loss.detach() * batch.global_count
