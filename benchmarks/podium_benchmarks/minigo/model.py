"""The network (mlcommons/training, minigo/dual_net.py): a residual tower with heads for moves and for the winner."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.minigo.config import NETWORKS, Config

PLANES = 17  # own and other stones now and seven times before, and whose turn it is


class Block(nn.Module):
    """Two 3x3 convolutions, added to the input."""

    def __init__(self, width: int, *, bias: bool, momentum: float) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, 1, 1, bias=bias), BatchNorm(width, momentum=momentum)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=bias), BatchNorm(width, momentum=momentum)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class PolicyValue(nn.Module):
    """(B, 17, size, size) -> logits of moves (B, size * size + 1) and (B,) how the game ends: 1 Black wins, -1 White.

    `bias` is that of convolutions: v0.5 has them, v0.6 does not. `momentum` is the weight of new statistics.
    """

    def __init__(
        self, *, size: int, width: int, blocks: int, features: int, bias: bool, momentum: float, sync_bn: bool = False
    ) -> None:
        super().__init__()
        points = size * size
        self.stem, self.stem_bn = nn.Conv2d(PLANES, width, 3, 1, 1, bias=bias), BatchNorm(width, momentum=momentum)
        self.tower = nn.Sequential(*(Block(width, bias=bias, momentum=momentum) for _ in range(blocks)))
        self.policy, self.policy_bn = nn.Conv2d(width, 2, 1, bias=bias), _plain_norm(2, momentum)
        self.moves = nn.Linear(2 * points, points + 1)
        self.value, self.value_bn = nn.Conv2d(width, 1, 1, bias=bias), _plain_norm(1, momentum)
        self.hidden, self.winner = nn.Linear(points, features), nn.Linear(features, 1)
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.span_ranks = sync_bn

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.tower(F.relu(self.stem_bn(self.stem(planes))))
        moves = self.moves(F.relu(self.policy_bn(self.policy(x))).flatten(1))
        hidden = F.relu(self.hidden(F.relu(self.value_bn(self.value(x))).flatten(1)))
        return moves, self.winner(hidden).tanh().squeeze(1)


def _plain_norm(channels: int, momentum: float) -> BatchNorm:
    """The heads' normalization has neither scale nor shift to learn."""
    norm = BatchNorm(channels, momentum=momentum)
    del norm.weight, norm.bias
    norm.register_buffer("weight", torch.ones(channels))
    norm.register_buffer("bias", torch.zeros(channels))
    return norm


def full_model(config: Config) -> PolicyValue:
    """The network that the settings describe, without its initial weights."""
    bias, momentum = NETWORKS[config.network]
    return PolicyValue(size=config.board_size, width=config.width, blocks=config.blocks, features=config.features,
                       bias=bias, momentum=momentum, sync_bn=config.sync_bn)  # fmt: skip


def initialize(model: PolicyValue) -> None:
    """Glorot-uniform weights and biases of 0, as TensorFlow's layers start."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
