"""ResNet v1.5: bottlenecks whose stride is in the 3x3 convolution (mlcommons/training v0.6, resnet_model.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.resnet.config import Config

EXPANSION = 4


def convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Padding is symmetric, kernel // 2; normalization follows, hence no bias."""
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3 (strided), 1x1 to 4 `width`, added to the (projected) input."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1, self.bn1 = convolution(channels_in, width, 1), BatchNorm(width)
        self.conv2, self.bn2 = convolution(width, width, 3, stride), BatchNorm(width)
        self.conv3, self.bn3 = convolution(width, channels_out, 1), BatchNorm(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(convolution(channels_in, channels_out, 1, stride), BatchNorm(channels_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """(B, 3, H, W) normalized images -> (B, num_classes) logits."""

    def __init__(self, *, width: int, blocks: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.conv, self.bn = convolution(3, width, 7, 2), BatchNorm(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, channels = [], width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(Bottleneck(channels, width << stage, stride))
                channels = (width << stage) * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.pool(F.relu(self.bn(self.conv(images)), inplace=True))
        return self.classifier(self.stages(x).mean((2, 3)))


def full_model(config: Config) -> ResNet:
    """The network that the settings describe, without its initial weights."""
    return ResNet(width=config.width, blocks=config.blocks, num_classes=config.num_classes)


def tensor_flops_per_image(config: Config) -> float:
    """Operations of convolutions and products in a training step: see llama31_8b.model.tensor_flops_per_token.

    Backward takes twice as many as forward, except for the stem: nothing needs the gradient of images.
    """
    width, side = config.width, -(-config.image_size // 2)
    stem = 49 * 3 * width * side**2
    channels, side, rest = width, -(-side // 2), 0
    for stage, count in enumerate(config.blocks):
        inner = width << stage
        for block in range(count):
            before, side = side, -(-side // 2) if stage > 0 and block == 0 else side
            outer = inner * EXPANSION
            rest += channels * inner * before**2 + (9 * inner**2 + inner * outer) * side**2
            rest += channels * outer * side**2 if block == 0 else 0  # the projected shortcut
            channels = outer
    return 2 * (2 * stem + 3 * (rest + channels * config.num_classes))


def initialize(model: ResNet) -> None:
    """The reference's start: truncated normal of variance 1 / fan_in (not He's 2), classifier N(0, 0.01)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            # TensorFlow's variance scaling: cut at two deviations, and widened to keep the variance
            deviation = math.sqrt(1.0 / fan_in) / 0.87962566103423978
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    nn.init.normal_(model.classifier.weight, std=0.01)
    nn.init.zeros_(model.classifier.bias)
