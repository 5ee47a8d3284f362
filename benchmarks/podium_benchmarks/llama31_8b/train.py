"""Pretraining Llama 3.1, from the first log line to the last."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mlperf_logging.mllog import constants as keys
from torch import nn

from podium_benchmarks.core import clock, dist, seeds
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.core.precision import computes_in_bf16
from podium_benchmarks.core.schedules import cosine
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.telemetry import Progress
from podium_benchmarks.llama31_8b.checkpoint import Checkpoints, Position
from podium_benchmarks.llama31_8b.config import Config
from podium_benchmarks.llama31_8b.data import Data
from podium_benchmarks.llama31_8b.eval import evaluate
from podium_benchmarks.llama31_8b.model import Llama
from podium_benchmarks.llama31_8b.parallel import build_model, release


def train(config: Config, settings: RunSettings) -> None:
    """Train until the target or max_steps; everything a reader needs to know goes to the log."""
    ranks = dist.join()
    accumulation = accumulation_steps(config, ranks)
    log = clock.open_log(ranks, "llama31_8b", settings)
    seed = dist.from_rank0(seeds.master_seed(settings.seed), ranks.device)
    model = build_model(config, seed, ranks)
    optimizer = build_optimizer(model, config)
    warm_up(model, config, ranks, accumulation)
    checkpoints = Checkpoints(config, seed, ranks)
    resumed = checkpoints.restore(model, optimizer)
    clock.log_hyperparameters(log, seed, {**config.log_values(), **disclosed(config, ranks, accumulation)})
    log.event("eval_target", config.target)

    step, samples = resumed.steps, resumed.steps * config.global_batch_size
    origin = {"resumed_from_samples": samples} if step else {}
    clock.start(log, ranks, began_ms=resumed.began_ms, **origin)
    began_ms = log.time_ms[keys.RUN_START]
    data = Data(config, settings.data_dir, seed, ranks, accumulation)
    clock.log_samples(log, data.train_samples, data.eval_samples)
    progress = Progress(log, ranks, config.stats_interval_seconds, done_samples=samples, done_steps=step)
    log.start(keys.BLOCK_START, samples_count=samples)
    for batch in data.batches(samples):
        set_learning_rate(optimizer, learning_rate(config, step))
        loss_sum = forward_backward(model, batch, config, ranks)
        nn.utils.clip_grad_norm_(model.parameters(), config.opt_gradient_clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, samples = step + 1, samples + config.global_batch_size
        tokens = config.global_batch_size * config.max_sequence_length
        progress.step(loss_sum, config.global_batch_size, samples / data.train_samples, tokens=tokens)
        if step % config.eval_interval_steps and step < config.max_steps:
            continue
        progress.flush(samples / data.train_samples)
        log.end(keys.BLOCK_STOP, samples_count=samples)
        perplexity = clock.evaluation(log, samples, lambda: evaluate(model, data, config, ranks), keys.SAMPLES_COUNT)
        reached = perplexity <= config.target
        if reached or step >= config.max_steps or not math.isfinite(perplexity):
            break
        checkpoints.save(model, optimizer, Position(step, began_ms))
        log.start(keys.BLOCK_START, samples_count=samples)
        progress.restart_clock()
    clock.stop(log, ranks, settings, reached=reached, before_leaving=checkpoints.remove, samples_count=samples)


def accumulation_steps(config: Config, ranks: Ranks) -> int:
    """Passes per step; UsageError where the ranks can't share a batch equally."""
    steps = config.gradient_accumulation_steps or max(1, config.global_batch_size // ranks.world_size)
    if config.global_batch_size % (ranks.world_size * steps):
        raise UsageError(f"global_batch_size must be a multiple of {ranks.world_size} ranks times {steps} "
                         f"gradient_accumulation_steps, not {config.global_batch_size}")  # fmt: skip
    return steps


def disclosed(config: Config, ranks: Ranks, accumulation: int) -> dict[str, Any]:
    """How the batch is computed: since v6.1, a log has to state it."""
    precision = "bfloat16" if computes_in_bf16(config.precision, ranks.device) else "fp32"
    return {
        keys.GRADIENT_ACCUMULATION_STEPS: accumulation,
        keys.MICRO_BATCH_SIZE: config.global_batch_size // (ranks.world_size * accumulation),
        keys.LOWEST_NUMERICAL_PRECISION_IN_LINEAR: precision,
        keys.LOWEST_NUMERICAL_PRECISION_IN_ATTN: precision,
        keys.LOWEST_NUMERICAL_PRECISION_IN_COMM: precision,  # of the weights; gradients are reduced in fp32
        keys.TENSOR_PARALLELISM: 1,
        keys.PIPELINE_PARALLELISM: 1,
        keys.CONTEXT_PARALLELISM: 1,
        keys.EXPERT_PARALLELISM: 1,
        keys.CONFIG_FILENAME: "podium_benchmarks/llama31_8b/config.py",
    }


def learning_rate(config: Config, step: int) -> float:
    """Of this step, counted from 0."""
    return cosine(
        step,
        base=config.opt_base_learning_rate,
        end=config.opt_end_learning_rate,
        warmup_steps=config.opt_learning_rate_warmup_steps,
        decay_steps=config.opt_learning_rate_decay_steps,
    )


def build_optimizer(model: Llama, config: Config) -> torch.optim.Optimizer:
    """AdamW; like Megatron it decays matrices, the embedding included, and leaves the norms' weights."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": config.opt_adamw_weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    betas = (config.opt_adamw_beta_1, config.opt_adamw_beta_2)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=config.opt_adamw_epsilon, fused=True)


def warm_up(model: Llama, config: Config, ranks: Ranks, accumulation: int) -> None:
    """Pass made-up tokens through as training and evaluation will, so that both are compiled; leaves no trace."""
    ids = synthetic_ids(config, config.global_batch_size // (ranks.world_size * accumulation), ranks.device)
    forward_backward(model, [ids], config, ranks)
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        model(ids[:, :-1], ids[:, 1:].clone())
    release(model)


def synthetic_ids(config: Config, sequences: int, device: torch.device) -> torch.Tensor:
    """(sequences, S + 1) random tokens."""
    return torch.randint(config.vocab_size, (sequences, config.max_sequence_length + 1), device=device)


def forward_backward(model: Llama, batch: Sequence[torch.Tensor], config: Config, ranks: Ranks) -> torch.Tensor:
    """Gradients of the global batch's mean loss; returns the summed loss of this rank's part, still on the device."""
    # The gradients of all ranks are averaged: undo that, divide by all tokens of the batch.
    scale = ranks.world_size / (config.global_batch_size * config.max_sequence_length)
    loss_sum = torch.zeros((), device=ranks.device)
    for ids in batch:
        loss = model(ids[:, :-1], ids[:, 1:])
        (loss * scale).backward()
        loss_sum += loss.detach()
    return loss_sum


def synthetic_step(
    config: Config, device: torch.device, tokens: int
) -> tuple[nn.Module, Callable[[], torch.Tensor], int]:
    """The model, a whole training step on made-up tokens (it returns the loss), and how many they are: for timing."""
    length = min(tokens, config.max_sequence_length)
    config = dataclasses.replace(config, max_sequence_length=length, global_batch_size=tokens // length,
                                 activation_checkpointing=True)  # fmt: skip
    ranks = Ranks(rank=0, world_size=1, device=device, cores=1)
    model = build_model(config, 0, ranks)
    optimizer = build_optimizer(model, config)
    ids = synthetic_ids(config, 1, device)

    def step() -> torch.Tensor:
        set_learning_rate(optimizer, learning_rate(config, config.opt_learning_rate_warmup_steps))
        loss_sum = forward_backward(model, [ids] * config.global_batch_size, config, ranks)
        nn.utils.clip_grad_norm_(model.parameters(), config.opt_gradient_clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss_sum

    return model, step, length * config.global_batch_size
