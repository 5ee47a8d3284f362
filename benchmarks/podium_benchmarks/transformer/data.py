"""Pairs of sentences: WMT17 and Multi30k from files, or the toy language; batches of similar length.

Layouts of --data DIR:

    WMT17     token ids, the reference's vocabulary, newstest2014.de: as `podium-benchmarks prepare transformer` makes
              them (core/ids.py)
    Multi30k  train.{en,de}, test_2016_flickr.{en,de} (each may be gzipped); its encoding of vocab_size ids is learned
              from train

English is translated to German.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.corpora import (
    TOY_WORDS,
    Corpus,
    check_folder,
    is_multi30k,
    multi30k_corpus,
    prepared_corpus,
    toy_corpus,
)
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.text import flat_positions
from podium_benchmarks.core.tokens import Subtokens, Symbols
from podium_benchmarks.transformer.config import Config
from podium_benchmarks.transformer.model import END, RESERVED

VOCABULARY = "vocab.translate_ende_wmt32k.32768.subwords"
SYMBOLS = Symbols(RESERVED, begin=(), end=(END,))
SHORTEST_BUCKET, BUCKET_GROWTH = 8, 1.1  # tensor2tensor's


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a folder that can't be a data set."""
    check_folder(data_dir, "transformer", VOCABULARY, toy_pairs=config.toy_pairs, vocab_size=config.vocab_size,
                 reserved=RESERVED)  # fmt: skip


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
        self._sources, self._targets = corpus.sources.to(ranks.device), corpus.targets.to(ranks.device)
        lengths = torch.maximum(self._sources.lengths, self._targets.lengths)
        kept = (lengths <= config.max_sequence_length).nonzero().squeeze(1)
        if not len(kept):
            raise UsageError(
                f"no pair of sentences has at most max_sequence_length = {config.max_sequence_length} tokens"
            )
        self._buckets = buckets(lengths, kept, config)
        self.train_samples = len(kept)
        self.target_tokens = int(self._targets.lengths[kept].sum())
        self.steps_per_epoch = sum(-(-len(rows) // size) for rows, size in self._buckets)
        self.eval_sources = corpus.evaluation.to(ranks.device)
        self.references = corpus.references
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


def read_vocabulary(file: Path) -> Subtokens:
    """The subwords of a file."""
    return Subtokens.read(file, RESERVED)


def open_corpus(config: Config, data_dir: Path | None) -> Corpus:
    """The toy language, Multi30k or WMT17."""
    if data_dir is None:
        return toy_corpus(config.toy_pairs, SYMBOLS)
    if is_multi30k(data_dir):
        return multi30k_corpus(data_dir, config.vocab_size, SYMBOLS)
    return prepared_corpus(data_dir, "transformer", VOCABULARY, read_vocabulary)
