"""Transformer (Vaswani et al., 2017) as mlcommons/training v0.6, translation/tensorflow/transformer/model has it.

Layers normalize their input, not their sum; query, key, value and output have no bias; one matrix embeds both
languages and gives the logits; the decoder starts from a zero vector instead of a begin symbol.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.core.beam import Tensors
from podium_benchmarks.core.cross_entropy import summed_cross_entropy
from podium_benchmarks.core.dropout import Dropout
from podium_benchmarks.core.precision import cast_once, compile_training
from podium_benchmarks.transformer.config import Config

PAD, END = 0, 1
RESERVED = 2
NORM_EPSILON = 1e-6


class Attention(nn.Module):
    """Multi-head attention of queries (B, T, H) to a memory (B, S, H)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads, self._dropout = heads, Dropout(dropout)
        self.mix = F.scaled_dot_product_attention
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def remember(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a memory, each (B, heads, S, H / heads)."""
        key, value = self.key_value(memory).chunk(2, dim=2)
        return self._split(key), self._split(value)

    def attend(
        self,
        x: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None = None,
        *,
        causal: bool = False,
    ) -> torch.Tensor:
        """(B, T, H); mask (B, 1, 1, S) is true where the memory has a word."""
        query, dropout = self._split(self.query(x)), self._dropout.p if self.training else 0.0
        if dropout and x.device.type == "cpu":
            y = self._attend_on_cpu(query, key, value, mask, causal=causal)
        else:
            y = self.mix(query, key, value, mask, is_causal=causal, dropout_p=dropout)
        return self.output(y.transpose(1, 2).flatten(2))

    def _attend_on_cpu(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, *, causal: bool
    ) -> torch.Tensor:
        """With dropout, torch's own takes 1.5 to 3 times as long, and keeps eight copies of the weights in fp32."""
        with torch.autocast("cpu", enabled=False):
            scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)  # (B, heads, T, S)
            if causal:
                mask = torch.ones(scores.shape[2:], dtype=torch.bool).tril()
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            return self._dropout(scores.softmax(3)) @ value

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self._heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Behind dropout, ReLU keeps only what the next layer keeps, too; the values are those of the other order
        return self.outer(F.relu(self.dropout(self.inner(x))))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each added to its input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention = Attention(width, config.heads, config.dropout)
        self.feed_forward = FeedForward(width, config.filter_size, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width, NORM_EPSILON) for _ in range(2))
        self.dropout = Dropout(config.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = cast_once(self.norms[0](x))
        x = x + self.dropout(self.attention.attend(y, *self.attention.remember(y), mask))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class DecoderLayer(nn.Module):
    """Self-attention to the words before, attention to the source, feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention = Attention(width, config.heads, config.dropout)
        self.source_attention = Attention(width, config.heads, config.dropout)
        self.feed_forward = FeedForward(width, config.filter_size, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width, NORM_EPSILON) for _ in range(3))
        self.dropout = Dropout(config.dropout)

    def forward(self, x: torch.Tensor, encoded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = cast_once(self.norms[0](x))
        x = x + self.dropout(self.attention.attend(y, *self.attention.remember(y), causal=True))
        source = self.source_attention
        x = x + self.dropout(source.attend(self.norms[1](x), *source.remember(encoded), mask))
        return x + self.dropout(self.feed_forward(self.norms[2](x)))

    def step(
        self, x: torch.Tensor, memory: Tensors, mask: torch.Tensor, cache: Tensors
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """One more word of every hypothesis, x (N * beam, 1, H); memory holds keys and values of N sources.

        The hypotheses of a sentence ask its one memory as if they were words of one query.
        """
        y = self.norms[0](x)
        grown = [torch.cat([old, new], dim=2) for old, new in zip(cache, self.attention.remember(y), strict=True)]
        x = x + self.attention.attend(y, *grown)
        by_sentence = self.norms[1](x).view(len(mask), -1, x.shape[2])  # (N, beam, H)
        x = x + self.source_attention.attend(by_sentence, *memory, mask).view_as(x)
        return x + self.feed_forward(self.norms[2](x)), grown


class Transformer(nn.Module):
    """source (B, S), target (B, T) int64, 0 behind the ends -> logits (M, V) at M of the target's positions."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocab_size, config.hidden_size))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.encoder_norm = nn.LayerNorm(config.hidden_size, NORM_EPSILON)
        self.decoder_norm = nn.LayerNorm(config.hidden_size, NORM_EPSILON)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, source: torch.Tensor, target: torch.Tensor, positions: torch.Tensor, smoothing: float | None = None
    ) -> torch.Tensor:
        """positions (M,) are places in the flattened target: logits of padding would be wasted work.

        With `smoothing`, the sum of the losses of the words there.
        """
        encoded, mask = self.encode(source)
        x = F.pad(self.embed(target)[:, :-1], (0, 0, 1, 0))  # each position sees the words before it
        x = self.dropout(x + sinusoids(target.shape[1], x.shape[2], x.device))
        for layer in self.decoder:
            x = layer(x, encoded, mask)
        hidden = self.decoder_norm(x.flatten(0, 1)[positions])
        if smoothing is None:
            return self.logits(hidden)
        return smoothed_loss(hidden, self.embedding, target.flatten()[positions], smoothing)

    def embed(self, words: torch.Tensor) -> torch.Tensor:
        """(..., H); padding is zero."""
        scale = math.sqrt(self.embedding.shape[1])
        return F.embedding(words, self.embedding) * (scale * (words != PAD)).unsqueeze(-1)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.embedding)

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, S, H), and the mask (B, 1, 1, S) of its real words."""
        mask = (source != PAD)[:, None, None, :]
        x = self.dropout(self.embed(source) + sinusoids(source.shape[1], self.embedding.shape[1], source.device))
        for layer in self.encoder:
            x = layer(x, mask)
        return cast_once(self.encoder_norm(x)), mask

    def start(self, source: torch.Tensor, beam: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """What `step` needs: per sentence the mask and every layer's keys and values; per hypothesis empty caches."""
        encoded, mask = self.encode(source)
        memory = [tensor for layer in self.decoder for tensor in layer.source_attention.remember(encoded)]
        empty = memory[0].new_zeros(len(source) * beam, memory[0].shape[1], 0, memory[0].shape[3])
        return [mask, *memory], [empty] * len(memory)

    def step(
        self, words: torch.Tensor, position: int, memory: Tensors, state: Tensors
    ) -> tuple[torch.Tensor, Tensors, None]:
        """One step of the beam search (core/beam.py)."""
        mask, *keys_values = memory
        place = sinusoids(position + 1, self.embedding.shape[1], words.device)[position]
        x = self.embed(words).unsqueeze(1) + place
        grown: list[torch.Tensor] = []
        for number, layer in enumerate(self.decoder):
            mine = slice(2 * number, 2 * number + 2)
            x, cache = layer.step(x, keys_values[mine], mask, state[mine])
            grown += cache
        return self.logits(self.decoder_norm(x.squeeze(1))), grown, None


