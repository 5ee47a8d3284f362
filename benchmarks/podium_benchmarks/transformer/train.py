"""Transformer training, from the first log line to the last."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, corpora, dist, seeds
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import adam, set_learning_rate
from podium_benchmarks.core.precision import is_compiled, mixed_precision
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.transformer.config import Config
from podium_benchmarks.transformer.data import VOCABULARY, Batch, Data, vocabulary_size
from podium_benchmarks.transformer.eval import evaluate
from podium_benchmarks.transformer.model import Transformer, compile_layers, initialize


def train(config: Config, settings: RunSettings) -> None:
    """Train until the target or max_epochs; everything a reader needs to know goes to the log."""
    corpora.check_division(settings, "transformer", VOCABULARY)
    ranks = dist.join()
    log = clock.open_log(ranks, "transformer", settings, config.max_epochs)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    model = build_model(config, vocabulary_size(config, settings.data_dir), seed, ranks)
    network, optimizer = dist.replicate(model, ranks), adam(model, config)
    autocast = mixed_precision(config.precision, ranks.device)
    warm_up(network, config, ranks, autocast)
    corpora.log_settings(log, seed, config)

    clock.start(log, ranks, config.max_epochs)
    data = Data(config, settings.data_dir, ranks)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    progress = Progress(log, ranks, config.stats_interval_seconds)
    torch.manual_seed(seeds.derive(seed, "dropout", ranks.rank))
    step = 0
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.BLOCK_START, first_epoch_num=epoch, epoch_count=1)
        log.start(keys.EPOCH_START, epoch_num=epoch)
        progress.restart_clock()
        for batch in data.epoch(seeds.derive(seed, "epoch", epoch)):
            set_learning_rate(optimizer, learning_rate(config, step))
            # DDP averages over ranks, whose shards may differ in size: undo that, divide by all tokens of the batch.
            scale = ranks.world_size / batch.global_tokens
            loss_sum = forward_backward(network, batch, config.label_smoothing, scale=scale, autocast=autocast)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            progress.step(loss_sum, batch.global_sentences, step / data.steps_per_epoch, tokens=batch.global_tokens)
        progress.flush(step / data.steps_per_epoch)
        log.end(keys.EPOCH_STOP, epoch_num=epoch)
        bleu = clock.evaluation(log, epoch, lambda: evaluate(model, data, config, ranks, autocast))
        log.end(keys.BLOCK_STOP, first_epoch_num=epoch, epoch_count=1)
        if reached := bleu >= config.target:
            break
    clock.stop(log, ranks, settings, reached=reached, epoch=epoch)


def learning_rate(config: Config, step: int) -> float:
    """Of this step, counted from 0, as the reference counts: linear warm-up, then the inverse square root of the step.

    So the first step only fills Adam's moments (transformer_main.py, get_learning_rate, of the reference; NVIDIA's,
    too).
    """
    warmup = config.opt_learning_rate_warmup_steps
    return config.peak_learning_rate * min(step / warmup, (warmup / max(step, 1)) ** 0.5)


def build_model(config: Config, vocab_size: int, seed: int, ranks: Ranks) -> Transformer:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = Transformer(config, vocab_size)
    initialize(model)
    if is_compiled(config.compile, ranks.device):
        compile_layers(model)
    return model.to(ranks.device)


def warm_up(network: nn.Module, config: Config, ranks: Ranks, autocast: torch.autocast) -> None:
    """Pass synthetic sentences through, so that kernels and buffers exist when the clock starts; leaves no trace."""
    length = min(32, config.max_sequence_length)
    count = max(1, config.global_batch_size // length // ranks.world_size)
    for sentences, lengths in corpora.warm_up_shapes(count, length):
        batch = synthetic_batch(sentences, lengths, ranks.device)
        forward_backward(network, batch, 0.0, scale=1.0, autocast=autocast)
    network.zero_grad(set_to_none=True)


def synthetic_batch(sentences: int, lengths: tuple[int, int], device: torch.device, vocab_size: int = 100) -> Batch:
    """Random words of source and target, without padding."""
    source, target = (torch.randint(2, vocab_size, (sentences, length), device=device) for length in lengths)
    tokens = target.numel()
    return Batch(source, target, torch.arange(tokens, device=device), sentences, tokens)


def forward_backward(
    network: nn.Module, batch: Batch, smoothing: float, *, scale: float, autocast: torch.autocast
) -> torch.Tensor:
    """Gradients of `scale` times the summed loss; returns that sum over this rank's shard, still on the device."""
    with autocast:
        loss_sum = network(batch.source, batch.target, batch.positions, smoothing)
    (loss_sum * scale).backward()
    return loss_sum.detach()


def synthetic_step(
    config: Config, device: torch.device, tokens: int
) -> tuple[nn.Module, Callable[[], torch.Tensor], int]:
    """The model, a whole training step on synthetic words (it returns the loss), and its target tokens: for timing."""
    ranks = Ranks(rank=0, world_size=1, device=device, cores=1)
    model = build_model(config, config.vocab_size, 0, ranks)
    optimizer, autocast = adam(model, config), mixed_precision(config.precision, device)
    length = 32
    batch = synthetic_batch(max(1, tokens // length), (length, length), device, config.vocab_size)

    def step() -> torch.Tensor:
        set_learning_rate(optimizer, learning_rate(config, config.opt_learning_rate_warmup_steps))
        loss_sum = forward_backward(
            model, batch, config.label_smoothing, scale=1 / batch.global_tokens, autocast=autocast
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return model, step, batch.global_tokens
