"""SSD300 on ResNet-34 (mlcommons/training v0.6, single_stage_detector/ssd/{ssd300,base_model}.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.ssd.config import Config

IMAGE_SIZE = 300
BLOCKS = (3, 4, 6)  # of ResNet-34's first three stages; the fourth is left out
ANCHORS_PER_CELL = (4, 6, 6, 6, 4, 4)
# channels of the 1x1 and of the 3x3 convolution (in parts of 64), stride and padding of the latter
EXTRAS = ((4, 8, 2, 1), (4, 8, 2, 1), (2, 4, 2, 1), (2, 4, 1, 0), (2, 4, 1, 0))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to the (projected) input; names are torchvision's, so that its weights fit."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm(channels_out)
        self.downsample: nn.Module | None = None
        if channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), BatchNorm(channels_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(y)) + shortcut, inplace=True)


class Backbone(nn.Module):
    """(B, 3, 300, 300) -> (B, 4 width, 38, 38): ResNet-34 up to its third stage, which keeps the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), BatchNorm(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(width, width, BLOCKS[0], stride=1)
        self.layer2 = _stage(width, width * 2, BLOCKS[1], stride=2)
        self.layer3 = _stage(width * 2, width * 4, BLOCKS[2], stride=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        return self.layer3(self.layer2(self.layer1(x)))


def _stage(channels_in: int, channels_out: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels_out, stride)
    return nn.Sequential(first, *(BasicBlock(channels_out, channels_out, 1) for _ in range(blocks - 1)))


class SSD(nn.Module):
    """(B, 3, 300, 300) normalized images -> box offsets (B, 8732, 4) and class logits (B, 8732, classes + 1).

    Six maps of 38, 19, 10, 5, 3 and 1 cells a side; anchors come by map, row, column, shape, as in `make_anchors`.
    """

    def __init__(self, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(width)
        extras, channels = [], [width * 4]
        for squeezed, expanded, stride, padding in EXTRAS:
            extras.append(
                nn.Sequential(
                    nn.Conv2d(channels[-1], width * squeezed, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(width * squeezed, width * expanded, 3, stride, padding),
                    nn.ReLU(inplace=True),
                )
            )
            channels.append(width * expanded)
        self.extras = nn.ModuleList(extras)
        self.boxes = _heads(channels, 4)
        self.scores = _heads(channels, num_classes + 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = [self.backbone(images)]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return _by_anchor(maps, self.boxes), _by_anchor(maps, self.scores)


def _heads(channels: Sequence[int], numbers: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Conv2d(c, anchors * numbers, 3, 1, 1) for c, anchors in zip(channels, ANCHORS_PER_CELL, strict=True)
    )


def _by_anchor(maps: Sequence[torch.Tensor], heads: nn.ModuleList) -> torch.Tensor:
    """(B, anchors, numbers); no copy per map when the maps are channels-last."""
    found = []
    for x, head, anchors in zip(maps, heads, ANCHORS_PER_CELL, strict=True):
        y = head(x).permute(0, 2, 3, 1)  # (B, rows, columns, anchors * numbers)
        # No size is left to reshape to find: it can't with an empty batch
        found.append(y.reshape(len(x), y.shape[1] * y.shape[2] * anchors, y.shape[3] // anchors))
    return torch.cat(found, dim=1)


def full_model(config: Config) -> SSD:
    """The network that the settings describe, without its initial weights."""
    return SSD(width=config.width, num_classes=config.num_classes)


def tensor_flops_per_image(config: Config) -> float:
    """Operations of convolutions in a training step, counted as for ResNet: nothing needs the gradient of images."""
    width, side = config.width, IMAGE_SIZE // 2
    stem = 49 * 3 * width * side**2
    channels, side, rest = width, side // 2, 0
    for stage, count in enumerate(BLOCKS):
        outer, side = width << stage, -(-side // 2) if stage == 1 else side
        rest += (9 * channels * outer + (channels * outer if channels != outer else 0)) * side**2
        rest += (2 * count - 1) * 9 * outer**2 * side**2
        channels = outer
    maps = [(channels, side)]
    for squeezed, expanded, stride, padding in EXTRAS:
        rest += channels * width * squeezed * side**2
        side = (side + 2 * padding - 3) // stride + 1
        rest += 9 * width**2 * squeezed * expanded * side**2
        channels = width * expanded
        maps.append((channels, side))
    numbers = 4 + config.num_classes + 1
    rest += sum(
        9 * channels * anchors * numbers * side**2
        for (channels, side), anchors in zip(maps, ANCHORS_PER_CELL, strict=True)
    )
    return 2 * (2 * stem + 3 * rest)


def initialize(model: SSD) -> None:
    """Xavier for the added convolutions, as in the reference, whose backbone always starts from trained weights.

    A random backbone starts as torchvision's with residual branches of zero: features that grow with each block would
    start the loss at a multiple, and the steep descent from there amplifies rounding.
    """
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    for part in (model.extras, model.boxes, model.scores):
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)


def load_backbone(backbone: Backbone, file: Path) -> None:
    """Weights of a ResNet-34 in torchvision's names; its fourth stage and classifier are left out.

    Raises UsageError for a file without them.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        weights = {name: weight for name, weight in weights.items() if not name.startswith(("layer4.", "fc."))}
        # torchvision's first files count no batches
        counts = {name: weight for name, weight in backbone.state_dict().items() if name.endswith("batches_tracked")}
        backbone.load_state_dict(counts | weights)
    except Exception as error:
        raise UsageError(f"backbone_weights {file} does not hold a ResNet-34 of this width in torchvision's names: "
                         f"{str(error).splitlines()[0]}") from error  # fmt: skip