def smoothed_loss(hidden: torch.Tensor, embedding: torch.Tensor, words: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Sum of cross-entropies to 1 - e on the right word and e / (V - 1) on each other, less their entropy.

    torch spreads its smoothing over all V words, the right one included: e V / (V - 1) there is the same as e here.
    The entropy (utils/metrics.py of the reference) makes a perfect prediction's loss 0.
    """
    vocabulary = len(embedding)
    spread = smoothing * vocabulary / (vocabulary - 1)
    loss_sum = summed_cross_entropy(hidden, embedding, None, words, spread)
    if not smoothing:
        return loss_sum
    entropy = -(1 - smoothing) * math.log(1 - smoothing) - smoothing * math.log(smoothing / (vocabulary - 1))
    return loss_sum - entropy * len(words)


def sinusoids(length: int, width: int, device: torch.device) -> torch.Tensor:
    """(length, width): sines of width / 2 wave lengths from 2 pi to 20,000 pi, then their cosines."""
    waves = width // 2
    scales = torch.exp(torch.arange(waves, device=device) * -(math.log(1e4) / max(1, waves - 1)))
    angles = torch.arange(length, device=device).unsqueeze(1) * scales
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def full_model(config: Config) -> Transformer:
    """The network that the settings describe, without its initial weights."""
    return Transformer(config, config.vocab_size)


def compile_layers(model: Transformer) -> None:
    """Compile both stacks for training on sentences of any number and lengths: see `compile_training`."""
    for layer in (*model.encoder, *model.decoder):
        for module in layer.modules():
            if isinstance(module, Attention):  # a kernel by itself; compiled, it is made anew for each length of a mask
                module.mix = torch.compiler.disable(F.scaled_dot_product_attention)
        compile_training(layer, smallest=2)


def initialize(model: Transformer) -> None:
    """Embedding N(0, 1 / H); every matrix Glorot uniform, key and value each on its own; biases 0."""
    nn.init.normal_(model.embedding, std=model.embedding.shape[1] ** -0.5)
    for module in model.modules():
        if isinstance(module, Attention):
            width = module.query.in_features
            for matrix in (module.query.weight, *module.key_value.weight.split(width), module.output.weight):
                nn.init.xavier_uniform_(matrix.detach())
        elif isinstance(module, FeedForward):
            for linear in (module.inner, module.outer):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
