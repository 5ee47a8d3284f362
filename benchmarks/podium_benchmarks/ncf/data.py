"""Ratings as implicit feedback, and negatives that are never training positives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from podium_benchmarks.core.cli import UsageError
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.ncf.config import Config
from podium_benchmarks.ncf.ratings import Ratings

GENERATED_RANK = 8  # of the generated tastes
GENERATED_SEED = 20  # the data set is the same in every run
PAIRS_AT_ONCE = 1 << 24


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


def generate(config: Config) -> Ratings:
    """Tastes of low rank plus popularity; each user rates the items that a noisy taste ranks highest."""
    random = np.random.default_rng(GENERATED_SEED)
    users, items = config.generated_users, config.generated_items
    taste = random.standard_normal((users, GENERATED_RANK)) @ random.standard_normal((GENERATED_RANK, items))
    popularity = 2.0 * random.standard_normal(items)
    noise = random.gumbel(size=(users, items))
    rated = np.argsort(-(taste + popularity + noise), axis=1)[:, : config.generated_ratings]  # (users, ratings)
    rated = random.permuted(rated, axis=1)  # the last by time is a random one
    train_items = torch.from_numpy(rated[:, :-1].ravel().astype(np.int32))
    train_users = torch.arange(users, dtype=torch.int32).repeat_interleave(config.generated_ratings - 1)
    return Ratings(users, items, train_users, train_items, torch.from_numpy(rated[:, -1].copy()))


class NegativeSampler:
    """Draws items that a user has not rated in the training set, uniformly."""

    def __init__(self, ratings: Ratings, device: torch.device) -> None:
        self._items = ratings.items
        # Sorted user * items + item: one binary search finds out whether a pair is a training positive.
        pairs = ratings.train_users.to(device).long() * ratings.items + ratings.train_items.to(device)
        self._positives = pairs.unique()

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """An item (N,) int32 for each of users (N,), drawn again until none is a training positive."""
        draw = partial(torch.randint, self._items, generator=generator, device=users.device, dtype=torch.int32)
        items = draw(users.shape)
        for start in range(0, len(users), PAIRS_AT_ONCE):  # all at once would take several times the memory
            part, whose = items[start : start + PAIRS_AT_ONCE], users[start : start + PAIRS_AT_ONCE]
            wrong = self.is_positive(whose, part).nonzero().squeeze(1)
            while len(wrong):
                part[wrong] = draw(wrong.shape)
                wrong = wrong[self.is_positive(whose[wrong], part[wrong])]
        return items

    def is_positive(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether each pair is in the training set."""
        pairs = users.long() * self._items + items
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
        users = torch.arange(ratings.users, device=ranks.device, dtype=torch.int32).repeat_interleave(
            config.eval_negatives
        )
        negatives = self._sampler.draw(users, generator).view(ratings.users, config.eval_negatives)
        candidates = torch.cat([ratings.held_out.to(ranks.device, torch.int32).unsqueeze(1), negatives], dim=1)
        mine = shard(ratings.users, ranks)
        self.eval_users = torch.arange(ratings.users, device=ranks.device)[mine]  # (M,)
        self.eval_candidates = candidates[mine]  # (M, 1 + eval_negatives) int32, the held-out item first

    def epoch(self, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]]:
        """This rank's shards of the global batches: users, items, labels (B,), size of the global batch."""
        generator = torch.Generator(self._users.device).manual_seed(seed)
        users = self._users.repeat(1 + self._config.negatives)
        negatives = self._sampler.draw(users[len(self._users) :], generator)
        items = torch.cat([self._items, negatives])
        order = torch.randperm(len(users), generator=generator, device=users.device)
        for batch in order.split(self._config.global_batch_size):
            mine = batch[shard(len(batch), self._ranks)]
            labels = (mine < len(self._users)).float()
            yield users[mine].long(), items[mine].long(), labels, len(batch)
