"""Tokens as sequences of equal length, cut from shuffled documents that follow one another.

With --data: C4 as MLCommons publishes it for this benchmark, tokenized, in the two files of Megatron's indexed data
sets. Without: a text that comes with Podium, whose tokens are its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from podium_benchmarks.core import seeds
from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.prefetch import to_device
from podium_benchmarks.llama31_8b.config import Config
from podium_benchmarks.llama31_8b.model import IGNORED

# The reference trains on this part alone, and evaluates on the first sequences of that one
TRAIN, VALIDATION = "c4-train.en_6_text_document", "c4-validation-91205-samples.en_text_document"
TEXT = Path(__file__).parent / "text.txt"  # this project's documentation
HELD_OUT = 10  # of the text, one paragraph in so many
BYTES = 256

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEADER_BYTES = len(MAGIC) + 8 + 1 + 8 + 8  # magic, version, type code, numbers of sequences and of documents
TYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """Token ids of N documents, one after another."""

    ids: npt.NDArray[Any]
    offsets: npt.NDArray[Any]  # (N,) of the documents' first ids, in bytes
    lengths: npt.NDArray[Any]  # (N,) in ids


class Sequences:
    """The documents in an order, one after another, cut into sequences; each shares a token with the next."""

    def __init__(self, documents: Documents, order: npt.NDArray[Any], length: int) -> None:
        self._documents, self._order, self._length = documents, order, length
        self._ends = np.cumsum(documents.lengths[order], dtype=np.int64)  # in tokens from the first document on

    def __len__(self) -> int:
        return max(0, int(self._ends[-1]) - 1) // self._length

    def __getitem__(self, number: int) -> Ints:
        """(length + 1,) ids: inputs are all but the last, targets all but the first."""
        documents, begin = self._documents, number * self._length
        ids, filled = np.empty(self._length + 1, np.int64), 0
        place = int(np.searchsorted(self._ends, begin, side="right"))
        while filled < len(ids):
            document = self._order[place]
            left = int(self._ends[place]) - begin - filled  # of the document
            start = int(documents.offsets[document]) // documents.ids.itemsize + int(documents.lengths[document]) - left
            part = documents.ids[start : start + min(left, len(ids) - filled)]
            ids[filled : filled + len(part)] = part
            filled, place = filled + len(part), place + 1
        return ids


class Data:
    """Training and validation sequences of one rank; which ones they are depends only on the seed."""

    def __init__(self, config: Config, data_dir: Path | None, seed: int, ranks: Ranks, accumulation: int) -> None:
        self._config, self._seed, self._ranks = config, seed, ranks
        self._at_once = config.global_batch_size // (ranks.world_size * accumulation)  # sequences
        train, validation = read_text() if data_dir is None else (read_indexed(data_dir / TRAIN),
                                                                  read_indexed(data_dir / VALIDATION))  # fmt: skip
        self._train = train
        self._validation = Sequences(validation, np.arange(len(validation.lengths)), config.max_sequence_length)
        self._current = self._shuffled(0)
        self.train_samples, self.eval_samples = len(self._current[1]), config.eval_samples
        if len(self._validation) < config.eval_samples:
            raise DataError(f"the validation set has {len(self._validation):,} sequences of "
                            f"{config.max_sequence_length:,} tokens, and eval_samples is {config.eval_samples:,}: set "
                            f"eval_samples to what there is")  # fmt: skip
        if self.train_samples < config.global_batch_size:
            raise DataError(f"the training set has {self.train_samples:,} sequences of {config.max_sequence_length:,} "
                            f"tokens, and global_batch_size is {config.global_batch_size:,}: train with smaller "
                            f"batches")  # fmt: skip

    def batches(self, consumed: int) -> Iterator[list[torch.Tensor]]:
        """This rank's sequences (accumulation, B, S + 1) of every batch after the first `consumed` samples, forever."""
        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(self._batch, consumed)
            while True:
                ids = following.result()
                consumed += self._config.global_batch_size
                following = reader.submit(self._batch, consumed)
                yield [to_device(part, self._ranks.device) for part in ids.split(self._at_once)]

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and targets (B, S): as many batches on every rank, the last filled up with targets not counted."""
        count = self._config.eval_samples
        for first in range(0, count, self._at_once * self._ranks.world_size):
            mine = first + self._ranks.rank * self._at_once + np.arange(self._at_once)
            ids = to_device(torch.from_numpy(np.stack([self._validation[n % count] for n in mine])), self._ranks.device)
            targets = ids[:, 1:].clone()
            targets[len(mine[mine < count]) :] = IGNORED
            yield ids[:, :-1], targets

    def _batch(self, consumed: int) -> torch.Tensor:
        numbers = np.arange(consumed, consumed + self._config.global_batch_size)
        mine = numbers[self._ranks.rank :: self._ranks.world_size]
        ids = np.stack([self._sample(int(number)) for number in mine])
        if ids.max() >= self._config.vocab_size:
            raise DataError(f"the training set has the token {ids.max()}, and vocab_size is {self._config.vocab_size}: "
                            f"train with the vocabulary of the data set")  # fmt: skip
        return torch.from_numpy(ids)

    def _sample(self, number: int) -> Ints:
        epoch, place = divmod(number, self.train_samples)
        if self._current[0] != epoch:
            self._current = self._shuffled(epoch)
        _, sequences, order = self._current
        return sequences[int(order[place])]

    def _shuffled(self, epoch: int) -> tuple[int, Sequences, Ints]:
        """The epoch's number, its sequences, cut from documents in a new order, and the order of the sequences."""
        shuffle = np.random.default_rng(seeds.derive(self._seed, "data", epoch))
        documents = shuffle.permutation(np.arange(len(self._train.lengths), dtype=np.int32))
        sequences = Sequences(self._train, documents, self._config.max_sequence_length)
        return epoch, sequences, shuffle.permutation(len(sequences))


