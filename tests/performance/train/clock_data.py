"""Made-up data with the counts and sizes of the real sets, for clock.py; `part` makes fewer of them."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timing import REPOSITORY

from podium_benchmarks.minigo.board import BLACK, Position, geometry
from podium_benchmarks.minigo.selfplay import Game

sys.path.insert(0, str(REPOSITORY))
from tests.performance.train import real_format

IMAGENET = {"train": 1_281_167, "val": 50_000}
CLASSES, DIFFERENT_JPEGS, SHARD_IMAGES = 1000, 64, 10_000
COCO = {"train": (118_287, 860_001), "val": (5_000, 36_781)}  # photos and their objects
CATEGORIES, WIDTH, HEIGHT, CORNERS = 80, 640, 480, 22  # of an outline, in the mean
GAME_MOVES = 60
TRANSLATION = {"gnmt": (3_975_116, 28), "transformer": (4_590_101, 28)}  # pairs, and ids of a sentence in the mean


def jpegs(folder: Path, width: int, height: int) -> list[Path]:
    """Photos of a size, with about the bytes of real ones."""
    random, files = np.random.default_rng(1), []
    folder.mkdir(parents=True)
    for number in range(DIFFERENT_JPEGS):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
        pixels = np.asarray(coarse) + random.integers(-12, 13, (height, width, 1))
        files.append(folder / f"{number}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def imagenet_files(folder: Path, part: float) -> None:
    """Class folders; every file is a link to one of a few."""
    first = jpegs(folder / "different", 500, 375)
    for name, size in IMAGENET.items():
        for number in range(max(CLASSES, round(size * part))):
            place = f"{folder}/{name}/{number % CLASSES:04}"
            if number < CLASSES:
                os.makedirs(place)  # noqa: PTH103 - a million names
            os.link(first[number % DIFFERENT_JPEGS], f"{place}/n{number:08}_{number:06}.JPEG")


def imagenet_shards(folder: Path, part: float) -> list[Path]:
    """Training images in tar files that hold their headers alone: what is between them takes no room."""
    folder.mkdir()
    random, shards = np.random.default_rng(1), []
    numbers = range(max(CLASSES, round(IMAGENET["train"] * part)))
    for start in range(0, len(numbers), SHARD_IMAGES):
        shards.append(folder / f"{start:08}.tar")
        with shards[-1].open("wb") as file:
            for number in numbers[start : start + SHARD_IMAGES]:
                member = tarfile.TarInfo(f"{number % CLASSES:04}/n{number:08}_{number:06}.JPEG")
                member.size = int(random.integers(80_000, 140_000))
                file.write(member.tobuf(tarfile.USTAR_FORMAT))
                file.seek(-(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, io.SEEK_CUR)
            file.write(b"\0" * tarfile.RECORDSIZE)
    return shards


def coco_folder(folder: Path, part: float) -> None:
    """COCO's layout; every photo is a link to one of a few."""
    first = jpegs(folder / "different", WIDTH, HEIGHT)
    (folder / "annotations").mkdir()
    for name, sizes in COCO.items():
        photos, objects = (max(CATEGORIES, round(size * part)) for size in sizes)
        (folder / f"{name}2017").mkdir()
        for number in range(photos):
            os.link(first[number % DIFFERENT_JPEGS], folder / f"{name}2017" / f"{number:012}.jpg")
        with (folder / "annotations" / f"instances_{name}2017.json").open("w") as file:
            file.write(json.dumps({"categories": [{"id": 1 + number} for number in range(CATEGORIES)],
                                   "images": [{"id": number, "file_name": f"{number:012}.jpg", "height": HEIGHT,
                                               "width": WIDTH} for number in range(photos)]})[:-1])  # fmt: skip
            file.write(', "annotations": [')
            file.writelines(
                (", " if number else "") + json.dumps(one) for number, one in enumerate(_objects(photos, objects))
            )
            file.write("]}")


def _objects(photos: int, objects: int) -> Iterator[dict[str, Any]]:
    """Ellipses of all sizes; every category occurs."""
    random = np.random.default_rng(0)
    sides = np.exp(random.normal(4, 1, (objects, 2))).clip(4, [WIDTH, HEIGHT])
    corners = random.uniform(size=(objects, 2)) * ([WIDTH, HEIGHT] - sides)
    images = random.integers(photos, size=objects).tolist()
    turns = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = (1 + np.stack([np.cos(turns), np.sin(turns)], axis=1)) / 2
    for number, (image, (width, height), (left, top)) in enumerate(zip(images, sides, corners, strict=True)):
        outline = (circle * (width, height) + (left, top)).round(2).flatten().tolist()
        yield {"id": number + 1, "image_id": image, "category_id": number % CATEGORIES + 1, "iscrowd": 0,
               "bbox": [round(value, 2) for value in (left, top, width, height)], "area": round(width * height * 0.785, 2),
               "segmentation": [outline]}  # fmt: skip


def token_ids(name: str, folder: Path, config: Any, part: float) -> None:
    """As `podium-benchmarks prepare` leaves them."""
    pairs = TRANSLATION[name][0]
    real_format.CASES[name].make(folder, config, round(pairs * part))


def text(lines: int, words: int) -> list[str]:
    """Sentences of words as often as in a language: few are many of them."""
    random = np.random.default_rng(1)
    return [" ".join(map(str, line)) for line in (random.zipf(1.2, (lines, words)) % 500_000).tolist()]


def random_game(number: int, size: int) -> Game:
    """Of random moves, about as long as real ones, with made-up visits."""
    random = np.random.default_rng(number)
    game, position = Game(number, random, may_resign=False, winner=BLACK), Position(geometry(size))
    for _ in range(GAME_MOVES):
        moves = np.flatnonzero(geometry(size).planes([position.legal()])[0])
        if not len(moves):
            break
        game.positions.append(position)
        game.visits.append(random.multinomial(240, np.full(size * size + 1, 1 / (size * size + 1))).astype(np.float32))
        position = position.play(int(random.choice(moves)))
    return game
