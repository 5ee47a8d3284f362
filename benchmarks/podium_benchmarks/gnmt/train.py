"""GNMT training, from the first log line to the last."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, corpora, dist, schedules, seeds
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import adam, set_learning_rate
from podium_benchmarks.core.precision import is_compiled, lacks_bf16_lstm, mixed_precision
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.gnmt.config import Config
from podium_benchmarks.gnmt.data import VOCABULARY, Batch, Data, vocabulary_size
from podium_benchmarks.gnmt.eval import evaluate
from podium_benchmarks.gnmt.model import GNMT, RESERVED, compile_attention, initialize

WARMUP_FROM = 0.01  # of the base learning rate


def train(config: Config, settings: RunSettings) -> None:
    """Train until the target or max_epochs; everything a reader needs to know goes to the log."""
    corpora.check_division(settings, "gnmt", VOCABULARY)
    ranks = dist.join()
    if config.global_batch_size < ranks.world_size:
        raise UsageError(
            f"global_batch_size {config.global_batch_size} leaves some of {ranks.world_size} ranks without a sentence"
        )
    if lacks_bf16_lstm(config.precision, ranks.device):
        raise UsageError(
            "precision bf16 takes a GPU or a CPU with AVX-512, for its LSTMs; set precision to auto or fp32"
        )
    log = clock.open_log(ranks, "gnmt", settings, config.max_epochs)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    model = build_model(config, vocabulary_size(config, settings.data_dir), seed, ranks)
    network, optimizer = dist.replicate(model, ranks), adam(model, config)
    autocast = mixed_precision(config.precision, ranks.device)
    warm_up(network, config, ranks, autocast)
    corpora.log_settings(log, seed, config)

    clock.start(log, ranks, config.max_epochs)
    data = Data(config, settings.data_dir, ranks)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    log.event(keys.OPT_LR_REMAIN_STEPS, config.remain_steps(data.steps_per_epoch))
    log.event(keys.OPT_LR_DECAY_INTERVAL, config.decay_interval(data.steps_per_epoch))
    progress = Progress(log, ranks, config.stats_interval_seconds)
    torch.manual_seed(seeds.derive(seed, "dropout", ranks.rank))
    step = 0
    for epoch in range(1, config.max_epochs + 1):
        log.start(keys.BLOCK_START, first_epoch_num=epoch, epoch_count=1)
        log.start(keys.EPOCH_START, epoch_num=epoch)
        progress.restart_clock()
        for batch in data.epoch(seeds.derive(seed, "epoch", epoch)):
            set_learning_rate(optimizer, learning_rate(config, step, data.steps_per_epoch))
            # The reference divides by sentences, not tokens; replication averages over ranks, so undo that.
            scale = ranks.world_size / batch.global_sentences
            loss_sum = forward_backward(network, batch, config.label_smoothing, scale=scale, autocast=autocast)
            nn.utils.clip_grad_norm_(model.parameters(), config.gradient_norm, foreach=True)
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


def build_model(config: Config, vocab_size: int, seed: int, ranks: Ranks) -> GNMT:
    """The same initial weights on every rank, for any number of ranks."""
    torch.manual_seed(seeds.derive(seed, "model"))
    model = GNMT(config, vocab_size)
    initialize(model)
    if is_compiled(config.compile, ranks.device):
        compile_attention(model)
    return model.to(ranks.device)


def warm_up(network: nn.Module, config: Config, ranks: Ranks, autocast: torch.autocast) -> None:
    """Pass synthetic sentences through, so that kernels and buffers exist when the clock starts; leaves no trace."""
    count = max(1, config.global_batch_size // ranks.world_size)
    for sentences, lengths in corpora.warm_up_shapes(count, config.max_sequence_length):  # the longest, for the buffers
        batch = synthetic_batch(sentences, lengths, ranks.device)
        forward_backward(network, batch, 0.0, scale=1.0, autocast=autocast)
    network.zero_grad(set_to_none=True)


def synthetic_batch(sentences: int, lengths: tuple[int, int], device: torch.device, vocab_size: int = 100) -> Batch:
    """Random words without padding: so many of the source, and so many to predict."""
    read, predicted = lengths
    source = torch.randint(RESERVED, vocab_size, (sentences, read), device=device)
    target = torch.randint(RESERVED, vocab_size, (sentences, predicted + 1), device=device)
    tokens = sentences * predicted
    return Batch(source, torch.full((sentences,), read), target, torch.arange(tokens, device=device), sentences, tokens)


def learning_rate(config: Config, step: int, steps_per_epoch: int) -> float:
    """Of this step, counted from 0 (seq2seq/train/lr_scheduler.py of the reference).

    The reference moves its schedule on before each step of the optimizer: the first is number 1 there.
    """
    number, remain = step + 1, config.remain_steps(steps_per_epoch)
    warmup = min(config.opt_learning_rate_warmup_steps, remain)
    if number <= warmup:
        if config.opt_learning_rate_alt_warmup_func:
            return config.opt_base_learning_rate * WARMUP_FROM ** ((warmup - number) / warmup)
        return config.opt_base_learning_rate * schedules.linear_warmup(step, warmup)
    decays = (number - remain) // config.decay_interval(steps_per_epoch) + 1 if number >= remain else 0
    factor = config.opt_learning_rate_decay_factor ** min(decays, config.opt_learning_rate_decay_steps)
    return config.opt_base_learning_rate * factor


def forward_backward(
    network: nn.Module, batch: Batch, smoothing: float, *, scale: float, autocast: torch.autocast
) -> torch.Tensor:
    """Gradients of `scale` times the summed loss; returns that sum over this rank's shard, still on the device."""
    with autocast:
        loss_sum = network(batch.source, batch.source_lengths, batch.target, batch.positions, smoothing)
    (loss_sum * scale).backward()
    return loss_sum.detach()


def synthetic_step(
    config: Config, device: torch.device, tokens: int
) -> tuple[nn.Module, Callable[[], torch.Tensor], int]:
    """The model, a whole training step on synthetic words (it returns the loss), and its target tokens: for timing."""
    ranks = Ranks(rank=0, world_size=1, device=device, cores=1)
    model = build_model(config, config.vocab_size, 0, ranks)
    optimizer, autocast = adam(model, config), mixed_precision(config.precision, device)
    length = min(25, config.max_sequence_length)
    batch = synthetic_batch(max(1, tokens // length), (length, length), device, config.vocab_size)

    def step() -> torch.Tensor:
        set_learning_rate(optimizer, config.opt_base_learning_rate)
        loss_sum = forward_backward(
            model, batch, config.label_smoothing, scale=1 / batch.global_sentences, autocast=autocast
        )
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_norm, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return model, step, batch.global_tokens
