"""MiniGo: the four games whose moves v0.5 predicts, or what v0.6 starts from and has to beat.

The latter are TensorFlow's files in a public bucket (gs://minigo-pub/ml_perf/0.6/{checkpoint,target}), which lists no
checksums: copy both folders yourself and name them with --source.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from podium_benchmarks.minigo.config import FULL
from podium_benchmarks.minigo.data import GOLDEN, OPPONENT, START, TRAINING, Examples
from podium_benchmarks.minigo.model import PLANES, PolicyValue, full_model
from podium_benchmarks.minigo.sgf import read_games
from podium_benchmarks.prepare.archives import Archive, PrepareError
from podium_benchmarks.prepare.files import written
from podium_benchmarks.prepare.tensorflow import read_checkpoint, read_records

_HOME = ("https://raw.githubusercontent.com/mlcommons/training/80f8a0731e2284ba461e296b47faf84373401040"
         "/reinforcement/tensorflow/minigo/benchmark_sgf")  # fmt: skip
_ORIGIN = "the file at that commit"
ARCHIVES = tuple(
    Archive(f"9x9_pro_{name}.sgf", f"{_HOME}/9x9_pro_{name}.sgf", size, f"sha256:{digest}", _ORIGIN)
    for name, size, digest in (
        ("IYHN", 306, "486a6c67885354dfa31bcc16fc4a17e83ada40b9fd43600b4245b04e3df09314"),
        ("IYMD", 498, "654fd67a1cfc0ed7278eed8e766ba8b90b232f418173523c26dc7efffdb7adc9"),
        ("YKSH", 378, "5cb52058e21284b7b0306f29462b9ca09d4da729c7eebf25b88ce9291fbcb571"),
        ("YSIY", 408, "80077ea05c80f8f21208a1dc7bfc563753344ece65ea43fbb9e20a2d6cd09965"),
    )
)
BOARD_SIZE = 9


def prepare(archives: dict[str, Path], out: Path, workers: int) -> None:
    """OUT/*.sgf, played through once."""
    del workers  # four small files
    for name, path in archives.items():
        with path.open("rb") as reader, written(out / name) as file:
            shutil.copyfileobj(reader, file)
    read_games(out, BOARD_SIZE)


def adopt(source: Path, out: Path, _: int) -> bool:
    """Convert the published checkpoint and target below `source`, if it has them.

    OUT/start.pt and opponent.pt (weights), training.pt (momentum and step) and golden/*.pt (positions to train on).
    Raises PrepareError if a part is missing or broken.
    """
    starts, opponents = (
        sorted(file.with_suffix("") for file in source.rglob(name)) for name in ("model.ckpt-*.index", "target.index")
    )
    if not starts and not opponents:
        return False
    chunks = sorted(source.rglob("golden_chunks/*.tfrecord.zz"))[-FULL.window_generations :]
    for what, found in (("model.ckpt-*.index", starts[:1]), ("target.index", opponents[:1]), ("golden chunk", chunks)):
        if not found:
            raise PrepareError(f"--source {source} has no {what}: it must have the folders checkpoint and target of "
                               "gs://minigo-pub/ml_perf/0.6")  # fmt: skip
    if len(starts) > 1:
        raise PrepareError(f"--source {source} has {len(starts)} checkpoints to start from ({starts[0].name}, "
                           f"{starts[1].name}): leave only the published one")  # fmt: skip
    tensors = read_checkpoint(starts[0])
    _save(out / START, weights(tensors))
    if "global_step" not in tensors:
        raise PrepareError(f"{starts[0]} has no tensor global_step: is it a checkpoint of training?")
    step = torch.tensor(int(tensors["global_step"]))
    _save(out / TRAINING, {"step": step, "momentum": weights(tensors, "/Momentum")})
    _save(out / OPPONENT, weights(read_checkpoint(opponents[0])))
    for number, chunk in enumerate(chunks):
        _save(out / GOLDEN / f"{number:02}.pt", vars(_examples(chunk)))
    return True


def weights(tensors: Mapping[str, NDArray[Any]], slot: str = "") -> dict[str, torch.Tensor]:
    """A network of v0.6 (dual_net.py), or what its optimizer keeps in a slot of each parameter, in our names.

    TensorFlow numbers layers in the order of their creation: stem, tower, policy, value.
    """
    model = full_model(FULL)
    found = {} if slot else model.state_dict()  # its plain normalizations and counts are not in a checkpoint
    names = [name for name, _ in model.named_parameters()] if slot else list(found)
    for name in names:
        source = _tensorflow_names(model).get(name, "")
        if not source:
            continue
        if source + slot not in tensors:
            raise PrepareError(f"the checkpoint has no tensor {source + slot}: is it MiniGo's of v0.6?")
        value = _in_our_order(name, tensors[source + slot])
        if value.shape != (model.get_parameter(name) if slot else found[name]).shape:
            raise PrepareError(f"the checkpoint's {source + slot} has the shape {tensors[source + slot].shape}, which "
                               "is not that of MiniGo on 9x9 in v0.6")  # fmt: skip
        found[name] = torch.from_numpy(np.array(value, dtype=np.float32, order="C"))
    return found


def _tensorflow_names(model: PolicyValue) -> dict[str, str]:
    blocks = [(f"tower.{n}.conv{k}", f"tower.{n}.bn{k}") for n in range(len(model.tower)) for k in (1, 2)]
    pairs = [("stem", "stem_bn"), *blocks, ("policy", "policy_bn"), ("value", "value_bn")]
    names = {}
    for number, (convolution, norm) in enumerate(pairs):
        place = f"_{number}" if number else ""
        names[f"{convolution}.weight"] = f"conv2d{place}/kernel"
        kinds = {"running_mean": "moving_mean", "running_var": "moving_variance"}
        if norm not in {"policy_bn", "value_bn"}:  # which have neither scale nor shift
            kinds |= {"weight": "gamma", "bias": "beta"}
        names |= {f"{norm}.{ours}": f"batch_normalization{place}/{theirs}" for ours, theirs in kinds.items()}
    for number, layer in enumerate(("moves", "hidden", "winner")):
        place = f"_{number}" if number else ""
        names |= {f"{layer}.weight": f"dense{place}/kernel", f"{layer}.bias": f"dense{place}/bias"}
    return names


def _in_our_order(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """TensorFlow has (height, width, in, out) and (in, out), and flattens channels last."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if name == "moves.weight":
        return value.reshape(BOARD_SIZE**2, -1, value.shape[1]).transpose(2, 1, 0).reshape(value.shape[1], -1)
    return value.T


def _examples(chunk: Path) -> Examples:
    """preprocessing.py: x is (row, column, plane) uint8, pi the visits' ratios, outcome 1 where Black won."""
    points = BOARD_SIZE**2
    planes, chances, winners = bytearray(), bytearray(), []
    for example in read_records(chunk):
        x, pi, outcome = (example.get(name) for name in ("x", "pi", "outcome"))
        if (
            not isinstance(x, bytes)
            or not isinstance(pi, bytes)
            or len(x) != points * PLANES
            or len(pi) != 4 * points + 4
        ):
            raise PrepareError(f"{chunk} has a position that is not one of 9x9 in v0.6")
        planes += x
        chances += pi
        winners.append(outcome)
    x = np.frombuffer(planes, dtype=np.uint8).reshape(-1, points, PLANES).transpose(0, 2, 1)
    pi = np.frombuffer(chances, dtype="<f4").reshape(-1, points + 1)
    return Examples(torch.from_numpy(x.copy()), torch.from_numpy(pi.copy()), torch.tensor(winners, dtype=torch.float32))


def _save(path: Path, content: Any) -> None:
    with written(path) as file:
        torch.save(content, file)
