"""From text to token ids and back: tensor2tensor's subwords, `tokenizers`' byte-level BPE, lists of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from podium_benchmarks.core.cli import UsageError

LINES_AT_ONCE = 20_000
MOST_KNOWN = 1 << 19
RUN = re.compile(r"[^\W_]+|[\W_]+")  # of letters and digits (categories L and N), or of all else
ESCAPE = re.compile(r"\\u|\\\\|\\([0-9]+);")
NO_CHARACTER = "\u3013"  # for an escaped number beyond Unicode


@dataclass(frozen=True)
class Symbols:
    """The ids that are no text: so many from 0 on, and those that begin and end a sentence."""

    reserved: int
    begin: tuple[int, ...]
    end: tuple[int, ...]


class Tokens(Protocol):
    """Text to ids and back; the first `reserved` ids are the benchmark's symbols (padding, end, ...)."""

    size: int  # ids in use, the reserved ones included

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        """Ids of each line; UsageError names the `file` and the first line that can't be expressed."""
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

    @staticmethod
    def learn(lines: Sequence[str], size: int, reserved: int) -> str:
        """The state of an encoding with `size` ids, learned from lines."""
        tokenizer = _byte_level(models.BPE())
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size - reserved, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(lines, trainer)
        return tokenizer.to_str()

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        del file  # no byte is unknown
        ids: list[list[int]] = []
        for start in range(0, len(lines), LINES_AT_ONCE):
            encodings = self._tokenizer.encode_batch_fast(list(lines[start : start + LINES_AT_ONCE]))
            ids.extend([token + self._reserved for token in encoding.ids] for encoding in encodings)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([token - self._reserved for token in ids if token >= self._reserved]).strip()


class Subtokens:
    """tensor2tensor's subwords, as the Transformer's reference cuts text (transformer/utils/tokenizer.py).

    A line is runs of letters and digits, and runs of all else; a single space between two of them is left out. A run,
    with "_" behind it, is cut from the left, each time into the longest piece that the vocabulary has.
    """

    def __init__(self, pieces: Sequence[str], reserved: int) -> None:
        """`pieces` by their ids, the first of which are symbols."""
        self._pieces, self._reserved = list(pieces), reserved
        self._ids = {piece: number for number, piece in enumerate(pieces) if number >= reserved}
        self._longest = max(map(len, pieces))
        self._alphabet = frozenset(piece for piece in self._ids if len(piece) == 1)
        self._known: dict[str, list[int]] = {}  # ids of runs that were seen before
        self.size = len(self._pieces)

    @classmethod
    def read(cls, file: Path, reserved: int) -> Subtokens:
        """From a vocabulary file: a quoted piece a line."""
        lines = file.read_text("utf-8").removesuffix("\n").split("\n")
        wrong = next((n for n, line in enumerate(lines, 1) if len(line) < 3 or {line[0], line[-1]} != {"'"}), 0)
        if wrong:
            raise UsageError(f"{file}, line {wrong}: {lines[wrong - 1][:40]!r} is not a subword in quotes")
        tokens = cls([line[1:-1] for line in lines], reserved)
        if missing := "".join(sorted(set("\\_u;0123456789") - tokens._alphabet)):
            raise UsageError(
                f"{file} lacks {missing} as subwords of their own; unknown characters are spelled with them"
            )
        return tokens

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        del file  # what the vocabulary lacks is spelled by its number: there is nothing to report
        return [self._encode(line) for line in lines]

    def decode(self, ids: Sequence[int]) -> str:
        text = "".join(self._pieces[id_] for id_ in ids if self._reserved <= id_ < self.size)
        runs = [ESCAPE.sub(_unescaped, run) for run in text.split("_") if run]
        words = [run[0].isalnum() for run in runs]
        spaces = [" " if one and other else "" for one, other in zip(words, [False, *words], strict=False)]
        return "".join(space + run for space, run in zip(spaces, runs, strict=True))

    def _encode(self, line: str) -> list[int]:
        ids: list[int] = []
        runs = RUN.findall(line)
        for place, run in enumerate(runs):
            if run == " " and 0 < place < len(runs) - 1:
                continue
            known = self._known.get(run)
            if known is None:
                if len(self._known) == MOST_KNOWN:
                    self._known.clear()
                known = self._known[run] = self._cut(run)
            ids += known
        return ids

    def _cut(self, run: str) -> list[int]:
        escaped = run.replace("\\", "\\\\").replace("_", "\\u")
        rest = "".join(c if c in self._alphabet and c != "\n" else f"\\{ord(c)};" for c in escaped) + "_"
        ids: list[int] = []
        while rest:
            piece = next(rest[:end] for end in range(min(len(rest), self._longest), 0, -1) if rest[:end] in self._ids)
            ids.append(self._ids[piece])
            rest = rest[len(piece) :]
        return ids


def _unescaped(match: re.Match[str]) -> str:
    if match[1] is None:
        return "_" if match[0] == "\\u" else "\\"
    number = int(match[1])
    return chr(number) if number < 0x110000 else NO_CHARACTER


class Words:
    """Words between spaces, each an id; others are `unknown`, or an error where there is no id for those."""

    def __init__(self, words: Sequence[str], reserved: int, unknown: int | None = None) -> None:
        self._words, self._reserved, self._unknown = list(words), reserved, unknown
        self._ids = {word: number for number, word in enumerate(words, reserved)}
        self.size = len(words) + reserved

    def _check(self, lines: Sequence[str], file: str) -> None:
        if self._unknown is not None:
            return
        for number, line in enumerate(lines, 1):
            unknown = next((word for word in line.split(" ") if word not in self._ids), None)
            if unknown is not None:
                raise UsageError(f"{file}, line {number}: unknown word {unknown!r}")

    def encode(self, lines: Sequence[str], file: str) -> list[list[int]]:
        self._check(lines, file)
        return [[self._ids.get(word, self._unknown or 0) for word in line.split(" ")] for line in lines]

    def decode(self, ids: Sequence[int]) -> str:
        words = (id_ - self._reserved for id_ in ids)
        return " ".join(self._words[word] for word in words if 0 <= word < len(self._words))


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # first words are like all others
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
