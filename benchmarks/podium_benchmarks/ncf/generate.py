"""`python -m podium_benchmarks.ncf generate`: synthetic ratings in ml-20m's shape and layout, to test at its size."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from podium_benchmarks.ncf.model import ML_20M_ITEMS, ML_20M_USERS
from podium_benchmarks.ncf.ratings import HEADER

ML_20M_RATINGS = 20_000_263
FEWEST = 20  # ratings of a user, as in ml-20m
SPREAD = 1.2  # of the logarithm of users' numbers of ratings: ml-20m's median is 68, its mean 144
POPULARITY_POWER = 0.9  # of items: the n-th has 1 / n^power
FIRST_TIME, LAST_TIME = 789_652_009, 1_427_784_002  # ml-20m's
ROWS_AT_ONCE = 1_000_000
USERS_AT_ONCE = 10_000
Numbers = NDArray[np.int64]


def generate(argv: Sequence[str]) -> int:
    """Write DIR/ratings.csv."""
    parser = argparse.ArgumentParser(prog="python -m podium_benchmarks.ncf generate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for ratings.csv")
    parser.add_argument("--users", type=int, default=ML_20M_USERS)
    parser.add_argument("--items", type=int, default=ML_20M_ITEMS)
    parser.add_argument("--ratings", type=int, default=ML_20M_RATINGS)
    parser.add_argument(
        "--clusters", type=int, default=0,
        help="each user rates items of one of so many clusters, which NCF can learn; default: by popularity alone",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args(argv)
    users, items, ratings, clusters = arguments.users, arguments.items, arguments.ratings, arguments.clusters
    if not max(FEWEST * users, items) <= ratings <= users * items // 4:
        print(f"ncf generate: --ratings {ratings} must be at least {FEWEST} per user and 1 per item, and at most a "
              f"quarter of all {users} x {items} pairs", file=sys.stderr)  # fmt: skip
        return 2
    if clusters and (clusters < 0 or -(-ratings // users) > items // clusters):
        print(f"ncf generate: --clusters {clusters} of {items // max(1, clusters)} items are too small for "
              f"{-(-ratings // users)} ratings per user", file=sys.stderr)  # fmt: skip
        return 2
    start = time.perf_counter()
    random = np.random.default_rng(arguments.seed)
    pairs = (
        make_clustered_pairs(users, items, ratings, clusters, random)
        if clusters
        else make_pairs(users, items, ratings, random)
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "ratings.csv"
    write(file, pairs // items + 1, pairs % items + 1, random)
    print(
        f"{file}: {len(pairs):,} ratings of {users:,} users and {items:,} items in {time.perf_counter() - start:.0f} s"
    )
    return 0


def make_pairs(users: int, items: int, ratings: int, random: np.random.Generator) -> Numbers:
    """(ratings,) rising user * items + item: each once, every item rated, every user often enough."""
    weights = np.exp(SPREAD * random.standard_normal(users))
    wanted = np.full(users, FEWEST) + random.multinomial(ratings - FEWEST * users, weights / weights.sum())
    most = items // 2  # no user has rated everything
    while surplus := int(np.maximum(wanted - most, 0).sum()):
        wanted = np.minimum(wanted, most)
        room = most - wanted
        wanted += random.multinomial(surplus, room / room.sum())
    popularity = 1 / np.arange(1, items + 1) ** POPULARITY_POWER
    cumulative = (popularity / popularity.sum()).cumsum()
    # Each item once, by users drawn at random: the rest is drawn by popularity
    pairs = np.unique(random.integers(users, size=items) * items + random.permutation(items))
    number = 0
    while True:
        missing = np.maximum(wanted - np.bincount(pairs // items, minlength=users), 0)
        if not missing.any():
            break
        drawn_by = np.repeat(np.arange(users), missing)
        # Who is left after some rounds has rated all that is popular
        by_popularity = np.minimum(np.searchsorted(cumulative, random.random(len(drawn_by))), items - 1)
        drawn = by_popularity if number < 8 else random.integers(items, size=len(drawn_by))
        new = np.unique(drawn_by * items + drawn)
        new = new[pairs[np.minimum(np.searchsorted(pairs, new), len(pairs) - 1)] != new]
        pairs = np.sort(np.concatenate([pairs, new]), kind="stable")  # two sorted runs, which it only merges
        number += 1
    return _without_surplus(pairs, items, ratings, random)


def make_clustered_pairs(users: int, items: int, ratings: int, clusters: int, random: np.random.Generator) -> Numbers:
    """(ratings,) rising user * items + item: each user rates as many items, all of one cluster."""
    first = np.arange(clusters + 1) * items // clusters  # item of each cluster
    size = np.diff(first)
    counts = np.full(users, ratings // users)
    counts[: ratings % users] += 1
    parts = []
    for start in range(0, users, USERS_AT_ONCE):
        some = np.arange(start, min(start + USERS_AT_ONCE, users))
        cluster = some % clusters
        order = random.random((len(some), size.max()))  # (users, items of the cluster)
        order[np.arange(size.max()) >= size[cluster, None]] = 1.0  # behind all others
        user, item = np.nonzero(order.argsort(axis=1).argsort(axis=1) < counts[some, None])
        parts.append(some[user] * items + first[cluster[user]] + item)
    return np.concatenate(parts)


def _without_surplus(pairs: Numbers, items: int, ratings: int, random: np.random.Generator) -> Numbers:
    """As many pairs as asked for: the rest is dropped, but no item's only rating and none of a user's fewest."""
    surplus = len(pairs) - ratings
    by_user, by_item = np.bincount(pairs // items), np.bincount(pairs % items)
    spare = np.flatnonzero((by_user[pairs // items] > 2 * FEWEST) & (by_item[pairs % items] > 2 * FEWEST))
    return np.delete(pairs, random.choice(spare, surplus, replace=False)) if surplus else pairs


def write(file: Path, users: Numbers, items: Numbers, random: np.random.Generator) -> None:
    """Lines of users, items (both from 1), a rating of 0.5 to 5.0 and a time."""
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as stream:
        stream.write(HEADER + b"\n")
        for start in range(0, len(users), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            count = len(users[some])
            halves = random.integers(1, 11, size=count)
            times = random.integers(FIRST_TIME, LAST_TIME, size=count)
            columns = [*_digits(users[some]), _all(",", count), *_digits(items[some]), _all(",", count),
                       *_digits(halves // 2, leading=True), _all(".", count), *_digits(halves % 2 * 5, leading=True),
                       _all(",", count), *_digits(times), _all("\n", count)]  # fmt: skip
            letters = np.stack(columns, axis=1)
            stream.write(letters[letters > 0].tobytes())
    unfinished.replace(file)


def _all(letter: str, count: int) -> NDArray[np.uint8]:
    return np.full(count, ord(letter), dtype=np.uint8)


def _digits(values: Numbers, *, leading: bool = False) -> list[NDArray[np.uint8]]:
    """Letters of the numbers, a column for each place; 0 instead of a zero in front unless `leading`."""
    columns, left = [], values
    for _ in range(len(str(int(values.max())))):
        left, digit = np.divmod(left, 10)
        shown = (digit > 0) | (left > 0) | leading
        columns.append(np.where(shown, digit + ord("0"), 0).astype(np.uint8))
    return columns[::-1]
