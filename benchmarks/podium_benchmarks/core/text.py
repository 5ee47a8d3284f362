"""Parallel text: files with every line checked, and sentences of token ids as one flat tensor."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks

NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")  # control characters, and what failed decoding leaves behind


def find_file(folder: Path, name: str) -> Path | None:
    """`name` in `folder`, plain or gzipped."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def require_files(folder: Path, names: Sequence[str], layout: str) -> list[Path]:
    """The files of these names, or a UsageError that names the missing ones."""
    found = [find_file(folder, name) for name in names]
    missing = [name for name, file in zip(names, found, strict=True) if file is None]
    if missing:
        raise UsageError(f"--data {folder} has no {', '.join(missing)} (or with .gz); {layout}")
    return [file for file in found if file is not None]


def read_lines(file: Path) -> list[str]:
    """The file's sentences; UsageError names the first line that is empty or no text."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{file} can't be read: {error}") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}, line {line}: not UTF-8 ({content[error.start : error.end]!r})") from error
    # Not splitlines(): that also ends a line at characters like U+2028, which would shift all lines behind it.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    wrong = NO_TEXT.search(text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        raise UsageError(f"{file}, line {line}: character U+{ord(wrong[0]):04X} is not text")
    if "" in lines:
        raise UsageError(f"{file}, line {lines.index('') + 1}: empty; remove the line from both languages' files")
    return lines


def read_parallel(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Both files' sentences; line n of one is the translation of line n of the other."""
    source_lines, target_lines = read_lines(source), read_lines(target)
    if len(source_lines) != len(target_lines):
        raise UsageError(
            f"{source} has {len(source_lines):,} lines and {target} has {len(target_lines):,}: "
            f"line n of one must be the translation of line n of the other"
        )
    return source_lines, target_lines


@dataclass(frozen=True)
class Sentences:
    """Token ids of N sentences one after another: values (total,) on the device; starts (N + 1,) on the CPU.

    Values are int32, or int16 that stands for uint16.
    """

    values: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]]) -> Sentences:
        """From lists of ids."""
        lengths = np.fromiter((len(sentence) for sentence in sentences), dtype=np.int64, count=len(sentences))
        parts = [np.asarray(sentence, dtype=np.int32) for sentence in sentences]
        values = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return cls(torch.from_numpy(values), torch.from_numpy(np.concatenate([[0], lengths.cumsum()])))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> torch.Tensor:
        """(N,) on the CPU."""
        return self.starts.diff()

    def lengths_of(self, rows: torch.Tensor) -> torch.Tensor:
        """(B,) of the sentences numbered by rows (B,), both on the CPU."""
        return self.starts[rows + 1] - self.starts[rows]

    def to(self, device: torch.device) -> Sentences:
        """With the ids on the device; batches are then put together there."""
        return Sentences(self.values.to(device), self.starts)

    def padded(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, longest) int64 ids of these sentences, 0 behind their ends; rows (B,) on the CPU."""
        if not len(rows):
            return torch.zeros((0, 1), dtype=torch.int64, device=self.values.device)
        lengths = self.lengths_of(rows).unsqueeze(1)
        place = torch.arange(int(lengths.max())).unsqueeze(0)
        inside = place < lengths  # (B, longest)
        flat = torch.where(inside, self.starts[rows].unsqueeze(1) + place, 0).to(self.values.device)
        ids = self.values[flat].long()
        if self.values.dtype == torch.int16:
            ids &= 0xFFFF
        return ids.masked_fill_(~inside.to(self.values.device), 0)


def flat_positions(lengths: torch.Tensor) -> torch.Tensor:
    """Where the real tokens are in a flattened batch (B, longest) of these lengths (B,), which are on the CPU."""
    if not len(lengths):
        return torch.zeros(0, dtype=torch.int64)
    inside = torch.arange(int(lengths.max())).unsqueeze(0) < lengths.unsqueeze(1)
    return inside.flatten().nonzero().squeeze(1)


def evaluation_batches(lengths: torch.Tensor, ranks: Ranks, sentences_at_once: int) -> Iterator[torch.Tensor]:
    """This rank's part of the sentences, each on one rank, in batches of similar length, the longest first."""
    order = lengths.argsort(descending=True, stable=True)
    yield from order[ranks.rank :: ranks.world_size].split(sentences_at_once)
