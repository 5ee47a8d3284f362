"""What both translation benchmarks learn from, English to German: toy language, Multi30k, prepared WMT."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlperf_logging.mllog import constants as keys

from podium_benchmarks.core import clock, dist, ids
from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.core.settings import RunSettings
from podium_benchmarks.core.text import Sentences, find_file, read_lines, read_parallel, require_files
from podium_benchmarks.core.tokens import BytePairs, Symbols, Tokens, Words
from podium_benchmarks.core.toy_language import SOURCE_WORDS, TARGET_WORDS, toy_language

TOY_EVALUATION = 500  # pairs held out
TOY_WORDS = len(SOURCE_WORDS) + len(TARGET_WORDS)
MULTI30K = ("train.en", "train.de", "test_2016_flickr.en", "test_2016_flickr.de")
BYTES = 256  # symbols that byte-level BPE starts from


@dataclass(frozen=True)
class Corpus:
    """What a trainer learns from and is evaluated on. Sentences are ids with their begin and end."""

    sources: Sentences
    targets: Sentences
    evaluation: Sentences  # sources
    references: Sequence[str]  # of BLEU
    tokens: Tokens


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


def encoded_corpus(
    train: Sequence[Sequence[str]], evaluation: Sequence[Sequence[str]], files: Sequence[str], tokens: Tokens,
    symbols: Symbols,
) -> Corpus:  # fmt: skip
    """From text: training sources and targets, evaluation sources and references; `files` names the first three."""
    sources, targets, held_out = (
        Sentences.of([[*symbols.begin, *line, *symbols.end] for line in tokens.encode(lines, file)])
        for lines, file in zip((*train, evaluation[0]), files, strict=True)
    )
    return Corpus(sources, targets, held_out, evaluation[1], tokens)


def toy_corpus(pairs: int, symbols: Symbols) -> Corpus:
    """`pairs` sentences of the toy language, the last of them held out."""
    text = toy_language(pairs)
    return encoded_corpus(
        train=[lines[:-TOY_EVALUATION] for lines in text],
        evaluation=[lines[-TOY_EVALUATION:] for lines in text],
        files=("toy sources", "toy targets", "toy sources"),
        tokens=Words([*SOURCE_WORDS, *TARGET_WORDS], symbols.reserved),
        symbols=symbols,
    )


def multi30k_corpus(data_dir: Path, vocab_size: int, symbols: Symbols) -> Corpus:
    """Multi30k's text files; one encoding for both languages is learned from the training text."""
    files = require_files(data_dir, MULTI30K, "")
    train, evaluation = read_parallel(files[0], files[1]), read_parallel(files[2], files[3])
    state = dist.broadcast_from_rank0(lambda: BytePairs.learn([*train[0], *train[1]], vocab_size, symbols.reserved))
    return encoded_corpus(train, evaluation, [str(file) for file in files[:3]], BytePairs(state, symbols.reserved),
                          symbols)  # fmt: skip


def prepared_corpus(data_dir: Path, benchmark: str, vocabulary: str, read: Callable[[Path], Tokens]) -> Corpus:
    """WMT's ids as `prepare` left them; `read` makes the tokens from the vocabulary file."""
    index = ids.read_index(data_dir, benchmark, vocabulary)
    sources, targets, evaluation = (ids.open_part(data_dir, index, part) for part in ids.PARTS)
    return Corpus(sources, targets, evaluation, read_lines(data_dir / ids.REFERENCES), read(data_dir / vocabulary))


def is_multi30k(data_dir: Path) -> bool:
    """By the name of its evaluation set."""
    return find_file(data_dir, MULTI30K[2]) is not None


def check_folder(
    data_dir: Path | None, benchmark: str, vocabulary: str, *, toy_pairs: int, vocab_size: int, reserved: int
) -> None:
    """Refuse what can't be a data set, by the names and sizes of files and their index: no data may be read yet."""
    layout = (
        f"expected the folder that `podium-benchmarks prepare {benchmark}` makes, or {', '.join(MULTI30K)} (Multi30k)"
    )
    if data_dir is None:
        if not toy_pairs:
            raise UsageError(f"the full preset needs text: give --data DIR; {layout}")
        if toy_pairs <= TOY_EVALUATION:
            raise UsageError(f"toy_pairs must be above the {TOY_EVALUATION} held out, not {toy_pairs}")
    elif not data_dir.is_dir():
        raise UsageError(f"--data {data_dir} is not a folder; {layout}")
    elif is_multi30k(data_dir):
        require_files(data_dir, MULTI30K, layout)
        if vocab_size <= reserved + BYTES:
            raise UsageError(
                f"vocab_size must be above {reserved + BYTES} to learn an encoding of bytes, not {vocab_size}"
            )
    else:
        used = ids.read_index(data_dir, benchmark, vocabulary).vocabulary_size
        if used > vocab_size:
            raise UsageError(f"--data {data_dir} has ids up to {used - 1:,}, but vocab_size is {vocab_size:,}: prepare "
                             "the folder again with the reference's vocabulary, or, in the open division, add --set "
                             f"vocab_size={used}")  # fmt: skip


def check_division(settings: RunSettings, benchmark: str, vocabulary: str) -> None:
    """Refuse a closed run on data that is not the reference's, before the clock."""
    if settings.division != "closed" or settings.data_dir is None:
        return
    if is_multi30k(settings.data_dir):
        raise UsageError(f"a closed run trains on WMT, but --data {settings.data_dir} is Multi30k: use division: open")
    index = ids.read_index(settings.data_dir, benchmark, vocabulary)
    if index.differs:
        raise UsageError(f"a closed run needs the reference's data, but of --data {settings.data_dir} "
                         f"{', '.join(index.differs)} differ (docs/how-to/prepare-data.md says how to get them): "
                         "prepare the folder again, or use division: open")  # fmt: skip


def warm_up_shapes(sentences: int, length: int) -> list[tuple[int, tuple[int, int]]]:
    """Sentences and lengths of source and target in the batches of a warm-up: the usual one, and twice another.

    The others differ as `compile_training` wants it: from the first, and from each other.
    """
    shorter = max(2, length - 1), max(2, length - 2)
    others = sentences + 1 if sentences + 1 not in shorter else sentences + 3
    return [(sentences, (length, length)), *[(others, shorter)] * 2]
