"""How good a network is: games won against another, or moves of recorded games that it would have made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from podium_benchmarks.core import dist
from podium_benchmarks.core.dist import Ranks, shard
from podium_benchmarks.minigo.config import Config
from podium_benchmarks.minigo.features import Evaluate
from podium_benchmarks.minigo.search import Forest
from podium_benchmarks.minigo.selfplay import match
from podium_benchmarks.minigo.sgf import Record


def win_rate(config: Config, first: Evaluate, second: Evaluate, ranks: Ranks, *, games: int) -> float:
    """Ratio of games that `first` wins against `second`, each rank playing some of them; the same on every rank."""
    mine = range(games)[shard(games, ranks)]
    wins = match(first, second, config.search(config.eval_readouts), config.board_size, mine)
    total = dist.sum_over_ranks(torch.tensor(float(wins), dtype=torch.float64, device=ranks.device))
    return total.item() / games


def predicted_ratio(config: Config, evaluate: Evaluate, records: Sequence[Record], ranks: Ranks) -> float:
    """Ratio of recorded moves that are the search's, each position looked at eval_tries times, each on one rank."""
    positions = [position for record in records for position in record.positions] * config.eval_tries
    moves = [move for record in records for move in record.moves] * config.eval_tries
    mine = range(len(moves))[shard(len(moves), ranks)]
    forest = Forest(config.games_at_a_time, config.board_size, config.search(config.eval_readouts), evaluate)
    hits = 0
    for start in range(mine.start, mine.stop, config.games_at_a_time):
        some = range(start, min(start + config.games_at_a_time, mine.stop))
        for seat, place in enumerate(some):
            forest.reset(seat, positions[place])
        forest.search(np.arange(len(some)))
        hits += sum(int(forest.visits(seat).argmax()) == moves[place] for seat, place in enumerate(some))
    total = dist.sum_over_ranks(torch.tensor(float(hits), dtype=torch.float64, device=ranks.device))
    return total.item() / len(moves)
