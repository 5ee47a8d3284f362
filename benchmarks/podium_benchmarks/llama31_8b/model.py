"""Llama 3.1 (arXiv:2407.21783): a decoder of attention with grouped queries and SwiGLU, each behind an RMSNorm."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint

from podium_benchmarks.core import seeds
from podium_benchmarks.llama31_8b.config import Config

NORM_EPSILON = 1e-5
ROPE_THETA = 5e5
# Llama 3.1 stretches the slow rotations, so that a model trained on short texts reads longer ones
ROPE_STRETCH = 8.0  # of wavelengths above LOW_FREQUENCY
ROPE_LOW_FREQUENCY = 8192.0  # tokens
ROPE_HIGH_FREQUENCY = 2048.0  # tokens; shorter wavelengths stay as they are
WEIGHT_STD = 0.02  # of NeMo's Llama31Config; layers that add to the residual stream have it / sqrt(2 * layers)
IGNORED = -100  # a target that isn't counted

Rotation = tuple[torch.Tensor, torch.Tensor]


class Llama(nn.Module):
    """Logits of the next token; built on the meta device, then sharded, then filled by `initialize`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden_size, NORM_EPSILON)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, S, V) of tokens (B, S); with targets (B, S) their summed cross-entropy instead."""
        x = self.embedding(tokens)
        rotation = rotation_of(tokens.shape[1], self.config.head_size, tokens.device)
        for block in self.blocks:
            x = block(x, rotation)
        x = self.norm(x)
        if targets is None:
            return self.head(x).float()
        at_once = self.config.loss_tokens_at_once
        parts = zip(x.flatten(0, 1).split(at_once), targets.flatten().split(at_once), strict=True)
        # Logits of a whole sequence take 4 GB in fp32: only a part exists at a time, and again in the backward pass
        losses = [checkpoint(self._loss_sum, hidden, words, use_reentrant=False) for hidden, words in parts]
        return torch.stack(losses).sum()

    def _loss_sum(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.head(hidden).float(), targets, ignore_index=IGNORED, reduction="sum")


class Block(nn.Module):
    """x + attention(norm(x)), then the same with the feed-forward layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.recomputes = config.activation_checkpointing
        self.attention_norm = nn.RMSNorm(config.hidden_size, NORM_EPSILON)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.RMSNorm(config.hidden_size, NORM_EPSILON)
        self.feed_forward = FeedForward(config)

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        if self.recomputes and torch.is_grad_enabled():
            return checkpoint(self._forward, x, rotation, use_reentrant=False)
        return self._forward(x, rotation)

    def _forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), rotation)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Attention(nn.Module):
    """Causal attention in which `heads / kv_heads` queries share a key and a value (arXiv:2305.13245)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.split = (config.heads, config.kv_heads, config.kv_heads)
        self.head_size = config.head_size
        self.qkv = nn.Linear(config.hidden_size, sum(self.split) * config.head_size, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        heads = self.qkv(x).unflatten(2, (-1, self.head_size)).transpose(1, 2)  # (B, heads of all three, S, head size)
        queries, keys, values = heads.split(self.split, dim=1)
        # A CPU's kernel takes three times as long for the gradients of bf16
        kind = torch.float32 if x.device.type == "cpu" else x.dtype
        mixed = F.scaled_dot_product_attention(
            rotate(queries, rotation).to(kind), rotate(keys, rotation).to(kind), values.to(kind),
            is_causal=True, enable_gqa=True,
        )  # fmt: skip
        return self.out(mixed.to(x.dtype).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (arXiv:2002.05202)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.filter_size, bias=False)
        self.down = nn.Linear(config.filter_size, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=2)
        return self.down(F.silu(gate) * up)


def frequencies(head_size: int, device: torch.device) -> torch.Tensor:
    """(head_size / 2,) of the rotations, in radians per token."""
    plain = ROPE_THETA ** -(torch.arange(0, head_size, 2, device=device, dtype=torch.float32) / head_size)
    turns = ROPE_LOW_FREQUENCY / (2 * math.pi / plain)  # within LOW_FREQUENCY tokens
    kept = ((turns - 1) / (ROPE_LOW_FREQUENCY / ROPE_HIGH_FREQUENCY - 1)).clamp(0, 1)
    return plain * (kept + (1 - kept) / ROPE_STRETCH)


def rotation_of(length: int, head_size: int, device: torch.device) -> Rotation:
    """Cosine and sine (length, head_size / 2) of each position's angles."""
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequencies(head_size, device))
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """x (B, heads, S, head size), whose first and second halves are coordinates of points, turned by position; fp32."""
    cosine, sine = rotation
    first, second = x.float().chunk(2, dim=3)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=3)


@torch.no_grad()
def initialize(model: nn.Module, layers: int, seed: int) -> None:
    """The same weights for any number of ranks: each draws whole tensors and keeps its shards."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        whole = torch.ones(parameter.shape, device=parameter.device)
        if parameter.dim() > 1:
            ends_branch = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            generator = torch.Generator(parameter.device).manual_seed(seeds.derive(seed, "model", number))
            whole.normal_(0.0, WEIGHT_STD / math.sqrt(2 * layers) if ends_branch else WEIGHT_STD, generator=generator)
        if isinstance(parameter, DTensor):
            # Without a source, nothing is sent: every rank has the whole tensor
            whole = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.copy_(whole)


def full_model(config: Config) -> Llama:
    """The network that a preset describes."""
    return Llama(config)


def tensor_flops_per_token(config: Config) -> float:
    """Operations of matrix products in a training step, as MLPerf counts them for utilization.

    Those that the model's definition needs: forward, and twice as many backward; causal attention to half of the
    positions; neither the embedding, which is a look-up, nor what is computed twice to save memory
    (training_rules.adoc, "Appendix: Utilization").
    """
    heads = config.heads + 2 * config.kv_heads
    weights = config.hidden_size * (config.head_size * heads + config.hidden_size + 3 * config.filter_size)
    attended = (config.max_sequence_length + 1) / 2
    attention = 2 * config.hidden_size * attended  # products with keys and with values
    forward = config.layers * (weights + attention) + config.hidden_size * config.vocab_size
    return 3 * 2 * forward
