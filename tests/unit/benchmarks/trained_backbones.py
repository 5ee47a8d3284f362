"""Backbones as if trained: normalization whose statistics belong to photos of a kind, in files as the world has them."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from podium_benchmarks.core.backbones import fixed_photo
from podium_benchmarks.core.batch_norm import BatchNorm


def trained(backbone: nn.Module, prepare: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """`backbone` with random weights and the statistics that photos, as `prepare` makes them, have in it."""
    generator = torch.Generator().manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        if isinstance(module, BatchNorm):
            module.momentum = 1.0
            module.weight.data.uniform_(0.1, 0.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    photo = fixed_photo()
    photos = torch.cat([photo, photo.flip(2), photo.transpose(2, 3), photo.flip(3)])
    with torch.no_grad():
        backbone.train()(prepare(photos))
    return backbone.eval()


def without_statistics(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same network with each normalization's statistics in its scale and shift, as Caffe2 has it."""
    folded = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    for name in [name.removesuffix("running_var") for name in state if name.endswith("running_var")]:
        scale = state[name + "weight"] * (state[name + "running_var"] + 1e-5).rsqrt()
        folded[name + "bias"] = state[name + "bias"] - state[name + "running_mean"] * scale
        folded[name + "weight"] = scale
        folded[name + "running_mean"] = torch.zeros_like(scale)
        folded[name + "running_var"] = torch.ones_like(scale)
    return folded


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as they are in R-50.pkl."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _save_bytes(self, content: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = _save_bytes


def write_r50(file: Path, state: Mapping[str, torch.Tensor]) -> None:
    """A network `without_statistics` as Detectron names its arrays: an independent way round from our reader's."""
    blobs: dict[str, object] = {"conv1_b": np.zeros(3, np.float32), "fc1000_w": np.zeros((2, 2), np.float32)}
    letters = {"1": "branch2a", "2": "branch2b", "3": "branch2c"}
    for name, value in state.items():
        parts = name.split(".")
        suffix = {"weight": "s", "bias": "b"}.get(parts[-1], "")
        if not suffix:
            continue
        if parts[0] == "conv1":
            key = "conv1_w"
        elif parts[0] == "bn1":
            key = f"res_conv1_bn_{suffix}"
        else:
            branch = "branch1" if parts[2] == "downsample" else letters[parts[2][-1]]
            norm = parts[2].startswith("bn") or parts[2:4] == ["downsample", "1"]
            key = f"res{int(parts[0][-1]) + 1}_{parts[1]}_{branch}_" + (f"bn_{suffix}" if norm else "w")
        blobs[key] = value.numpy()
    with file.open("wb") as writer:
        Python2Pickler(writer, 2).dump({"blobs": blobs, "cfg": "MODEL: R-50"})
