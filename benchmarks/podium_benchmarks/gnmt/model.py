"""GNMT v2 (mlcommons/training v0.6, rnn_translator/pytorch/seq2seq/models).

The encoder's first LSTM reads both ways; LSTMs from the third on are added to their input. The decoder's first LSTM
asks the source (normalized Bahdanau attention), and all LSTMs behind it get the answer in addition to their input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from podium_benchmarks.core.beam import Tensors
from podium_benchmarks.core.cross_entropy import summed_cross_entropy
from podium_benchmarks.core.dropout import Dropout
from podium_benchmarks.core.precision import compile_training
from podium_benchmarks.gnmt.config import Config

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
RESERVED = 4
INITIAL_RANGE = 0.1  # weights start uniform in -0.1 .. 0.1
MASKED = -65504.0  # the least number of fp16


class Attention(nn.Module):
    """Normalized Bahdanau attention: score = g v / |v| . tanh(W q + U k + b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.direction = nn.Parameter(torch.empty(width))
        self.scale = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(
        self, x: torch.Tensor, encoded: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers (B, T, H) to x (B, T, H) and weights (B, T, S); keys (B, S, H), mask (B, S) true at real words."""
        # The bias in the keys' type: added in fp32 it would make the largest tensor of the network twice as large
        sums = self.query(x).unsqueeze(2) + (keys + self.bias.to(keys.dtype)).unsqueeze(1)  # (B, T, S, H)
        direction = self.direction * (self.scale / self.direction.norm())
        scores = torch.tanh(sums) @ direction.to(sums.dtype)
        weights = F.softmax(scores.float().masked_fill(~mask.unsqueeze(1), MASKED), dim=2)
        return torch.bmm(weights.to(encoded.dtype), encoded), weights


class Encoder(nn.Module):
    """Embedded source (B, S, H) -> (B, S, H)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.both_ways = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        widths = [2 * width] + [width] * (config.layers - 2)
        self.lstms = nn.ModuleList(nn.LSTM(inputs, width, batch_first=True) for inputs in widths)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """lengths (B,) are on the CPU: the reading from the end has to start at each sentence's own."""
        packed = pack_padded_sequence(self.dropout(x), lengths, batch_first=True, enforce_sorted=False)
        x, _ = pad_packed_sequence(self.both_ways(packed)[0], batch_first=True)
        x, _ = self.lstms[0](self.dropout(x))
        for lstm in self.lstms[1:]:
            x = x + lstm(self.dropout(x))[0]
        return x


class Decoder(nn.Module):
    """Embedded target (B, T, H) and the encoded source -> (B, T, H)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.first = nn.LSTM(width, width, batch_first=True)
        self.attention = Attention(width)
        self.lstms = nn.ModuleList(nn.LSTM(2 * width, width, batch_first=True) for _ in range(config.layers - 1))
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: torch.Tensor, encoded: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor, state: Tensors | None
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Outputs, attention (B, T, S) and the state: h and c (B * k, H) of each LSTM, None at the beginning.

        With k hypotheses for each of the B sources, x is (B * k, 1, H), and its rows ask in groups of k.
        """
        states: list[torch.Tensor] = []
        x = self._run(self.first, self.dropout(x), state, states)
        grouped = x.view(len(encoded), -1, x.shape[2])  # the same in training; (B, k, H) in the beam search
        answers, weights = self.attention(grouped, encoded, keys, mask)
        answers = answers.view_as(x)
        x = self._run(self.lstms[0], self.dropout(torch.cat([x, answers], dim=2)), state, states)
        for lstm in self.lstms[1:]:
            x = x + self._run(lstm, self.dropout(torch.cat([x, answers], dim=2)), state, states)
        return x, weights, states

    @staticmethod
    def _run(lstm: nn.LSTM, x: torch.Tensor, state: Tensors | None, states: list[torch.Tensor]) -> torch.Tensor:
        """Run one LSTM from its place in `state`; its new h and c go to the end of `states`."""
        place = len(states)
        before = None if state is None else tuple(part.unsqueeze(0) for part in state[place : place + 2])
        x, after = lstm(x, before)
        states += [part.squeeze(0) for part in after]
        return x


class GNMT(nn.Module):
    """source (B, S), target (B, T) int64, 0 behind the ends -> logits (M, V) at M of the T - 1 steps of each target."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.hidden_size, padding_idx=PAD)  # of both languages
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.classifier = nn.Linear(config.hidden_size, vocab_size)

    def forward(
        self, source: torch.Tensor, source_lengths: torch.Tensor, target: torch.Tensor, positions: torch.Tensor,
        smoothing: float | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """positions (M,) are places in the flattened (B, T - 1) steps: logits of padding would be wasted work.

        With `smoothing`, the summed cross-entropy of the words after these steps.
        """
        x = self.embedding(target[:, :-1])
        x, _, _ = self.decoder(x, *self.encode(source, source_lengths), None)
        hidden = x.flatten(0, 1)[positions]
        if smoothing is None:
            return self.classifier(hidden)
        words = target[:, 1:].flatten()[positions]
        return summed_cross_entropy(hidden, self.classifier.weight, self.classifier.bias, words, smoothing)

    def encode(self, source: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Encoded source and attention's keys, (B, S, H) each, and the mask (B, S) of its words."""
        encoded = self.encoder(self.embedding(source), lengths)
        return encoded, self.decoder.attention.key(encoded), source != PAD

    def start(
        self, source: torch.Tensor, lengths: torch.Tensor, beam: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """What `step` needs: per sentence the encoded source; per hypothesis h and c of each LSTM, 0 at first."""
        memory = self.encode(source, lengths)
        zero = memory[0].new_zeros(len(source) * beam, memory[0].shape[2])
        return list(memory), [zero] * (2 * (1 + len(self.decoder.lstms)))

    def step(
        self, words: torch.Tensor, position: int, memory: Tensors, state: Tensors
    ) -> tuple[torch.Tensor, Tensors, torch.Tensor]:
        """One step of the beam search (core/beam.py)."""
        del position  # the state knows
        encoded, keys, mask = memory
        x, weights, states = self.decoder(self.embedding(words).unsqueeze(1), encoded, keys, mask, state)
        return self.classifier(x.squeeze(1)), states, weights.flatten(0, 1)


def full_model(config: Config) -> GNMT:
    """The network that the settings describe, without its initial weights."""
    return GNMT(config, config.vocab_size)


def compile_attention(model: GNMT) -> None:
    """Compile attention for training on sentences of any number and lengths: see `compile_training`.

    Its sums (B, T, S, H) are the largest tensors; the LSTMs are cuDNN's.
    """
    compile_training(model.decoder.attention, smallest=2)


def initialize(model: GNMT) -> None:
    """Everything uniform in -0.1 .. 0.1, but one of the two biases of each LSTM 0, attention's scale H^-0.5, bias 0."""
    for name, parameter in model.named_parameters():
        if "bias_hh" in name:
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -INITIAL_RANGE, INITIAL_RANGE)
    attention = model.decoder.attention
    nn.init.constant_(attention.scale, len(attention.direction) ** -0.5)
    nn.init.zeros_(attention.bias)
