"""Pairs of sentences: WMT17 and Multi30k from files, or the toy language; batches of similar length.

Layouts of --data DIR (each file may be gzipped):

    WMT17     train.{en,de}, newstest2014.{en,de}: one sentence a line, not tokenised; vocab.json, merges.txt: the
              byte-level BPE of both languages together, as the `tokenizers` library saves it, made in advance
    Multi30k  train.{en,de}, test_2016_flickr.{en,de}; its encoding of vocab_size ids is learned from train

English is translated to German.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from podium_benchmarks.core import dist
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks, share
from podium_benchmarks.core.text import Sentences, find_file, flat_positions, read_parallel, require_files
from podium_benchmarks.core.tokens import BytePairs, Tokens, Words
from podium_benchmarks.core.toy_language import SOURCE_WORDS, TARGET_WORDS, toy_language
from podium_benchmarks.transformer.config import Config
from podium_benchmarks.transformer.model import END, RESERVED

TOY_EVALUATION = 500  # pairs held out
WMT = ("train.en", "train.de", "newstest2014.en", "newstest2014.de", "vocab.json", "merges.txt")
MULTI30K = ("train.en", "train.de", "test_2016_flickr.en", "test_2016_flickr.de")
LAYOUT = f"expected {', '.join(WMT)} (WMT17), or {', '.join(MULTI30K)} (Multi30k)"
SHORTEST_BUCKET, BUCKET_GROWTH = 8, 1.1  # tensor2tensor's


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a folder that can't be a data set, by the names of its files alone: no data may be read yet."""
    if data_dir is None:
        if not config.toy_pairs:
            raise UsageError(f"the full preset needs text: give --data DIR; {LAYOUT}")
        if config.toy_pairs <= TOY_EVALUATION:
            raise UsageError(f"toy_pairs must be above the {TOY_EVALUATION} held out, not {config.toy_pairs}")
        return
    if not data_dir.is_dir():
        raise UsageError(f"--data {data_dir} is not a folder; {LAYOUT}")
    require_files(data_dir, _layout(data_dir), LAYOUT)
    if _layout(data_dir) == MULTI30K and config.vocab_size <= RESERVED + 256:
        raise UsageError(f"vocab_size must be above {RESERVED + 256} to learn an encoding of bytes, "
                         f"not {config.vocab_size}")  # fmt: skip


def vocabulary_size(config: Config, data_dir: Path | None) -> int:
    """Ids the network is built for, known without touching data."""
    return config.vocab_size if data_dir else RESERVED + len(SOURCE_WORDS) + len(TARGET_WORDS)


@dataclass(frozen=True)
class Batch:
    """This rank's share of a global batch: source (B, S), target (B, T), the places of its M words in the target."""

    source: torch.Tensor
    target: torch.Tensor
    positions: torch.Tensor  # (M,) in the flattened target
    global_sentences: int
    global_tokens: int  # of the target, ends included, padding not


class Data:
    """Everything as token ids on the device; all ranks draw the same batches and each takes its share."""

    def __init__(self, config: Config, data_dir: Path | None, ranks: Ranks) -> None:
        self._config, self._ranks = config, ranks
        (train, evaluation), self.tokens = _read(config, data_dir)
        sources, targets = train
        lengths = torch.maximum(sources.lengths, targets.lengths)
        kept = (lengths <= config.max_sequence_length).nonzero().squeeze(1)
        if not len(kept):
            raise UsageError(
                f"no pair of sentences has at most max_sequence_length = {config.max_sequence_length} tokens"
            )
        self._sources, self._targets = sources.to(ranks.device), targets.to(ranks.device)
        self._buckets = buckets(lengths, kept, config)
        self.train_samples = len(kept)
        self.steps_per_epoch = sum(-(-len(rows) // size) for rows, size in self._buckets)
        self.eval_sources = evaluation[0].to(ranks.device)
        self.references = evaluation[1]
        self.eval_samples = len(self.references)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """Every pair once: shuffled within its bucket, cut into global batches, the batches shuffled."""
        generator = torch.Generator().manual_seed(seed)
        batches: list[torch.Tensor] = []
        for rows, size in self._buckets:
            batches.extend(rows[torch.randperm(len(rows), generator=generator)].split(size))
        for number in torch.randperm(len(batches), generator=generator).tolist():
            rows = batches[number]
            mine = rows[share(len(rows), self._ranks)]
            lengths = self._targets.lengths_of(mine)
            yield Batch(
                source=self._sources.padded(mine),
                target=self._targets.padded(mine),
                positions=flat_positions(lengths).to(self._ranks.device),
                global_sentences=len(rows),
                global_tokens=int(self._targets.lengths_of(rows).sum()),
            )


def buckets(lengths: torch.Tensor, kept: torch.Tensor, config: Config) -> list[tuple[torch.Tensor, int]]:
    """Pairs (numbers) of similar length, and how many make a global batch: at most global_batch_size tokens, padded.

    The bounds are the reference's: 8, then each a tenth longer (utils/dataset.py, _create_min_max_boundaries).
    """
    bounds, bound = [], SHORTEST_BUCKET
    while bound < config.max_sequence_length:
        bounds.append(bound)
        bound = max(bound + 1, int(bound * BUCKET_GROWTH))
    bounds.append(config.max_sequence_length + 1)
    bucket = torch.bucketize(lengths[kept], torch.tensor(bounds), right=True)  # bounds[i - 1] <= length < bounds[i]
    groups = [(kept[bucket == number], max(1, config.global_batch_size // top)) for number, top in enumerate(bounds)]
    return [(rows, size) for rows, size in groups if len(rows)]


Pairs = tuple[Sentences, Sentences]


def _read(config: Config, data_dir: Path | None) -> tuple[tuple[Pairs, tuple[Sentences, list[str]]], Tokens]:
    """Training pairs; evaluation sources with their references as text; the encoding."""
    if data_dir is None:
        source, target = toy_language(config.toy_pairs)
        tokens: Tokens = Words([*SOURCE_WORDS, *TARGET_WORDS], RESERVED)
        train = source[:-TOY_EVALUATION], target[:-TOY_EVALUATION]
        evaluation = source[-TOY_EVALUATION:], target[-TOY_EVALUATION:]
        names = ["toy"] * 3
    else:
        files = require_files(data_dir, _layout(data_dir), LAYOUT)
        names = [str(file) for file in files]
        train, evaluation = read_parallel(files[0], files[1]), read_parallel(files[2], files[3])
        tokens = BytePairs(dist.made_by_rank_zero(lambda: _encoding(config, files, train)), RESERVED)
    sources, targets = (_encode(tokens, lines, name) for lines, name in zip(train, names, strict=False))
    return ((sources, targets), (_encode(tokens, evaluation[0], names[2]), evaluation[1])), tokens


def _encoding(config: Config, files: list[Path], train: tuple[list[str], list[str]]) -> str:
    if len(files) == len(MULTI30K):
        return BytePairs.learn([*train[0], *train[1]], config.vocab_size, RESERVED)
    return BytePairs.read(files[4], files[5], config.vocab_size, RESERVED)


def _encode(tokens: Tokens, lines: list[str], name: str) -> Sentences:
    return Sentences.of([[*ids, END] for ids in tokens.encode(lines, name)])


def _layout(data_dir: Path) -> tuple[str, ...]:
    return MULTI30K if find_file(data_dir, MULTI30K[2]) else WMT
