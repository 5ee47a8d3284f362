"""Made-up data in the formats of the real sets: JPEG files, COCO's folder, token ids; and what a run says of them."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.unit.benchmarks.coco_folder import write_folder

import podium_benchmarks
from podium_benchmarks.core import ids
from podium_benchmarks.core.photos import SCENE_CLASSES
from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.gnmt.data import VOCABULARY as GNMT_VOCABULARY
from podium_benchmarks.transformer.data import VOCABULARY as TRANSFORMER_VOCABULARY

REPOSITORY = Path(__file__).resolve().parents[3]
DIFFERENT_PHOTOS = 256  # further ones are links to these: decoding costs the same
WORDS = 25  # mean length of a sentence


def jpeg_folder(folder: Path, config: Any, count: int) -> None:
    """`count` photos to train on and an eighth to evaluate, of ImageNet's usual size and about its bytes."""
    random = np.random.default_rng(1)
    first: list[Path] = []
    for part, images in (("train", count), ("val", count // 8)):
        for number in range(max(images, config.num_classes)):  # every class has one
            place = folder / part / f"{number % config.num_classes:04}"
            place.mkdir(parents=True, exist_ok=True)
            file = place / f"{number}.jpg"
            if len(first) == DIFFERENT_PHOTOS:
                os.link(first[number % DIFFERENT_PHOTOS], file)
                continue
            coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
            fine = random.integers(-12, 13, (375, 500, 1))
            Image.fromarray((np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)).save(file, quality=90)
            first.append(file)


def coco_folder(folder: Path, config: Any, count: int) -> None:
    """`count` scenes to train on and a quarter to evaluate, with masks, and as many categories as COCO has."""
    parts = [make_scenes(images, size=480, classes=SCENE_CLASSES, seed=1, held_out=held_out)
             for images, held_out in ((count, False), (max(1, count // 4), True))]  # fmt: skip
    categories = tuple(range(1, (config.num_classes or SCENE_CLASSES) + 1))
    train, evaluation = (dataclasses.replace(part, category_ids=categories) for part in parts)
    write_folder(folder, train, evaluation)


def id_folder(benchmark: str, vocabulary: str, quote: str, folder: Path, config: Any, count: int) -> None:
    """`count` pairs of sentences of random ids, and newstest2014's 3,003 or fewer; a vocabulary of made-up words."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True)
    reserved = podium_benchmarks.benchmark(benchmark).load("model").RESERVED
    letters = [*"\\_u;0123456789"]  # with which the Transformer spells what it doesn't know
    words = ["<pad>", "<EOS>", *letters] if quote else letters
    size = config.vocab_size - (0 if quote else reserved)
    words += [f"w{number}" for number in range(size - len(words))]
    (folder / vocabulary).write_text("".join(f"{quote}{word}{quote}\n" for word in words))
    lengths = random.poisson(WORDS, size=count).clip(3, config.max_sequence_length - 2).astype("<u2")
    held_out = lengths[: min(3003, max(4, count // 8))]
    for part, part_lengths in ((ids.TRAIN[0], lengths), (ids.TRAIN[1], lengths), (ids.EVALUATION, held_out)):
        part_lengths.tofile(folder / f"{part}.lengths")
        random.integers(reserved, config.vocab_size, size=int(part_lengths.sum()), dtype="<u2").tofile(
            folder / f"{part}.ids"
        )
    (folder / ids.REFERENCES).write_text("ein Satz\n" * len(held_out))
    sentences = {part: len(held_out if part == ids.EVALUATION else lengths) for part in ids.PARTS}
    tokens = {part: (folder / f"{part}.ids").stat().st_size // ids.ID_BYTES for part in ids.PARTS}
    index = ids.Index(benchmark, config.vocab_size, sentences, tokens, differs=("made up",))
    (folder / ids.INDEX).write_text(index.to_json())


def gnmt(folder: Path, config: Any, count: int) -> None:
    id_folder("gnmt", GNMT_VOCABULARY, "", folder, config, count)


def transformer(folder: Path, config: Any, count: int) -> None:
    id_folder("transformer", TRANSFORMER_VOCABULARY, "'", folder, config, count)


@dataclasses.dataclass(frozen=True)
class Case:
    """How a benchmark's data are made, how many at full and tiny size, and what a run of them sets."""

    make: Callable[[Path, Any, int], None] | None  # None: MiniGo makes its own
    full: int
    tiny: int
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    full_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# Rates are small where random weights could grow until nothing is finite
CASES = {
    "resnet": Case(jpeg_folder, 64_000, 96, {"resident_megabytes": 0, "epochs_between_evals": 1},
                   {"global_batch_size": 512, "opt_base_learning_rate": 0.1}),
    "ssd": Case(coco_folder, 2048, 24, {"resident_megabytes": 0, "opt_base_learning_rate": 1e-4},
                {"global_batch_size": 256, "pretrained_backbone": False}),
    "maskrcnn": Case(coco_folder, 512, 24, {"opt_base_learning_rate": 1e-5},
                     {"global_batch_size": 16, "frozen_backbone": False}),
    "gnmt": Case(gnmt, 250_000, 300, {}, {"global_batch_size": 1024}),
    "transformer": Case(transformer, 250_000, 300, {}, {"global_batch_size": 12_800}),
    "minigo": Case(None, 0, 0, {"gate_games": 0, "eval_games": 20},
                   {"published_start": False, "games_per_generation": 512}),
}  # fmt: skip


def measure(name: str, preset: str, folder: Path, *, cpu: bool) -> dict[str, Any]:
    """A run's second epoch and its last evaluation, on data of the real format; the first epoch warms up."""
    case = CASES[name]
    config = podium_benchmarks.benchmark(name).presets[preset]
    settings = {**case.settings, **(case.full_settings if preset == "full" else {}), "max_epochs": 2}
    arguments = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    if case.make is not None:
        case.make(folder / "data", config, case.full if preset == "full" else case.tiny)
        arguments += ["--data", str(folder / "data")]
    target = "/".join("1" for _ in podium_benchmarks.benchmark(name).qualities)  # out of reach
    path = os.pathsep.join(filter(None, [str(REPOSITORY / "benchmarks"), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | ({"CUDA_VISIBLE_DEVICES": ""} if cpu else {})
    command = [sys.executable, "-m", f"podium_benchmarks.{name}", "--preset", preset, "--target", target, "--seed", "1"]
    run = subprocess.run([*command, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return read_log([json.loads(line.removeprefix(":::MLLOG ")) for line in run.stdout.splitlines()])


def read_log(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The last epoch's samples per second without evaluations in it, how long it waited, and the last evaluation."""
    starts, stops = ([line["time_ms"] for line in lines if line["key"] == f"epoch_{end}"] for end in ("start", "stop"))
    evaluations = [(start["time_ms"], stop["time_ms"]) for start, stop in zip(
        *([line for line in lines if line["key"] == f"eval_{end}"] for end in ("start", "stop")), strict=True)]  # fmt: skip
    within = sum(stop - start for start, stop in evaluations if starts[-1] <= start <= stops[-1])
    seconds = (stops[-1] - starts[-1] - within) / 1000
    stats = [line for line in lines if line["key"] == "tracked_stats" and "samples_count" in line["metadata"]]
    before = max((line["metadata"]["samples_count"] for line in stats if line["time_ms"] < starts[-1]), default=0)
    latest = [line["value"] for line in stats if line["time_ms"] >= starts[-1]]
    found = {
        "epoch_seconds": round(seconds, 2),
        "samples_per_second": round((stats[-1]["metadata"]["samples_count"] - before) / max(seconds, 1e-3), 1),
        "evaluation_seconds": round((evaluations[-1][1] - evaluations[-1][0]) / 1000, 2),
    }
    for key in ("tokens_per_second", "data_wait_share"):
        values = [value[key] for value in latest if key in value]
        found |= {key: round(statistics.median(values), 4)} if values else {}
    return found
