"""Reads ratings.csv in ml-20m's layout: whole columns at a time, and with an error for every line that is not right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from podium_benchmarks.core.cli import DataError

HEADER = b"userId,movieId,rating,timestamp"
COLUMNS = ("userId", "movieId", "rating", "timestamp")
BLOCK_BYTES = 64 * 2**20
MOST_DIGITS = 18  # that surely fit 64 bits
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Ratings:
    """Who rated what, one rating of each user held out."""

    users: int
    items: int
    train_users: torch.Tensor  # (N,) int32
    train_items: torch.Tensor  # (N,) int32
    held_out: torch.Tensor  # (users,) int64: the item of each user's last rating


def read_ratings(file: Path, fewest: int) -> Ratings:
    """Identifiers become consecutive numbers, each user's last rating by time is held out.

    Users with fewer than `fewest` (at least 2) ratings are left out, and with them the items that nobody else has
    rated. Of a user's ratings at the same time the last one in the file is the last. Raises DataError, naming the line,
    for lines that are not ratings and for an item that a user rates twice, and where no user is left.
    """
    parts = list(_columns(file))
    if not parts:
        raise DataError(f"{file} has no ratings: expected lines of {HEADER.decode()}")
    user_ids, item_ids, times = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    names, users, counts = np.unique(user_ids, return_inverse=True, return_counts=True)
    _, items = np.unique(item_ids, return_inverse=True)
    del item_ids
    _check_pairs(file, users * (int(items.max()) + 1) + items, user_ids)
    if counts.min() < fewest:
        kept = np.flatnonzero(counts[users] >= fewest)
        if not len(kept):
            raise DataError(f"{file} has no user with {fewest} ratings (min_ratings), only up to {counts.max()}")
        names, users = np.unique(users[kept], return_inverse=True)
        _, items = np.unique(items[kept], return_inverse=True)
        times = times[kept]
    order = np.lexsort((times, users))  # equal times keep the file's order
    users, items = users[order].astype(np.int32), items[order].astype(np.int32)
    last = np.append(users[1:] != users[:-1], True)
    return Ratings(
        users=len(names),
        items=int(items.max()) + 1,
        train_users=torch.from_numpy(users[~last]),
        train_items=torch.from_numpy(items[~last]),
        held_out=torch.from_numpy(items[last].astype(np.int64)),
    )


def _check_pairs(file: Path, pairs: Numbers, user_ids: Numbers) -> None:
    order = np.argsort(pairs, kind="stable")
    again = order[1:][pairs[order[1:]] == pairs[order[:-1]]]
    if len(again):
        place = int(again.min())
        raise DataError(f"{file}, line {place + 2}: user {user_ids[place]} has rated this movie before; a pair of user "
                        "and movie may be there once")  # fmt: skip


def _columns(file: Path) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Users, items and times of some millions of lines at a time."""
    with file.open("rb") as stream:
        header = stream.readline().strip()
        if header != HEADER:
            raise DataError(f"{file}, line 1: expected {HEADER.decode()}, not {header[:60].decode(errors='replace')!r}")
        line, rest = 2, b""
        while block := stream.read(BLOCK_BYTES):
            block = rest + block
            cut = block.rfind(b"\n") + 1
            whole, rest = block[:cut].replace(b"\r\n", b"\n"), block[cut:]
            if whole:
                yield _parse(file, whole, line)
                line += whole.count(b"\n")
        if rest:
            yield _parse(file, rest + b"\n", line)


def _parse(file: Path, text: bytes, first_line: int) -> tuple[Numbers, Numbers, Numbers]:
    """The columns of whole lines."""
    letters = np.frombuffer(text, dtype=np.uint8)
    newline, comma, point = (ord(letter) for letter in "\n,.")
    ends = np.flatnonzero((letters == comma) | (letters == newline))
    rows = int((letters == newline).sum())
    kinds = np.array([comma, comma, comma, newline])
    if len(ends) != 4 * rows or not (letters[ends].reshape(-1, 4) == kinds).all():
        _tell_wrong_line(file, text, first_line)
    digit = (letters >= ord("0")) & (letters <= ord("9"))
    starts = np.append(0, ends[:-1] + 1).reshape(-1, 4)
    ends = ends.reshape(-1, 4)
    lengths = ends - starts
    others = np.flatnonzero(~digit)  # what is neither a digit nor an end must be the point of a rating
    others = others[(letters[others] != comma) & (letters[others] != newline)]
    row = np.searchsorted(ends[:, 3], others)
    in_rating = (others >= starts[row, 2]) & (others < ends[row, 2]) & (letters[others] == point)
    pointed = np.bincount(row, minlength=rows)  # at most one each
    if (not in_rating.all() or (pointed > 1).any() or (lengths < 1).any() or (lengths > MOST_DIGITS).any()
            or (lengths[:, 2] == pointed).any()):  # fmt: skip
        _tell_wrong_line(file, text, first_line)
    numbers = [_numbers(letters, starts[:, column], lengths[:, column]) for column in (0, 1, 3)]
    return numbers[0], numbers[1], numbers[2]


def _numbers(letters: NDArray[np.uint8], starts: Numbers, lengths: Numbers) -> Numbers:
    """Whole numbers of so many digits from so many places."""
    values = np.zeros(len(starts), dtype=np.int64)
    for place in range(int(lengths.max(initial=0))):
        longer = lengths > place
        here = letters[np.minimum(starts + place, len(letters) - 1)].astype(np.int64) - ord("0")
        values = np.where(longer, values * 10 + here, values)
    return values


def _tell_wrong_line(file: Path, text: bytes, first_line: int) -> None:
    """Raise DataError for the first line that is not a rating."""
    for number, line in enumerate(text.split(b"\n")[:-1], start=first_line):
        fields = line.split(b",")
        if not line:
            raise DataError(f"{file}, line {number} is empty: remove it")
        if len(fields) != len(COLUMNS):
            raise DataError(f"{file}, line {number}: {len(fields)} values instead of the {len(COLUMNS)} of "
                            f"{HEADER.decode()}")  # fmt: skip
        for name, field in zip(COLUMNS, fields, strict=True):
            digits = field.replace(b".", b"", 1) if name == "rating" else field
            if not (digits.isdigit() and len(field) <= MOST_DIGITS):
                kind = "number" if name == "rating" else "whole number"
                shown = field[:40].decode(errors="replace")
                raise DataError(f"{file}, line {number}: {name} must be a {kind}, not {shown!r}")
    raise AssertionError("some line is wrong")
