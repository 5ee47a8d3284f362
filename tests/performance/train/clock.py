"""Seconds on the clock that are not training: what a rank of eight does between run_start and its first step, between
epochs, and in an evaluation beside the network, on made-up data of the real sets' size; beside a plain way to do it.

    python tests/performance/train/clock.py [BENCHMARK ...] [--part 1.0] [--data FOLDER] [--out FILE]

Seconds are CPU seconds of one thread, so that other work on the machine counts for little. With --part all data sets are
smaller, and a plain way that would take many minutes sees a part of them only: the seconds are then those of the part,
divided by it, as what is measured here grows with the size. --data keeps the data for the next time.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import clock_data
import numpy as np
import sacrebleu
import torch
from clock_detection import maskrcnn, ssd
from clock_row import EPOCH, EVALUATION, RANK, RANKS, START, Row, cpu_seconds, thread_seconds
from ncf import Pairs
from timing import environment, keep
from torchvision import datasets

import podium_benchmarks
from podium_benchmarks.core.bleu import count_n_grams
from podium_benchmarks.core.corpora import Corpus
from podium_benchmarks.core.text import Sentences
from podium_benchmarks.minigo.data import batches, examples_of, joined, read_chunk
from podium_benchmarks.ncf import data as ncf_data
from podium_benchmarks.ncf.eval import TOP, USERS_AT_ONCE, hits
from podium_benchmarks.ncf.generate import ML_20M_RATINGS, make_pairs
from podium_benchmarks.ncf.model import ML_20M_ITEMS, ML_20M_USERS
from podium_benchmarks.ncf.ratings import Ratings
from podium_benchmarks.resnet import decode, sources
from podium_benchmarks.resnet import folder as resnet_folder

PLAIN_SENTENCES, PLAIN_USERS, PLAIN_PAIRS = 50_000, 200, 200_000
SHARDS_PART = 0.1
BATCH = 208  # images of a GPU in NVIDIA's DGX-1 entry of v0.6


def full(name: str) -> Any:
    return podium_benchmarks.benchmark(name).presets["full"]


def resnet(folder: Path, part: float) -> Iterable[Row]:
    """Names of files, headers of tar files; batches are decoded by worker processes while the network runs."""
    if not (folder / "train").exists():
        clock_data.imagenet_files(folder, part)
    plain, _ = cpu_seconds(lambda: [datasets.ImageFolder(folder / name) for name in ("train", "val")])
    seconds, (train, evaluation) = cpu_seconds(lambda: sources.open_both(folder, clock_data.CLASSES, RANK))
    yield Row(START, "list the files", seconds / part, plain / part)
    if not (folder / "shards").exists():
        clock_data.imagenet_shards(folder / "shards", SHARDS_PART * part)
    shards = sources.shard_files(folder / "shards")
    seconds, _ = cpu_seconds(lambda: sources.index_shards(shards, clock_data.CLASSES, RANK))
    whole = seconds / part / SHARDS_PART
    yield Row(
        START, "or read the headers of tar files, shared by the ranks", whole / RANKS, whole, SHARDS_PART, SHARDS_PART
    )
    data = resnet_folder.StreamedImages(full("resnet"), train, evaluation, RANK)
    next(data.epoch(1, RANK))  # starts the worker processes
    seconds, _ = thread_seconds(lambda: next(data.epoch(2, RANK)))
    yield Row(EPOCH, "draw and cut the order", seconds / part)
    crop = functools.partial(decode.random_box, min_area=0.08, random=np.random.default_rng(1))
    one, _ = cpu_seconds(lambda: [decode.decode_crop(train.read(n), "", 224, crop, reduced=True) for n in range(64)])
    yield Row(EPOCH, "decode until the first batch is there", one / 64 * resnet_folder.PIECE, one / 64 * BATCH)
    center = functools.partial(decode.center_box, part=0.875)
    one, _ = cpu_seconds(lambda: [decode.decode_crop(train.read(n), "", 224, center, reduced=False) for n in range(64)])
    batch = resnet_folder.EVAL_BATCH
    yield Row(EVALUATION, "decode until the first batch is there", one / 64 * resnet_folder.PIECE, one / 64 * batch)


def translation(name: str, folder: Path, part: float) -> Iterable[Row]:
    """Token ids; the plain way encodes text as the trainers once did, and scores on one rank."""
    train, config = podium_benchmarks.benchmark(name).load("data"), full(name)
    if not folder.exists():
        clock_data.token_ids(name, folder, config, part)
    seconds, data = cpu_seconds(lambda: train.Data(config, folder, RANK))
    corpus: Corpus = train.open_corpus(config, folder)
    lines = clock_data.text(PLAIN_SENTENCES, clock_data.TRANSLATION[name][1])
    tokens = train.read_vocabulary(folder / train.VOCABULARY)  # which has seen no word yet
    plain, _ = cpu_seconds(lambda: Sentences.of(tokens.encode(lines, "")))
    share = PLAIN_SENTENCES / 2 / clock_data.TRANSLATION[name][0]
    yield Row(START, "map the ids, sort sentences by length", seconds / part, plain / share, plain_part=share)
    seconds, _ = cpu_seconds(lambda: next(data.epoch(1)))
    yield Row(EPOCH, "shuffle, and put the first batch together", seconds / part)
    found = dict(enumerate(lines[: len(data.references)]))
    references = [f"{line} 1" for line in found.values()]
    rows = torch.arange(len(references))
    padded, lengths = corpus.sources.padded(rows).tolist(), corpus.sources.lengths_of(rows).tolist()
    ids = [sentence[:length] for sentence, length in zip(padded, lengths, strict=True)]
    mine = {row: found[row] for row in range(0, len(found), RANKS)}
    seconds, _ = cpu_seconds(lambda: ([data.decode(ids[row]) for row in mine], count_n_grams(mine, references)))
    plain, _ = cpu_seconds(lambda: ([data.decode(one) for one in ids], sacrebleu.corpus_bleu(
        list(found.values()), [references], lowercase=True, tokenize="intl")))  # fmt: skip
    yield Row(EVALUATION, "words of the translations, and BLEU", seconds, plain)


def ncf(folder: Path, part: float) -> Iterable[Row]:
    """What is drawn, by the device; the plain ways draw for one user or pair after another."""
    config = full("ncf")
    users, count = round(ML_20M_USERS * part), round(ML_20M_RATINGS * part)
    if not folder.exists():
        folder.mkdir()
        np.save(folder / "pairs.npy", make_pairs(users, ML_20M_ITEMS, count, np.random.default_rng(20)))
    pairs = torch.from_numpy(np.load(folder / "pairs.npy"))
    last = torch.cat([pairs[1:] // ML_20M_ITEMS != pairs[:-1] // ML_20M_ITEMS, torch.tensor([True])])
    raters, items = (pairs // ML_20M_ITEMS).int(), (pairs % ML_20M_ITEMS).int()
    ratings = Ratings(users, ML_20M_ITEMS, raters[~last], items[~last], items[last].long())
    seconds, data = cpu_seconds(lambda: ncf_data.Data(config, ratings, 1, RANK))
    rated = [set(items[raters == user].tolist()) for user in range(PLAIN_USERS)]
    plain, _ = cpu_seconds(lambda: [draw(known, config.eval_negatives) for known in rated])
    share = PLAIN_USERS / ML_20M_USERS
    yield Row(START, "draw what is evaluated", seconds / part, plain / share, plain_part=share)
    seconds, _ = cpu_seconds(lambda: next(data.epoch(1)))
    loader = Pairs(Ratings(users, ML_20M_ITEMS, raters[:PLAIN_PAIRS], items[:PLAIN_PAIRS], items[:1].long()))
    plain, _ = cpu_seconds(lambda: [loader[index] for index in range(PLAIN_PAIRS)])
    share = PLAIN_PAIRS / (ML_20M_RATINGS * (1 + config.negatives))
    yield Row(EPOCH, "draw negatives and the order", seconds / part, plain / share, plain_part=share)
    candidates = data.eval_candidates
    scores = torch.rand(candidates.shape)
    seconds, _ = cpu_seconds(lambda: [hits(one, other) for one, other in
                                      zip(scores.split(USERS_AT_ONCE), candidates.split(USERS_AT_ONCE), strict=True)])  # fmt: skip
    some = list(zip(scores[:PLAIN_USERS].tolist(), candidates[:PLAIN_USERS].tolist(), strict=True))
    plain, _ = cpu_seconds(lambda: [dict(sorted(zip(one, other, strict=True))[-TOP:]) for one, other in some])
    share = PLAIN_USERS / ML_20M_USERS
    yield Row(EVALUATION, "which items are among the ten best", seconds / part, plain / share, plain_part=share)


def draw(known: set[int], count: int) -> list[int]:
    """Items that aren't known, one after another."""
    items: list[int] = []
    random = np.random.default_rng(1)
    while len(items) < count:
        item = int(random.integers(ML_20M_ITEMS))
        if item not in known:
            items.append(item)
    return items


