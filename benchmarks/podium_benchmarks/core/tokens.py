"""From text to token ids and back: byte-level BPE (the `tokenizers` library) and plain lists of words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from podium_benchmarks.core.cli import UsageError

LINES_AT_ONCE = 20_000


class Tokens(Protocol):
    """Text to ids and back; the first `reserved` ids are the benchmark's symbols (padding, end, ...)."""

    size: int  # ids in use, the reserved ones included

    def check(self, lines: Sequence[str], file: str) -> None:
        """Raise a UsageError that names the `file` and the first line that can't be expressed."""
        ...

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        """Ids of each line; raises what `check` raises."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; reserved ones are left out."""
        ...


class BytePairs:
    """Byte-level BPE: nothing is unknown, and decoding gives back the very text."""

    def __init__(self, state: str, reserved: int) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(state)
        self._reserved = reserved
        self.size = self._tokenizer.get_vocab_size() + reserved
        self._known = frozenset(token for token in self._tokenizer.get_vocab() if len(token) == 1)

    @staticmethod
    def learn(lines: Sequence[str], size: int, reserved: int) -> str:
        """The state of an encoding with `size` ids, learned from lines."""
        tokenizer = _byte_level(models.BPE())
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size - reserved, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(lines, trainer)
        return tokenizer.to_str()

    @staticmethod
    def read(vocabulary: Path, merges: Path, size: int, reserved: int) -> str:
        """The state of the encoding in two files, as `tokenizers` saves byte-level BPE."""
        try:
            model = models.BPE.from_file(str(vocabulary), str(merges))
            ids = json.loads(vocabulary.read_text("utf-8")).values()
        except Exception as error:  # the library raises no narrower one
            raise UsageError(f"{vocabulary} and {merges} are not BPE files of `tokenizers`: {error}") from error
        if ids and max(ids) + reserved >= size:
            raise UsageError(
                f"{vocabulary} has ids up to {max(ids)}, and {reserved} are reserved, but vocab_size is {size}: "
                f"add --set vocab_size={max(ids) + reserved + 1}"
            )
        return _byte_level(model).to_str()

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        self.check(lines, file)
        ids: list[list[int]] = []
        for start in range(0, len(lines), LINES_AT_ONCE):
            encodings = self._tokenizer.encode_batch_fast(list(lines[start : start + LINES_AT_ONCE]))
            ids.extend([token + self._reserved for token in encoding.ids] for encoding in encodings)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([token - self._reserved for token in ids if token >= self._reserved]).strip()

    def check(self, lines: Sequence[str], file: str) -> None:
        """The library silently drops what its vocabulary can't express."""
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        characters = set[str]().union(*lines)
        unknown = {c for c in characters if not self._known.issuperset(byte_level.pre_tokenize_str(c)[0][0])}
        if unknown:
            line, character = next((n, c) for n, text in enumerate(lines, 1) for c in text if c in unknown)
            raise UsageError(f"{file}, line {line}: the vocabulary can't express the character {character!r}")


class Words:
    """Words between spaces, each an id; others are `unknown`, or an error where there is no id for those."""

    def __init__(self, words: Sequence[str], reserved: int, unknown: int | None = None) -> None:
        self._words, self._reserved, self._unknown = list(words), reserved, unknown
        self._ids = {word: number for number, word in enumerate(words, reserved)}
        self.size = len(words) + reserved

    def check(self, lines: Sequence[str], file: str) -> None:
        if self._unknown is not None:
            return
        for number, line in enumerate(lines, 1):
            unknown = next((word for word in line.split(" ") if word not in self._ids), None)
            if unknown is not None:
                raise UsageError(f"{file}, line {number}: unknown word {unknown!r}")

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        self.check(lines, file)
        return [[self._ids.get(word, self._unknown or 0) for word in line.split(" ")] for line in lines]

    def decode(self, ids: Sequence[int]) -> str:
        words = (id_ - self._reserved for id_ in ids)
        return " ".join(self._words[word] for word in words if 0 <= word < len(self._words))


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # first words are like all others
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
