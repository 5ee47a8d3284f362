"""Ratings as implicit feedback: generated, or ml-20m's ratings.csv; negatives that are never training positives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks, share
from podium_benchmarks.ncf.config import Config
from podium_benchmarks.ncf.model import ML_20M_ITEMS, ML_20M_USERS

GENERATED_RANK = 8  # of the generated tastes
GENERATED_SEED = 20  # the data set is the same in every run


@dataclass(frozen=True)
class Ratings:
    """Who rated what, one rating of each user held out."""

    users: int
    items: int
    train_users: torch.Tensor  # (N,) int64
    train_items: torch.Tensor  # (N,)
    held_out: torch.Tensor  # (users,) the item of each user's last rating


def check_data(config: Config, data_dir: Path | None) -> None:
    """Refuse a folder without ratings, by file name alone: no data may be read yet."""
    layout = "expected DIR/ratings.csv with the columns userId,movieId,rating,timestamp, as in ml-20m"
    if data_dir is None:
        if not config.generated_users:
            raise UsageError(f"the full preset needs ratings: give --data DIR; {layout}")
        return
    if not data_dir.is_dir():
        raise UsageError(f"--data {data_dir} is not a folder; {layout}")
    if not (data_dir / "ratings.csv").is_file():
        raise UsageError(f"--data {data_dir} has no ratings.csv; {layout}")


def shape(config: Config, data_dir: Path | None) -> tuple[int, int]:
    """Users and items the network is built for, known without touching data."""
    return (ML_20M_USERS, ML_20M_ITEMS) if data_dir else (config.generated_users, config.generated_items)


def generate(config: Config) -> Ratings:
    """Tastes of low rank plus popularity; each user rates the items that a noisy taste ranks highest."""
    random = np.random.default_rng(GENERATED_SEED)
    users, items = config.generated_users, config.generated_items
    taste = random.standard_normal((users, GENERATED_RANK)) @ random.standard_normal((GENERATED_RANK, items))
    popularity = 2.0 * random.standard_normal(items)
    noise = random.gumbel(size=(users, items))
    rated = np.argsort(-(taste + popularity + noise), axis=1)[:, : config.generated_ratings]  # (users, ratings)
    rated = random.permuted(rated, axis=1)  # the last by time is a random one
    train_items = torch.from_numpy(rated[:, :-1].ravel().copy())
    train_users = torch.arange(users).repeat_interleave(config.generated_ratings - 1)
    return Ratings(users, items, train_users, train_items, torch.from_numpy(rated[:, -1].copy()))


def read_ratings(file: Path) -> Ratings:
    """ml-20m's layout; identifiers become consecutive numbers, each user's last rating by time is held out."""
    table = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(0, 1, 3), dtype=np.int64, ndmin=2)
    _, users = np.unique(table[:, 0], return_inverse=True)
    _, items = np.unique(table[:, 1], return_inverse=True)
    order = np.lexsort((table[:, 2], users))  # by user, then time; equal times keep the file's order
    users, items = users[order], items[order]
    last = np.append(users[1:] != users[:-1], True)
    return Ratings(
        users=int(users[-1]) + 1,
        items=int(items.max()) + 1,
        train_users=torch.from_numpy(users[~last]),
        train_items=torch.from_numpy(items[~last]),
        held_out=torch.from_numpy(items[last]),
    )


class NegativeSampler:
    """Draws items that a user has not rated in the training set, uniformly."""

    def __init__(self, ratings: Ratings, device: torch.device) -> None:
        self._items = ratings.items
        # Sorted user * items + item: one binary search tells whether a pair is a training positive.
        pairs = ratings.train_users * ratings.items + ratings.train_items
        self._positives = pairs.to(device).unique()

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """An item for each of users (N,), drawn again until none is a training positive."""
        items = torch.randint(self._items, users.shape, generator=generator, device=users.device)
        while True:
            wrong = self.is_positive(users, items).nonzero().squeeze(1)
            if not len(wrong):
                return items
            items[wrong] = torch.randint(self._items, wrong.shape, generator=generator, device=users.device)

    def is_positive(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether each pair is in the training set."""
        pairs = users * self._items + items
        place = torch.searchsorted(self._positives, pairs).clamp_(max=len(self._positives) - 1)
        return self._positives[place] == pairs


class Data:
    """Everything resident on the device; each epoch draws its negatives and order there."""

    def __init__(self, config: Config, ratings: Ratings, eval_seed: int, ranks: Ranks) -> None:
        self._config, self._ranks = config, ranks
        self._users, self._items = ratings.train_users.to(ranks.device), ratings.train_items.to(ranks.device)
        self._sampler = NegativeSampler(ratings, ranks.device)
        self.train_samples = len(self._users) * (1 + config.negatives)
        self.eval_samples = ratings.users
        generator = torch.Generator(ranks.device).manual_seed(eval_seed)
        users = torch.arange(ratings.users, device=ranks.device).repeat_interleave(config.eval_negatives)
        negatives = self._sampler.draw(users, generator).view(ratings.users, config.eval_negatives)
        candidates = torch.cat([ratings.held_out.to(ranks.device).unsqueeze(1), negatives], dim=1)
        mine = share(ratings.users, ranks)
        self.eval_users = torch.arange(ratings.users, device=ranks.device)[mine]  # (M,)
        self.eval_candidates = candidates[mine]  # (M, 1 + eval_negatives), the held-out item first

    def epoch(self, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]]:
        """This rank's shares of the global batches: users, items, labels (B,), size of the global batch."""
        generator = torch.Generator(self._users.device).manual_seed(seed)
        negative_users = self._users.repeat(self._config.negatives)
        users = torch.cat([self._users, negative_users])
        items = torch.cat([self._items, self._sampler.draw(negative_users, generator)])
        order = torch.randperm(len(users), generator=generator, device=users.device)
        for batch in order.split(self._config.global_batch_size):
            mine = batch[share(len(batch), self._ranks)]
            labels = (mine < len(self._users)).float()
            yield users[mine], items[mine], labels, len(batch)
