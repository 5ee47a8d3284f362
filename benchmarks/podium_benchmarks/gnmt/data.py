"""Pairs of sentences: WMT16 and Multi30k from files, or the toy language; batches of similar length.

Layouts of --data DIR:

    WMT16     token ids, vocab.bpe.32000, newstest2014.de: as `podium-benchmarks prepare gnmt` makes them (core/ids.py)
    Multi30k  train.{en,de}, test_2016_flickr.{en,de} (each may be gzipped); its encoding of vocab_size ids is learned
              from train

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
    is_multi30k,
    multi30k_corpus,
    prepared_corpus,
    toy_corpus,
)
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.core.text import flat_positions, read_lines
from podium_benchmarks.core.tokens import Symbols, Words
from podium_benchmarks.gnmt.config import Config
from podium_benchmarks.gnmt.detokenize import detokenize
from podium_benchmarks.gnmt.model import BEGIN, END, RESERVED, UNKNOWN

VOCABULARY = "vocab.bpe.32000"  # a subword a line
SYMBOLS = Symbols(RESERVED, begin=(BEGIN,), end=(END,))


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a folder that can't be a data set."""
    check_folder(data_dir, "gnmt", VOCABULARY, toy_pairs=config.toy_pairs, vocab_size=config.vocab_size,
                 reserved=RESERVED)  # fmt: skip


def vocabulary_size(config: Config, data_dir: Path | None) -> int:
    """Ids the network is built for, known without touching data."""
    return config.vocab_size if data_dir else RESERVED + TOY_WORDS


@dataclass(frozen=True)
class Batch:
    """This rank's shard of a global batch: source (B, S), target (B, T) from begin to end."""

    source: torch.Tensor
    source_lengths: torch.Tensor  # (B,), on the CPU
    target: torch.Tensor
    positions: torch.Tensor  # (M,) of the words to predict in the flattened (B, T - 1)
    global_sentences: int
    global_tokens: int  # to predict, ends included, padding not


class Data:
    """Everything as token ids on the device; all ranks draw the same batches and each takes its shard."""

    def __init__(self, config: Config, data_dir: Path | None, ranks: Ranks) -> None:
        self._config, self._ranks = config, ranks
        corpus = open_corpus(config, data_dir)
        self._sources, self._targets = corpus.sources.to(ranks.device), corpus.targets.to(ranks.device)
        self._buckets = buckets(torch.maximum(self._sources.lengths, self._targets.lengths), config)
        self.steps_per_epoch = sum(len(rows) // config.global_batch_size for rows in self._buckets)
        self.train_samples = self.steps_per_epoch * config.global_batch_size
        if not self.steps_per_epoch:
            raise UsageError(
                f"no bucket of sentences with at most max_sequence_length = {config.max_sequence_length} tokens has "
                f"enough for a batch of global_batch_size = {config.global_batch_size}"
            )
        self.eval_sources = corpus.evaluation.to(ranks.device)
        self.references = corpus.references
        self.eval_samples = len(self.references)
        self.decode = corpus.tokens.decode

    def epoch(self, seed: int) -> Iterator[Batch]:
        """Whole global batches, each from one bucket, shuffled; left-overs are dropped, as in the reference."""
        generator = torch.Generator().manual_seed(seed)
        size = self._config.global_batch_size
        batches: list[torch.Tensor] = []
        for rows in self._buckets:
            shuffled = rows[torch.randperm(len(rows), generator=generator)]
            batches.extend(shuffled[: len(rows) // size * size].view(-1, size))
        for number in torch.randperm(len(batches), generator=generator).tolist():
            mine = batches[number][shard(size, self._ranks)]
            steps = self._targets.lengths_of(mine) - 1
            yield Batch(
                source=self._sources.padded(mine),
                source_lengths=self._sources.lengths_of(mine),
                target=self._targets.padded(mine),
                positions=flat_positions(steps).to(self._ranks.device),
                global_sentences=size,
                global_tokens=int(self._targets.lengths_of(batches[number]).sum()) - size,
            )


def buckets(lengths: torch.Tensor, config: Config) -> list[torch.Tensor]:
    """Pairs (numbers) in `length_buckets` classes of equal width by the longer length; too long ones in none."""
    width = -(-config.max_sequence_length // config.length_buckets)
    bucket = (lengths // width).clamp(max=config.length_buckets - 1)
    bucket[lengths > config.max_sequence_length] = -1
    return [(bucket == number).nonzero().squeeze(1) for number in range(config.length_buckets)]


class Subwords(Words):
    """subword-nmt's text: 'sub@@ words' between spaces, of Moses' tokenized text."""

    def decode(self, ids: Sequence[int]) -> str:
        return detokenize(super().decode(ids).replace("@@ ", "").removesuffix("@@"))


def read_vocabulary(file: Path) -> Subwords:
    """The subwords of a file."""
    return Subwords(read_lines(file), RESERVED, UNKNOWN)


def open_corpus(config: Config, data_dir: Path | None) -> Corpus:
    """The toy language, Multi30k or WMT16."""
    if data_dir is None:
        return toy_corpus(config.toy_pairs, SYMBOLS)
    if is_multi30k(data_dir):
        return multi30k_corpus(data_dir, config.vocab_size, SYMBOLS)
    return prepared_corpus(data_dir, "gnmt", VOCABULARY, read_vocabulary)
