"""What MiniGo of v0.6 starts from: TensorFlow's files read, converted and continued."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.unit.benchmarks.tensorflow_files import write_checkpoint, write_records

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.optimizers import set_learning_rate
from podium_benchmarks.minigo import data, networks, sgf, train
from podium_benchmarks.minigo import eval as evaluation
from podium_benchmarks.minigo.config import FULL, TINY, Config
from podium_benchmarks.prepare import go
from podium_benchmarks.prepare.archives import PrepareError
from podium_benchmarks.prepare.tensorflow import crc32c, read_checkpoint, read_records

ALONE = Ranks(0, 1, torch.device("cpu"), 1)
ROUNDS = Path(__file__).resolve().parents[3] / "operator/podium/rounds"


@functools.cache
def published(seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors under the names and with the shapes of dual_net.py's variables on 9x9, and their momentum."""
    random = np.random.default_rng(seed)
    shapes = {"conv2d/kernel": (3, 3, 17, 32), "dense/kernel": (162, 82), "dense/bias": (82,),
              "dense_1/kernel": (81, 64), "dense_1/bias": (64,), "dense_2/kernel": (64, 1), "dense_2/bias": (1,)}  # fmt: skip
    shapes |= {f"conv2d_{n}/kernel": (3, 3, 32, 32) for n in range(1, 19)}
    shapes |= {"conv2d_19/kernel": (1, 1, 32, 2), "conv2d_20/kernel": (1, 1, 32, 1)}
    for number in range(21):
        name = f"batch_normalization{f'_{number}' if number else ''}"
        channels = {19: 2, 20: 1}.get(number, 32)
        shapes |= {f"{name}/{kind}": (channels,) for kind in ("moving_mean", "moving_variance")}
        shapes |= {f"{name}/{kind}": (channels,) for kind in ("gamma", "beta") if number < 19}
    tensors = {name: (0.06 * random.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    for name in shapes:
        if name.endswith(("gamma", "moving_variance")):
            tensors[name] = abs(tensors[name]) + 0.5
        if "moving" not in name:
            tensors[name + "/Momentum"] = random.normal(size=shapes[name]).astype(np.float32)
    return tensors | {"global_step": np.array(30_123)}


def dual_net(tensors: dict[str, np.ndarray], planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves' logits and the winner as dual_net.py computes them, from (B, row, column, plane)."""

    def layer(x: torch.Tensor, number: int) -> torch.Tensor:
        place = f"_{number}" if number else ""
        kernel = torch.from_numpy(tensors[f"conv2d{place}/kernel"])
        x = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding="same").permute(
            0, 2, 3, 1
        )
        norm = {k: torch.from_numpy(v) for k in ("moving_mean", "moving_variance", "gamma", "beta")
                if (v := tensors.get(f"batch_normalization{place}/{k}")) is not None}  # fmt: skip
        x = (x - norm["moving_mean"]) / (norm["moving_variance"] + 1e-5).sqrt()
        return x * norm.get("gamma", 1.0) + norm.get("beta", 0.0)

    def dense(x: torch.Tensor, place: str) -> torch.Tensor:
        return x @ torch.from_numpy(tensors[f"dense{place}/kernel"]) + torch.from_numpy(tensors[f"dense{place}/bias"])

    x = layer(planes, 0).relu()
    for number in range(1, 19, 2):
        x = (x + layer(layer(x, number).relu(), number + 1)).relu()
    moves = dense(layer(x, 19).relu().flatten(1), "")
    hidden = dense(layer(x, 20).relu().flatten(1), "_1").relu()
    return moves, dense(hidden, "_2").tanh().flatten()


def golden(number: int) -> list[dict[str, bytes | float]]:
    random = np.random.default_rng(number)
    made = []
    for place in range(3):
        pi = random.random(82).astype(np.float32)
        planes = random.integers(0, 2, (9, 9, 17)).astype(np.uint8)
        made.append({"x": planes.tobytes(), "pi": (pi / pi.sum()).tobytes(), "outcome": 1.0 if place else -1.0})
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folders `checkpoint` and `target` as they are in the public bucket, with 12 chunks."""
    folder = tmp_path_factory.mktemp("minigo") / "bucket"
    write_checkpoint(folder / "checkpoint/9/work_dir/model.ckpt-30123", published())
    write_checkpoint(folder / "target/9/target", {n: v for n, v in published(1).items() if "Momentum" not in n})
    for number in range(12):
        write_records(folder / f"checkpoint/9/golden_chunks/{number:06}-{number:06}.tfrecord.zz", golden(number))
    return folder


@pytest.fixture
def bucket(made, tmp_path):
    return shutil.copytree(made, tmp_path / "bucket")


# --- TensorFlow's files


def test_checksums_are_castagnoli_s():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_a_checkpoint_is_read(tmp_path):
    tensors = published() | {
        "long/name/of/a/tensor" * 30: np.arange(600, dtype=np.float64).reshape(2, 300),
        "none": np.zeros((0, 3), np.int32),
    }
    write_checkpoint(tmp_path / "model.ckpt-7", tensors)
    found = read_checkpoint(tmp_path / "model.ckpt-7")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)


def test_a_broken_checkpoint_is_refused(tmp_path):
    prefix = tmp_path / "model.ckpt-7"
    write_checkpoint(prefix, {f"conv2d_{n}/kernel": np.full((3, 3), n, np.float32) for n in range(20)})
    for file in (prefix.with_name("model.ckpt-7.index"), prefix.with_name("model.ckpt-7.data-00000-of-00001")):
        good = file.read_bytes()
        for place in (0, len(good) // 3, len(good) // 2):
            file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(PrepareError, match=r"model\.ckpt-7\.index is not the index .* \(a checksum differs\)"):
                read_checkpoint(prefix)
        for content in (good[: len(good) // 2], b"", good[:-1]):
            file.write_bytes(content)
            with pytest.raises(PrepareError, match="download both again"):
                read_checkpoint(prefix)
        file.unlink()
        with pytest.raises(PrepareError, match="No such file"):
            read_checkpoint(prefix)
        file.write_bytes(good)


def test_records_are_read_and_broken_ones_refused(tmp_path):
    file = tmp_path / "0.tfrecord.zz"
    write_records(file, golden(3))
    found = list(read_records(file))
    assert found == golden(3)
    for content in (b"", b"text", file.read_bytes()[:-9]):
        file.write_bytes(content)
        with pytest.raises(PrepareError, match="is not a file of TensorFlow records, compressed by zlib"):
            list(read_records(file))


# --- conversion


def test_the_converted_network_computes_what_the_published_one_does():
    tensors = published()
    model = networks.build_model(FULL, 1, ALONE).eval()
    model.load_state_dict(go.weights(tensors))
    planes = torch.randint(0, 2, (5, 9, 9, 17), generator=torch.Generator().manual_seed(1)).float()
    with torch.inference_mode():
        moves, winner = model(planes.permute(0, 3, 1, 2))
        wanted_moves, wanted_winner = dual_net(tensors, planes)
    torch.testing.assert_close(moves, wanted_moves, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(winner, wanted_winner, rtol=1e-4, atol=1e-5)
    assert moves.std() > 0.1
    assert winner.std() > 1e-3


def test_the_bucket_becomes_a_folder_that_a_closed_run_starts_from(bucket, tmp_path):
    out = tmp_path / "out"
    assert go.adopt(bucket, out, 1)
    data.check_data(FULL, out)
    config = data.with_checkpoints(FULL, out)
    model = networks.build_model(config, 1, ALONE)
    assert torch.equal(model.stem.weight, torch.from_numpy(published()["conv2d/kernel"]).permute(3, 2, 0, 1))
    opponent = networks.frozen_opponent(model, config)
    assert torch.equal(opponent.hidden.weight, torch.from_numpy(published(1)["dense_1/kernel"]).T)
    chunks = [data.read_chunk(file) for file in data.golden_chunks(out)]
    assert [len(chunk) for chunk in chunks] == [3] * 10  # the latest ten, oldest first
    example = golden(2)[1]
    assert chunks[0].planes[1].T.numpy().tobytes() == example["x"]
    assert chunks[0].chances[1].numpy().tobytes() == example["pi"]
    assert chunks[0].winners.tolist() == [-1, 1, 1]


def test_training_goes_on_with_the_published_momentum_and_step(bucket, tmp_path):
    go.adopt(bucket, tmp_path / "out", 1)
    config = data.with_checkpoints(FULL, tmp_path / "out")
    model = networks.build_model(config, 1, ALONE)
    optimizer = networks.make_optimizer(model, config)
    step = networks.restore_training(model, optimizer, Path(config.training_state))
    assert step == 30_123
    assert train.learning_rate(config, step) == 0.016
    before = model.moves.bias.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_learning_rate(optimizer, 0.016)
    optimizer.step()  # TensorFlow: accumulated = 0.9 accumulated + gradient; variable -= rate * accumulated
    wanted = before - 0.016 * 0.9 * torch.from_numpy(published()["dense/bias/Momentum"])
    torch.testing.assert_close(model.moves.bias.detach(), wanted)


def test_what_the_bucket_lacks_is_named(bucket, tmp_path):
    assert not go.adopt(tmp_path / "nothing", tmp_path / "out", 1)
    target = bucket / "target/9/target.index"
    target.rename(tmp_path / "kept")
    with pytest.raises(PrepareError, match=r"bucket has no target\.index: it must have the folders checkpoint and"):
        go.adopt(bucket, tmp_path / "out", 1)
    (tmp_path / "kept").rename(target)
    write_checkpoint(bucket / "checkpoint/9/work_dir/model.ckpt-4", published())
    with pytest.raises(PrepareError, match=r"2 checkpoints to start from \(model\.ckpt-30123, model\.ckpt-4\)"):
        go.adopt(bucket, tmp_path / "out", 1)
    with pytest.raises(PrepareError, match=r"no tensor conv2d_20/kernel: is it MiniGo's of v0\.6"):
        go.weights({name: value for name, value in published().items() if name != "conv2d_20/kernel"})
    with pytest.raises(
        PrepareError, match=r"conv2d/kernel has the shape \(3, 3, 17, 64\), which is not that of MiniGo"
    ):
        go.weights(published() | {"conv2d/kernel": np.zeros((3, 3, 17, 64), np.float32)})


# --- before the clock


@pytest.mark.parametrize("missing", ["start.pt", "opponent.pt", "training.pt", "golden/00.pt"])
def test_a_full_run_without_the_published_files_is_refused(missing, tmp_path):
    with pytest.raises(UsageError, match=r"v0\.6 starts from published weights, .*podium-benchmarks prepare minigo"):
        data.check_data(FULL, None)
    (tmp_path / "golden").mkdir()
    for name in ("start.pt", "opponent.pt", "training.pt", "golden/00.pt"):
        if name != missing:
            (tmp_path / name).touch()
    with pytest.raises(UsageError, match=rf"has no (file {missing}|games golden/\*\.pt); v0\.6 starts from"):
        data.check_data(FULL, tmp_path)
    data.check_data(dataclasses.replace(FULL, published_start=False), None)


def test_files_that_hold_something_else_are_refused(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt does not hold positions to train on"):
        data.read_chunk(tmp_path / "x.pt")
    model = networks.build_model(TINY, 1, ALONE)
    with pytest.raises(UsageError, match=r"training_state \S+x\.pt does not hold the momentum of a network of this"):
        networks.restore_training(model, networks.make_optimizer(model, TINY), tmp_path / "x.pt")


# --- v0.5


def test_v0_5_goes_on_as_long_as_its_reference():
    """params/final.json: NUM_MAIN_ITERATIONS and TRIES_PER_PUZZLE."""
    defaults = yaml.safe_load((ROUNDS / "v0.5.yaml").read_text())["benchmarks"]["minigo"]["defaults"]
    assert (defaults["max_epochs"], defaults["eval_tries"]) == (10_000, 5)
    assert set(defaults) <= {field.name for field in dataclasses.fields(Config)}


def test_recorded_moves_may_be_tried_several_times():
    record = sgf.read_game("game.sgf", "(;SZ[5];B[cc];W[dd];B[cd])", 5)
    answers = {(p.black, p.white, p.to_play): move for p, move in zip(record.positions, record.moves, strict=True)}
    seen = Counter()

    def right_once(positions):
        """Knows each recorded move when it sees the position for the first time."""
        chances = np.full((len(positions), 26), 1e-4, dtype=np.float32)
        for row, position in enumerate(positions):
            key = (position.black, position.white, position.to_play)
            chances[row, answers[key] if key in answers and not seen[key] else 25] = 1
            seen[key] += 1
        return chances, np.zeros(len(positions), dtype=np.float32)

    config = dataclasses.replace(TINY, eval_readouts=8, games_at_a_time=1, eval_tries=4)
    ratio = evaluation.predicted_ratio(config, right_once, [record], ALONE)
    assert all(seen[key] >= 4 for key in answers)
    assert 0 < ratio < 0.5  # about one of four tries
