"""The network (maskrcnn_benchmark/modeling): ResNet-50 with strides in the 1x1, feature pyramid, and three heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.maskrcnn.boxes import RATIOS
from podium_benchmarks.maskrcnn.config import Config

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
BOX_POOL, MASK_POOL = 7, 14
MASK_SIDE = 2 * MASK_POOL


class FrozenBatchNorm(nn.Module):
    """x * weight / sqrt(var) + shift of fixed numbers; as in the reference, nothing is added to the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight * self.running_var.rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift.to(x.dtype).view(1, -1, 1, 1), x, scale.to(x.dtype).view(1, -1, 1, 1))


Norm = Callable[[int], nn.Module]


class Bottleneck(nn.Module):
    """1x1 (with the stride), 3x3, 1x1; names are torchvision's, so that its weights fit."""

    def __init__(self, channels_in: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(channels_in, width, 1, stride, bias=False), norm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, channels_out, 1, bias=False), norm(channels_out)
        self.downsample: nn.Module | None = None
        if channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), norm(channels_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut, inplace=True)


class Backbone(nn.Module):
    """(B, 3, H, W) -> C2 to C5: (B, 4 width, H/4, W/4) to (B, 32 width, H/32, W/32)."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), norm(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for number, blocks in enumerate(BLOCKS):
            stage = []
            for block in range(blocks):
                stride = 2 if number > 0 and block == 0 else 1
                stage.append(Bottleneck(channels, width * 2**number, stride, norm))
                channels = width * 2**number * EXPANSION
            self.add_module(f"layer{number + 1}", nn.Sequential(*stage))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps[1:]


class Pyramid(nn.Module):
    """C2 to C5 -> P2 to P6, all of `channels`; P6 is every second value of P5."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(width * EXPANSION * 2**level, channels, 1) for level in range(4))
        self.outer = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(4))

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        inner = [convolution(x) for convolution, x in zip(self.inner, maps, strict=True)]
        for level in (2, 1, 0):
            inner[level] = inner[level] + F.interpolate(inner[level + 1], size=inner[level].shape[2:], mode="nearest")
        outer = [convolution(x) for convolution, x in zip(self.outer, inner, strict=True)]
        return [*outer, outer[-1][:, :, ::2, ::2]]


class ProposalHead(nn.Module):
    """Per level (B, C, H, W) -> scores (B, n) and offsets (B, n, 4) of the anchors, by row, column and ratio."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.scores = nn.Conv2d(channels, len(RATIOS), 1)
        self.offsets = nn.Conv2d(channels, 4 * len(RATIOS), 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        scores, offsets = [], []
        for x in maps:
            hidden = F.relu(self.conv(x), inplace=True)
            anchors = hidden.shape[2] * hidden.shape[3] * len(RATIOS)
            scores.append(self.scores(hidden).permute(0, 2, 3, 1).reshape(len(x), anchors))
            offsets.append(self.offsets(hidden).permute(0, 2, 3, 1).reshape(len(x), anchors, 4))
        return scores, offsets


class BoxHead(nn.Module):
    """(n, C, 7, 7) -> class scores (n, classes + 1) and offsets for each class (n, classes + 1, 4)."""

    def __init__(self, channels: int, features: int, num_classes: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels * BOX_POOL**2, features), nn.Linear(features, features)
        self.scores = nn.Linear(features, num_classes + 1)
        self.offsets = nn.Linear(features, 4 * (num_classes + 1))

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = F.relu(self.fc2(F.relu(self.fc1(pooled.flatten(1)))))
        offsets = self.offsets(hidden)
        return self.scores(hidden), offsets.view(len(offsets), offsets.shape[1] // 4, 4)


class MaskHead(nn.Sequential):
    """(n, C, 14, 14) -> logits (n, classes + 1, 28, 28)."""

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        convolutions: list[nn.Module] = []
        for number in range(4):
            convolutions += [nn.Conv2d(hidden if number else channels, hidden, 3, 1, 1), nn.ReLU(inplace=True)]
        enlarge = nn.ConvTranspose2d(hidden, hidden, 2, 2)
        super().__init__(*convolutions, enlarge, nn.ReLU(inplace=True), nn.Conv2d(hidden, num_classes + 1, 1))


class MaskRCNN(nn.Module):
    """The parts; what goes from one to the next differs in training and evaluation: losses.py, eval.py."""

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config)
        self.pyramid = Pyramid(config.width, config.fpn_channels)
        self.proposals = ProposalHead(config.fpn_channels)
        self.boxes = BoxHead(config.fpn_channels, config.box_features, num_classes)
        self.masks = MaskHead(config.fpn_channels, config.mask_channels, num_classes)
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.span_ranks = config.sync_bn
        if config.frozen_backbone:
            for part in (self.backbone.conv1, self.backbone.layer1):
                part.requires_grad_(False)


def make_backbone(config: Config) -> Backbone:
    """The backbone that the settings describe."""
    return Backbone(config.width, FrozenBatchNorm if config.frozen_backbone else BatchNorm)


def full_model(config: Config) -> MaskRCNN:
    """The network that the settings describe, without its initial weights."""
    return MaskRCNN(config, config.num_classes)


def initialize(model: MaskRCNN) -> None:
    """As the reference, whose backbone always starts from trained weights.

    A random backbone starts as torchvision's with residual branches of zero, where it has batch normalization.
    """
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, Bottleneck) and isinstance(module.bn3, BatchNorm):
            nn.init.zeros_(module.bn3.weight)
    for module in (*model.pyramid.modules(), model.boxes.fc1, model.boxes.fc2):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=1)
    for module in model.masks:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for layer in (model.proposals.conv, model.proposals.scores, model.proposals.offsets, model.boxes.scores):
        nn.init.normal_(layer.weight, std=0.01)
    nn.init.normal_(model.boxes.offsets.weight, std=0.001)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias") and not name.startswith("backbone."):
            nn.init.zeros_(parameter)


def load_backbone(backbone: Backbone, file: Path) -> None:
    """Weights of MSRA's ResNet-50 as `prepare maskrcnn` writes them, in torchvision's names; a classifier is left out.

    Raises UsageError for a file without them.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        wanted = backbone.state_dict().keys()
        weights = {
            name: weight
            for name, weight in weights.items()
            if not name.startswith("fc.") and (name in wanted or not name.endswith("num_batches_tracked"))
        }
        backbone.load_state_dict(weights)
    except Exception as error:
        raise UsageError(f"backbone_weights {file} does not hold a ResNet-50 of this width in torchvision's names: "
                         f"{str(error).splitlines()[0]}") from error  # fmt: skip