def read_text() -> tuple[Documents, Documents]:
    """The paragraphs of the text that are trained on, and those held out."""
    paragraphs = [f"{paragraph}\n\n".encode() for paragraph in TEXT.read_text("utf-8").strip().split("\n\n")]
    held_out = paragraphs[::HELD_OUT]
    del paragraphs[::HELD_OUT]
    return _in_memory(paragraphs), _in_memory(held_out)


def _in_memory(paragraphs: list[bytes]) -> Documents:
    lengths = np.array([len(paragraph) for paragraph in paragraphs])
    return Documents(np.frombuffer(b"".join(paragraphs), np.uint8), lengths.cumsum() - lengths, lengths)


def read_indexed(prefix: Path) -> Documents:
    """PREFIX.idx and PREFIX.bin, mapped into memory: nothing is read before it is used."""
    kind, sequences, _ = read_header(prefix)
    lengths = np.memmap(f"{prefix}.idx", np.int32, "r", HEADER_BYTES, (sequences,))
    pointers = np.memmap(f"{prefix}.idx", np.int64, "r", HEADER_BYTES + lengths.nbytes, (sequences,))
    ids = np.memmap(f"{prefix}.bin", kind, "r")
    return Documents(ids, pointers, lengths)


def read_header(prefix: Path) -> tuple[type[np.generic], int, int]:
    """Type of the ids, numbers of sequences and of documents, from PREFIX.idx. UsageError for another kind of file."""
    path = Path(f"{prefix}.idx")
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    numbers = header[len(MAGIC) :]
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC) or int.from_bytes(numbers[:8], "little") != VERSION:
        raise UsageError(f"{path} is not an index of Megatron's, version {VERSION}: prepare the data set again")
    if numbers[8] not in TYPES:
        raise UsageError(f"{path}: tokens of type {numbers[8]} are not whole numbers: prepare the data set again")
    return TYPES[numbers[8]], int.from_bytes(numbers[9:17], "little"), int.from_bytes(numbers[17:25], "little")


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a data set that can't be trained on, by sizes and headers alone."""
    layout = f"expected {TRAIN} and {VALIDATION}, each as .bin and .idx (podium-benchmarks prepare llama31_8b)"
    if data_dir is None:
        if config.vocab_size != BYTES:
            raise UsageError(f"vocab_size {config.vocab_size} needs a data set: give --data DIR; {layout}")
        return
    if not data_dir.is_dir():
        raise UsageError(f"--data {data_dir} is not a folder; {layout}")
    names = [f"{name}.{ending}" for name in (TRAIN, VALIDATION) for ending in ("idx", "bin")]
    missing = [name for name in names if not (data_dir / name).is_file()]
    if missing:
        raise UsageError(f"--data {data_dir} has no {', '.join(missing)}; {layout}")
    for name in (TRAIN, VALIDATION):
        kind, sequences, documents = read_header(data_dir / name)
        index, ids = data_dir / f"{name}.idx", data_dir / f"{name}.bin"
        wanted = HEADER_BYTES + 12 * sequences + 8 * documents
        if index.stat().st_size != wanted:
            raise UsageError(f"{index} has {index.stat().st_size:,} bytes instead of {wanted:,}: it is incomplete")
        if not sequences or ids.stat().st_size < sequences * np.dtype(kind).itemsize:
            raise UsageError(f"{ids} has {ids.stat().st_size:,} bytes, too few for {sequences:,} documents")
