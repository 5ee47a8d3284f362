"""Texts that both translation benchmarks can learn from: the toy language and Multi30k, English to German."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import clock, dist
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.files import drop_page_cache
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.core.text import Sentences, find_file, read_parallel, require_files
from podium_benchmarks.core.tokens import BytePairs, Tokens, Words
from podium_benchmarks.core.toy_language import SOURCE_WORDS, TARGET_WORDS, toy_language

TOY_EVALUATION = 500  # pairs held out
TOY_WORDS = len(SOURCE_WORDS) + len(TARGET_WORDS)
MULTI30K = ("train.en", "train.de", "test_2016_flickr.en", "test_2016_flickr.de")
BYTES = 256  # symbols that byte-level BPE starts from


@dataclass(frozen=True)
class Corpus:
    """Training pairs, evaluation pairs, and how their text becomes ids; files name where each came from."""

    train: tuple[list[str], list[str]]
    evaluation: tuple[list[str], list[str]]  # targets stay text: BLEU's references
    files: Sequence[str]  # of training sources, training targets, evaluation sources
    tokens: Tokens

    def encode(self, begin: Sequence[int], end: Sequence[int]) -> tuple[Sentences, Sentences, Sentences]:
        """Training sources and targets, evaluation sources, each with `begin` before and `end` behind it."""
        parts = (*self.train, self.evaluation[0])
        sources, targets, evaluation = (
            Sentences.of([[*begin, *ids, *end] for ids in self.tokens.encode(lines, file)])
            for lines, file in zip(parts, self.files, strict=True)
        )
        return sources, targets, evaluation


class TextConfig(Protocol):
    """The settings that both translation benchmarks have."""

    @property
    def target(self) -> float: ...
    @property
    def max_sequence_length(self) -> int: ...
    def log_values(self) -> Mapping[str, Any]: ...


def log_settings(log: Log, seed: int, config: TextConfig) -> None:
    """The seed, the hyperparameters, what becomes of long sentences, and the target."""
    clock.log_hyperparameters(log, seed, config.log_values())
    log.event(keys.MAX_SEQUENCE_LENGTH, config.max_sequence_length, method="discard")
    log.event("eval_target", config.target)


def toy_corpus(pairs: int, reserved: int) -> Corpus:
    """`pairs` sentences of the toy language, the last of them held out."""
    source, target = toy_language(pairs)
    return Corpus(
        train=(source[:-TOY_EVALUATION], target[:-TOY_EVALUATION]),
        evaluation=(source[-TOY_EVALUATION:], target[-TOY_EVALUATION:]),
        files=("toy sources", "toy targets", "toy sources"),
        tokens=Words([*SOURCE_WORDS, *TARGET_WORDS], reserved),
    )


def multi30k_corpus(data_dir: Path, vocab_size: int, reserved: int) -> Corpus:
    """Multi30k's text files; one encoding for both languages is learned from the training text."""
    files = require_files(data_dir, MULTI30K, "")
    train, evaluation = read_parallel(files[0], files[1]), read_parallel(files[2], files[3])
    state = dist.broadcast_from_rank0(lambda: BytePairs.learn([*train[0], *train[1]], vocab_size, reserved))
    return Corpus(train, evaluation, [str(file) for file in files[:3]], BytePairs(state, reserved))


def is_multi30k(data_dir: Path) -> bool:
    """By the name of its evaluation set."""
    return find_file(data_dir, MULTI30K[2]) is not None


def check_folder(
    data_dir: Path | None, wmt: Sequence[str], *, toy_pairs: int, vocab_size: int, reserved: int
) -> list[Path]:
    """The data set's files, none for the toy language; refuses what can't be one, by the names of files alone."""
    layout = f"expected {', '.join(wmt)} (WMT), or {', '.join(MULTI30K)} (Multi30k)"
    if data_dir is None:
        if not toy_pairs:
            raise UsageError(f"the full preset needs text: give --data DIR; {layout}")
        if toy_pairs <= TOY_EVALUATION:
            raise UsageError(f"toy_pairs must be above the {TOY_EVALUATION} held out, not {toy_pairs}")
        return []
    if not data_dir.is_dir():
        raise UsageError(f"--data {data_dir} is not a folder; {layout}")
    files = require_files(data_dir, MULTI30K if is_multi30k(data_dir) else wmt, layout)
    if is_multi30k(data_dir) and vocab_size <= reserved + BYTES:
        raise UsageError(f"vocab_size must be above {reserved + BYTES} to learn an encoding of bytes, not {vocab_size}")
    return files


def check_text(files: Sequence[Path], tokens: Tokens | None = None) -> None:
    """Refuse sentences that are none, files that don't match, and what `tokens` can't express, before the clock runs.

    `files` are training sources and targets, evaluation sources and targets. That is preparation of the data set: the
    host's cache is left without it.
    """
    for source, target in (files[:2], files[2:4]):
        for file, lines in zip((source, target), read_parallel(source, target), strict=True):
            if tokens is not None and file != files[3]:  # the evaluation's references are never encoded
                tokens.check(lines, str(file))
    drop_page_cache(files)