def minigo(folder: Path, part: float) -> Iterable[Row]:
    """Positions to train on: of earlier generations, and of a generation's games."""
    config = full("minigo")
    games = [clock_data.random_game(number, config.board_size) for number in
             range(round(config.games_per_generation / RANKS * part))]  # fmt: skip
    seconds, examples = cpu_seconds(lambda: examples_of(games, config.board_size))
    if not folder.exists():
        folder.mkdir()
        everyone = {name: value.repeat(RANKS, *[1] * (value.ndim - 1)) for name, value in vars(examples).items()}
        torch.save(everyone, folder / "golden.pt")
    opened, window = cpu_seconds(lambda: [read_chunk(folder / "golden.pt")])
    seconds_joined, whole = cpu_seconds(lambda: joined(window))
    of_all = config.window_generations / part
    yield Row(START, "read the games of ten generations", (opened + seconds_joined) * of_all, part=1 / of_all)
    yield Row(EPOCH, "encode a generation's games", seconds / part)
    yield Row(EPOCH, "join ten generations, on the device", seconds_joined * of_all, part=1 / of_all)
    first, _ = cpu_seconds(lambda: next(batches(whole, config, 1, RANK)))
    yield Row(EPOCH, "draw the order, turn the first batch", first)


CASES: dict[str, Callable[[Path, float], Iterable[Row]]] = {
    "resnet": resnet,
    "ssd": ssd,
    "maskrcnn": maskrcnn,
    "gnmt": functools.partial(translation, "gnmt"),
    "transformer": functools.partial(translation, "transformer"),
    "ncf": ncf,
    "minigo": minigo,
}


def main() -> int:
    """Measure each benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", default=[], metavar="BENCHMARK", help="all, if none is given")
    parser.add_argument("--part", type=float, default=1.0, help="of the real sizes")
    parser.add_argument("--data", type=Path, help="folder that keeps the data")
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmarks) - set(CASES):
        parser.error(f"unknown benchmark {min(unknown)}: choose from {', '.join(CASES)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.data or Path(name)
        folder.mkdir(exist_ok=True)
        for benchmark in arguments.benchmarks or CASES:
            place = folder / ("coco" if benchmark in {"ssd", "maskrcnn"} else benchmark)
            rows = []
            for row in CASES[benchmark](place, arguments.part):
                rows.append(row)
                print(f"{benchmark}: {json.dumps(asdict(row))}", flush=True)
            if arguments.out:
                result = {"environment": environment(), "part": arguments.part, "rows": [asdict(row) for row in rows]}
                keep(arguments.out, "clock", benchmark, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
