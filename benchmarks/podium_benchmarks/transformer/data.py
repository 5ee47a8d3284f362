"""Pairs of sentences: WMT17 and Multi30k from files, or the toy language; batches of similar length.

Layouts of --data DIR (each file may be gzipped):

    WMT17     train.{en,de}, newstest2014.{en,de}: one sentence a line, not tokenized; vocab.json, merges.txt: the
              byte-level BPE of both languages together, as the `tokenizers` library saves it, made in advance
    Multi30k  train.{en,de}, test_2016_flickr.{en,de}; its encoding of vocab_size ids is learned from train

English is translated to German.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.corpora import (
    TOY_WORDS,
    Corpus,
    check_folder,
    check_text,
    is_multi30k,
    multi30k_corpus,
    toy_corpus,
)
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.text import flat_positions, read_parallel, require_files
from podium_benchmarks.core.tokens import BytePairs
from podium_benchmarks.transformer.config import Config
from podium_benchmarks.transformer.model import END, RESERVED

WMT = ("train.en", "train.de", "newstest2014.en", "newstest2014.de", "vocab.json", "merges.txt")
SHORTEST_BUCKET, BUCKET_GROWTH = 8, 1.1  # tensor2tensor's


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a folder that can't be a data set, and text that is wrong inside."""
    files = check_folder(data_dir, WMT, toy_pairs=config.toy_pairs, vocab_size=config.vocab_size, reserved=RESERVED)
    if files:
        check_text(files, wmt_tokens(config, files) if len(files) == len(WMT) else None)


def vocabulary_size(config: Config, data_dir: Path | None) -> int:
    """Ids the network is built for, known without touching data."""
    return config.vocab_size if data_dir else RESERVED + TOY_WORDS


@dataclass(frozen=True)
class Batch:
    """This rank's shard of a global batch: source (B, S), target (B, T), the places of its M words in the target."""

    source: torch.Tensor
    target: torch.Tensor
    positions: torch.Tensor  # (M,) in the flattened target
    global_sentences: int
    global_tokens: int  # of the target, ends included, padding not


class Data:
    """Everything as token ids on the device; all ranks draw the same batches and each takes its shard."""

    def __init__(self, config: Config, data_dir: Path | None, ranks: Ranks) -> None:
        self._config, self._ranks = config, ranks
        corpus = open_corpus(config, data_dir)
        sources, targets, evaluation = corpus.encode(begin=(), end=(END,))
        lengths = torch.maximum(sources.lengths, targets.lengths)
        kept = (lengths <= config.max_sequence_length).nonzero().squeeze(1)
        if not len(kept):
            raise UsageError(
                f"no pair of sentences has at most max_sequence_length = {config.max_sequence_length} tokens"
            )
        self._sources, self._targets = sources.to(ranks.device), targets.to(ranks.device)
        self._buckets = buckets(lengths, kept, config)
        self.train_samples = len(kept)
        self.target_tokens = int(targets.lengths[kept].sum())
        self.steps_per_epoch = sum(-(-len(rows) // size) for rows, size in self._buckets)
        self.eval_sources = evaluation.to(ranks.device)
        self.references = corpus.evaluation[1]
        self.decode = corpus.tokens.decode
        self.eval_samples = len(self.references)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """Every pair once: shuffled within its bucket, cut into global batches, the batches shuffled."""
        generator = torch.Generator().manual_seed(seed)
        batches: list[torch.Tensor] = []
        for rows, size in self._buckets:
            batches.extend(rows[torch.randperm(len(rows), generator=generator)].split(size))
        for number in torch.randperm(len(batches), generator=generator).tolist():
            rows = batches[number]
            mine = rows[shard(len(rows), self._ranks)]
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


def wmt_tokens(config: Config, files: Sequence[Path]) -> BytePairs:
    """The encoding in WMT's last two files."""
    return BytePairs(BytePairs.read(files[4], files[5], config.vocab_size, RESERVED), RESERVED)


def open_corpus(config: Config, data_dir: Path | None) -> Corpus:
    """The toy language, Multi30k or WMT17."""
    if data_dir is None:
        return toy_corpus(config.toy_pairs, RESERVED)
    if is_multi30k(data_dir):
        return multi30k_corpus(data_dir, config.vocab_size, RESERVED)
    files = require_files(data_dir, WMT, "")
    tokens = wmt_tokens(config, files)
    train, evaluation = read_parallel(files[0], files[1]), read_parallel(files[2], files[3])
    return Corpus(train, evaluation, [str(file) for file in files[:3]], tokens)
