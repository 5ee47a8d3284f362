"""MSRA's ResNet-50 in Detectron's file R-50.pkl, as a state_dict for Mask R-CNN.

The file is a pickle that others wrote. Unpickling runs whatever a pickle names, so nothing of it is looked up: what
Python and NumPy would construct from it is read by the stand-ins of this module.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from podium_benchmarks.prepare.archives import PrepareError

_ORDERS = ("<", "=", "|")  # of bytes: little endian, or this machine's
_KINDS = {"f2": 2, "f4": 4, "f8": 8, "i4": 4, "i8": 8}


class _Kind:
    """What numpy.dtype("f4", ...) and its state describe."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = str(name)
        if self.name not in _KINDS:
            raise pickle.UnpicklingError(f"an array of {self.name[:20]!r}, which is not a kind of numbers")

    def __setstate__(self, state: Any) -> None:
        if state[1] not in _ORDERS:
            raise pickle.UnpicklingError(f"an array of {self.name} in byte order {state[1]!r}")


class _Array:
    """What numpy's _reconstruct and the state of an array describe."""

    values: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        raw = content.encode("latin1") if isinstance(content, str) else content  # Python 2 has no bytes
        if not isinstance(kind, _Kind) or not isinstance(raw, bytes) or not all(size >= 0 for size in shape):
            raise pickle.UnpicklingError("an array that is not one")
        if len(raw) != math.prod(shape) * _KINDS[kind.name]:
            raise pickle.UnpicklingError(f"an array of shape {shape} in {len(raw)} bytes")
        values = np.frombuffer(raw, dtype=f"<{kind.name}").astype(np.float32)
        self.values = values.reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _latin1_bytes(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes into a pickle that Python 2 can read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("text in an unknown encoding")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _latin1_bytes,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"{module}.{name}, which is neither an array nor a number")
        return _STAND_INS[module, name]


def read_arrays(file: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays by their Caffe2 names. Raises PrepareError, without running anything, for all but a pickle of them."""
    try:
        with file.open("rb") as reader:
            content = _Reader(reader, encoding="latin1").load()
        blobs = content.get("blobs", content)
        return {name: blob.values for name, blob in blobs.items() if isinstance(blob, _Array)}
    except Exception as error:  # a broken pickle raises anything
        raise PrepareError(f"{file} is not a file of Caffe2 weights ({error}): download it again") from error


def resnet50(arrays: Mapping[str, NDArray[np.float32]], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The arrays under the names, and of the shapes, in `wanted`: a state_dict in torchvision's names.

    Scale and shift in the file already contain the statistics of batch normalization, which are therefore 0 and 1.
    Raises PrepareError for an array that is missing or has another shape.
    """
    weights = {}
    for name, tensor in wanted.items():
        if name.endswith(("running_mean", "running_var")):
            weights[name] = torch.full_like(tensor, name.endswith("running_var"))
            continue
        blob = _caffe2_name(name)
        if blob not in arrays or arrays[blob].shape != tuple(tensor.shape):
            found = arrays[blob].shape if blob in arrays else "missing"
            raise PrepareError(f"R-50.pkl: {blob} is {found}, but a ResNet-50 has it as {tuple(tensor.shape)}")
        weights[name] = torch.from_numpy(arrays[blob].copy())
    return weights


def _caffe2_name(name: str) -> str:
    """res2_0_branch2a_w for layer1.0.conv1.weight, res2_0_branch2a_bn_s for layer1.0.bn1.weight, and so on."""
    module, _, kind = name.rpartition(".")
    if module in {"conv1", "bn1"}:
        return "conv1_w" if module == "conv1" else f"res_conv1_bn_{'s' if kind == 'weight' else 'b'}"
    place = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)", module)
    assert place is not None, f"a ResNet has no {name}"
    stage, block, part, number = place.groups()
    branch = "branch1" if part == "downsample." else "branch2" + "abc"[int(number) - 1]
    is_norm = part == "bn" or (part, number) == ("downsample.", "1")
    suffix = f"bn_{'s' if kind == 'weight' else 'b'}" if is_norm else "w"
    return f"res{int(stage) + 1}_{block}_{branch}_{suffix}"
